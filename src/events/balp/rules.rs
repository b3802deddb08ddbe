//! The rules of the profiles (IHE ITI BALP 1.1, `input/fsh`), written down as tables.

pub(super) const BALP: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/";
const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const REST: &str = "http://hl7.org/fhir/restful-interaction";
const PART: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const ENTITY: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
pub(super) const ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const AGENTS: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/UserAgentTypes";

pub(super) type Coding = (&'static str, &'static str);

#[derive(Clone, Copy)]
pub(super) struct Slice {
    pub(super) name: &'static str,
    /// Any of these makes an element one of the slice.
    pub(super) types: &'static [Coding],
    pub(super) min: usize,
    pub(super) max: usize,
    /// Pointers that must be there.
    pub(super) needs: &'static [&'static str],
    /// Pointers that must not.
    pub(super) never: &'static [&'static str],
    /// `requestor` must be true.
    pub(super) requestor: bool,
    /// `role` must be one of these codes of object-role, if it is there.
    pub(super) roles: &'static [&'static str],
}

const SLICE: Slice =
    Slice { name: "", types: &[], min: 1, max: 1, needs: &[], never: &[], requestor: false, roles: &[] };

pub(super) struct Rules {
    pub(super) id: &'static str,
    pub(super) kind: Option<Coding>,
    /// At least one subtype is one of these; exactly one of them.
    pub(super) subtypes: &'static [Coding],
    pub(super) subtypes_max: usize,
    pub(super) action: Option<&'static str>,
    pub(super) outcome: Option<&'static str>,
    pub(super) agents: (usize, usize),
    pub(super) closed: bool,
    pub(super) agent: Vec<Slice>,
    pub(super) entities: (usize, usize),
    pub(super) entity_by: &'static str,
    pub(super) entity: Vec<Slice>,
    /// The agent of this name is `source.observer`.
    pub(super) observer: Option<&'static str>,
}

const SIDE: Slice = Slice { needs: &["/who", "/network"], never: &["/media"], ..SLICE };
const USER: Slice = Slice {
    name: "user",
    min: 0,
    needs: &["/who"],
    never: &["/media", "/network"],
    requestor: true,
    ..SLICE
};
const PATIENT: Slice = Slice {
    name: "patient",
    types: &[(ENTITY, "1")],
    needs: &["/type", "/role", "/what/reference"],
    roles: &["1"],
    ..SLICE
};
const TRANSACTION: Slice = Slice {
    name: "transaction",
    types: &[("https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "XrequestId")],
    min: 0,
    needs: &["/what/identifier/value"],
    ..SLICE
};
const DATA: Slice = Slice {
    name: "data",
    types: &[(ENTITY, "2")],
    needs: &["/type", "/role", "/what"],
    roles: &["4", "3", "20"],
    ..SLICE
};
const QUERY: Slice = Slice {
    name: "query",
    types: &[(ENTITY, "2")],
    needs: &["/type", "/role", "/query"],
    never: &["/what", "/lifecycle", "/detail"],
    roles: &["24"],
    ..SLICE
};
const AUTHORS: &[Coding] = &[(PART, "AUT"), (PART, "INF"), (PART, "CST")];
const READERS: &[Coding] = &[(PART, "IRCP")];
const SOURCE: &[Coding] = &[(DCM, "110153")];
const DESTINATION: &[Coding] = &[(DCM, "110152")];
const APPLICATION: &[Coding] = &[(DCM, "110150")];
const CUSTODIAN: &[Coding] =
    &[("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "custodian")];

fn rest(
    id: &'static str,
    action: &'static str,
    subtypes: &'static [Coding],
    sides: (&'static [Coding], &'static [Coding]),
    user: &'static [Coding],
    with: &[Slice],
) -> Rules {
    let about = if id.contains("Patient") { vec![PATIENT] } else { vec![] };
    let least = with.iter().chain(&about).filter(|slice| slice.min > 0).count();
    Rules {
        id,
        kind: Some((TYPE, "rest")),
        subtypes,
        subtypes_max: usize::MAX,
        action: Some(action),
        outcome: Some("0"),
        agents: (2, usize::MAX),
        closed: false,
        agent: vec![
            Slice { name: "client", types: sides.0, ..SIDE },
            Slice { name: "server", types: sides.1, ..SIDE },
            Slice { types: user, ..USER },
        ],
        entities: (least, usize::MAX),
        entity_by: "type",
        entity: [with.to_vec(), about].concat(),
        observer: None,
    }
}

fn token_use(id: &'static str, agent: Vec<Slice>) -> Rules {
    Rules {
        id,
        kind: None,
        subtypes: &[],
        subtypes_max: usize::MAX,
        action: None,
        outcome: None,
        agents: (1, usize::MAX),
        closed: false,
        agent,
        entities: (0, usize::MAX),
        entity_by: "type",
        entity: vec![],
        observer: None,
    }
}

fn disclosure(id: &'static str, kind: &'static str, action: &'static str, observer: &'static str) -> Rules {
    let side = Slice { needs: &["/type", "/who", "/network"], ..SLICE };
    Rules {
        id,
        kind: Some((DCM, kind)),
        subtypes: &[("http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle", "disclose")],
        subtypes_max: usize::MAX,
        action: Some(action),
        outcome: None,
        agents: (2, usize::MAX),
        closed: false,
        agent: vec![
            Slice { name: "source", types: SOURCE, ..side },
            Slice { name: "recipient", types: DESTINATION, ..side },
            Slice {
                name: "custodian",
                types: &[("http://snomed.info/sct", "159541003")],
                min: 0,
                needs: &["/who"],
                ..SLICE
            },
            Slice {
                name: "authorizer",
                types: &[("http://snomed.info/sct", "429577009")],
                min: 0,
                needs: &["/who"],
                ..SLICE
            },
        ],
        entities: (2, usize::MAX),
        entity_by: "type",
        entity: vec![PATIENT],
        observer: Some(observer),
    }
}

pub(super) fn rules() -> Vec<Rules> {
    let (push, pull) = ((SOURCE, DESTINATION), (DESTINATION, SOURCE));
    let gone = (APPLICATION, CUSTODIAN);
    let data = &[TRANSACTION, DATA];
    let read = &[TRANSACTION, Slice { needs: &["/type", "/what"], ..DATA }];
    let query = &[TRANSACTION, QUERY];
    let create: &[Coding] = &[(REST, "create")];
    let update: &[Coding] = &[(REST, "update"), (REST, "patch")];
    let delete: &[Coding] = &[(REST, "delete")];
    let reads: &[Coding] = &[(REST, "read"), (REST, "vread")];
    let searches: &[Coding] = &[(REST, "search"), (REST, "search-type"), (REST, "search-system")];
    let oauth = Slice {
        name: "oUser",
        types: &[(AGENTS, "UserOauthAgent")],
        max: usize::MAX,
        needs: &["/type", "/policy/0"],
        never: &["/policy/1", "/media", "/network"],
        requestor: true,
        ..SLICE
    };
    let identified = Slice {
        name: "oUser",
        types: READERS,
        min: 0,
        needs: &["/who/identifier", "/policy/0"],
        never: &["/policy/1", "/media", "/network"],
        requestor: true,
        ..SLICE
    };
    let application = Slice {
        name: "oClient",
        types: APPLICATION,
        needs: &["/type", "/who/identifier/value"],
        never: &["/media", "/network/1"],
        ..SLICE
    };
    vec![
        rest("IHE.BasicAudit.Create", "C", create, push, AUTHORS, data),
        rest("IHE.BasicAudit.PatientCreate", "C", create, push, AUTHORS, data),
        rest("IHE.BasicAudit.Read", "R", reads, pull, READERS, read),
        rest("IHE.BasicAudit.PatientRead", "R", reads, pull, READERS, read),
        rest("IHE.BasicAudit.Update", "U", update, push, AUTHORS, data),
        rest("IHE.BasicAudit.PatientUpdate", "U", update, push, AUTHORS, data),
        rest("IHE.BasicAudit.Delete", "D", delete, gone, AUTHORS, data),
        rest("IHE.BasicAudit.PatientDelete", "D", delete, gone, AUTHORS, data),
        rest("IHE.BasicAudit.Query", "E", searches, push, READERS, query),
        rest("IHE.BasicAudit.PatientQuery", "E", searches, push, READERS, query),
        token_use("IHE.BasicAudit.OAUTHaccessTokenUse.Minimal", vec![oauth]),
        token_use("IHE.BasicAudit.OAUTHaccessTokenUse.Comprehensive", vec![application, identified]),
        disclosure("IHE.BasicAudit.PrivacyDisclosure.Source", "110106", "R", "source"),
        disclosure("IHE.BasicAudit.PrivacyDisclosure.Recipient", "110107", "C", "recipient"),
        Rules {
            id: "IHE.IUA.71",
            kind: Some((DCM, "110114")),
            subtypes: &[("urn:ihe:event-type-code", "ITI-71")],
            subtypes_max: 1,
            action: Some("E"),
            outcome: Some("0"),
            agents: (2, 3),
            closed: true,
            agent: vec![
                Slice { name: "client", types: APPLICATION, ..SIDE },
                Slice { name: "auth-server", types: &[(AGENTS, "AuthzOauthService")], ..SIDE },
                Slice { types: READERS, never: &["/media", "/network", "/altId"], ..USER },
            ],
            entities: (1, 1),
            entity_by: "role",
            entity: vec![Slice {
                name: "token-request",
                types: &[(ROLE, "24")],
                needs: &["/type", "/role", "/query"],
                never: &["/what"],
                roles: &["24"],
                ..SLICE
            }],
            observer: None,
        },
    ]
}
