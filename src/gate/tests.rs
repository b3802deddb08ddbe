//! Tests of the gate's own machinery. What the shipped policies say is tested in `tests/policies`.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::HashSet, hash::BuildHasher, hash::RandomState, sync::Arc};

use cedar_policy::{PolicyId, PolicySet};
use quick_cache::Equivalent;
use uuid::Uuid;

use super::{
    Act, Facts, Gate, GateError, Relations, Subject,
    question::{Object, Question, Seen},
    sources::Sources,
};
use crate::{
    fhir::kinds::ResourceType,
    identity::{
        CallerKind, Contract, Purpose, TenantId,
        testing::{self, Sketch},
    },
};

fn physician(roles: &[String]) -> Subject<'_> {
    Subject {
        kind: CallerKind::User,
        tenant: TenantId(1),
        roles,
        reads: &[],
        writes: &[],
        purpose: Purpose::Treat,
        in_scope: true,
    }
}

fn facts(relations: Relations, labels: &[&str]) -> Facts {
    Facts {
        tenant: TenantId(1),
        kind: ResourceType::OBSERVATION,
        key: Uuid::nil(),
        about_patient: true,
        relations,
        labels: labels.iter().map(|l| (*l).to_owned()).collect(),
    }
}

fn refused(name: &str, text: &str) -> GateError {
    Gate::of_sources(&Sources::shipped().with(name, text)).unwrap_err()
}

#[test]
fn the_shipped_policies_load() {
    let gate = Gate::shipped().unwrap();
    assert_eq!(gate.policy_set(), Sources::shipped().sha256());
    assert!(gate.policy_ids().contains(&"physician-views-patients".to_owned()));
}

#[test]
fn a_policy_without_an_id_is_refused() {
    assert!(matches!(refused("roles/x.cedar", "permit (principal, action, resource);"), GateError::NoId(_)));
    assert!(matches!(
        refused("roles/x.cedar", "@id(\"\") permit (principal, action, resource);"),
        GateError::NoId(_)
    ));
}

#[test]
fn an_id_is_given_once() {
    let text = "@id(\"nurse-views-patients\") permit (principal, action, resource) when { context.inScope };";
    assert!(matches!(refused("roles/x.cedar", text), GateError::Duplicate { .. }));
}

#[test]
fn a_misspelt_word_is_refused() {
    for text in [
        "principal.roles.contains(Role::\"phisician\")",
        "resource.family == Family::\"clincal\"",
        "resource.kind == Kind::\"Observatoin\"",
        "resource.relations.contains(Relation::\"careteam\")",
        "context.purpose == Purpose::\"treat\"",
        "resource.about",
    ] {
        let policy = format!(
            "@id(\"x\") permit (principal, action == Action::\"read\", resource is Record) when {{ {text} }};"
        );
        assert!(matches!(refused("roles/x.cedar", &policy), GateError::Invalid(_)), "{text}");
    }
}

#[test]
fn a_policy_that_cannot_match_is_refused() {
    let text = "@id(\"x\") permit (principal, action == Action::\"audit\", resource is Record);";
    assert!(matches!(refused("roles/x.cedar", text), GateError::Invalid(_)));
}

#[test]
fn a_policy_that_names_one_caller_or_record_is_refused() {
    for text in [
        "@id(\"x\") forbid (principal == User::\"mallory\", action, resource);",
        "@id(\"x\") forbid (principal, action, resource is Record) when { resource == Record::\"1\" };",
        "@id(\"x\") forbid (principal, action in Action::\"view\", resource);",
    ] {
        assert!(matches!(refused("forbids/x.cedar", text), GateError::Literal { .. }), "{text}");
    }
}

#[test]
fn permits_and_forbids_stand_in_their_folders() {
    let forbid = "@id(\"x\") forbid (principal, action, resource);";
    let permit = "@id(\"x\") permit (principal, action, resource);";
    assert!(matches!(refused("roles/x.cedar", forbid), GateError::Misplaced { .. }));
    assert!(matches!(refused("forbids/x.cedar", permit), GateError::Misplaced { .. }));
}

#[test]
fn a_template_is_refused() {
    let text = "@id(\"x\") permit (principal == ?principal, action, resource);";
    assert!(matches!(refused("roles/x.cedar", text), GateError::Template(_)));
}

#[test]
fn families_hold_every_type_once() {
    assert!(matches!(refused("families.toml", "clinical = [\"Observation\"]"), GateError::Families(_)));
    let shipped = Sources::shipped();
    let text = shipped.required("families.toml").unwrap();
    let twice = text.replace("\"Observation\",", "\"Observation\", \"Patient\",");
    assert!(matches!(refused("families.toml", &twice), GateError::Families(name) if name == "Patient"));
    let unknown = text.replace("\"Observation\",", "\"Observation\", \"Dog\",");
    assert!(matches!(refused("families.toml", &unknown), GateError::Families(name) if name == "Dog"));
}

#[test]
fn a_schema_that_lacks_what_is_posed_is_refused() {
    let shipped = Sources::shipped();
    let text = shipped.required("schema.cedarschema").unwrap();
    for (from, to) in [
        ("\"VisionPrescription\"", "\"Visionprescription\""),
        ("\"registering\"", "\"registered\""),
        ("\"PATRQT\", ", ""),
        ("\"technical\"", "\"tech\""),
        ("    aboutPatient: Bool,\n", "    aboutPatient: Bool,\n    erased: Bool,\n"),
        ("    inScope: Bool,", "    inScope: String,"),
        ("tenant: Long,\n    roles", "tenant: String,\n    roles"),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(
            matches!(refused("schema.cedarschema", &text.replace(from, to)), GateError::Shape(_)),
            "{from}"
        );
    }
}

#[test]
fn an_error_in_a_policy_is_a_no() {
    // No valid policy fails on what the gate poses, but one that overflows does so on some tenants.
    let text = "@id(\"overflows\") forbid (principal, action, resource)
        when { principal.tenant * 9223372036854775807 == 7 };";
    let gate = Gate::of_sources(&Sources::shipped().with("forbids/x.cedar", text)).unwrap();
    let roles = ["physician".to_owned()];
    let near = facts(Relations::CARE_TEAM, &[]);
    assert!(gate.decide(&physician(&roles), Act::Read, &near).allow);
    let subject = Subject { tenant: TenantId(2), ..physician(&roles) };
    let decision = gate.decide(&subject, Act::Read, &Facts { tenant: TenantId(2), ..near });
    assert!(!decision.allow);
    assert_eq!(*decision.policies, ["overflows".to_owned()]);
}

#[test]
fn approach_finds_the_one_relationship_that_helps() {
    let text = "@id(\"no-gp\") forbid (principal, action, resource is Record)
        when { resource.relations.contains(Relation::\"general-practitioner\") };";
    let gate = Gate::of_sources(&Sources::shipped().with("forbids/x.cedar", text)).unwrap();
    let roles = ["physician".to_owned()];
    assert!(gate.decide_approach(&physician(&roles), Act::Read, ResourceType::OBSERVATION).allow);
    assert!(!gate.decide_approach(&physician(&roles), Act::Read, ResourceType::CLAIM).allow);
}

#[test]
fn a_record_is_never_opened_by_the_act_on_the_log() {
    let gate = Gate::shipped().unwrap();
    let roles = ["auditor".to_owned()];
    let subject = Subject { purpose: Purpose::Audit, ..physician(&roles) };
    assert!(gate.decide_audit(&subject, TenantId(1)).allow);
    assert!(!gate.decide_audit(&subject, TenantId(2)).allow);
    assert!(!gate.decide(&subject, Act::Audit, &facts(Relations::ALL, &[])).allow);
}

#[test]
fn a_permit_names_what_it_was_given_for() {
    let gate = Gate::shipped().unwrap();
    let tenant = TenantId(7);
    let caller = Arc::new(testing::caller(Sketch::default()));
    let facts = Facts { tenant, key: Uuid::from_u128(5), ..facts(Relations::CARE_TEAM, &[]) };
    let permit = gate.permit(&caller, Act::Read, &facts).ok().unwrap();
    assert!(Arc::ptr_eq(permit.caller(), &caller));
    assert_eq!(permit.act(), Act::Read);
    assert_eq!(permit.record(), Some((ResourceType::OBSERVATION, Uuid::from_u128(5))));
    assert_eq!(**permit.policies(), ["physician-views-patients".to_owned()]);
    assert_eq!(permit.policy_set(), gate.policy_set());

    let unrelated = Facts { relations: Relations::NONE, ..facts.clone() };
    let denied = gate.permit(&caller, Act::Read, &unrelated).err().unwrap();
    assert_eq!((denied.act(), denied.policies().len()), (Act::Read, 0));
    assert_eq!(denied.policy_set(), gate.policy_set());
    let elsewhere = Facts { tenant: TenantId(8), ..facts };
    let denied = gate.permit(&caller, Act::Read, &elsewhere).err().unwrap();
    assert_eq!(**denied.policies(), ["other-tenant".to_owned()]);
}

#[test]
fn scopes_of_the_caller_bind_the_permit() {
    let gate = Gate::shipped().unwrap();
    let caller =
        Arc::new(testing::caller(Sketch { scopes: "user/Observation.rs", tenant: 1, ..Sketch::default() }));
    let near = facts(Relations::CARE_TEAM, &[]);
    assert!(gate.permit(&caller, Act::Search, &near).is_ok());
    let denied = gate.permit(&caller, Act::Update, &near).err().unwrap();
    assert_eq!(**denied.policies(), ["outside-scope".to_owned()]);
    assert!(gate.approach(&caller, Act::Read, ResourceType::OBSERVATION).is_ok());
    for (act, kind) in [(Act::Update, ResourceType::OBSERVATION), (Act::Read, ResourceType::CONDITION)] {
        let denied = gate.approach(&caller, act, kind).err().unwrap();
        assert_eq!(**denied.policies(), ["outside-scope".to_owned()]);
    }
}

#[test]
fn only_an_auditor_is_permitted_the_log() {
    let gate = Gate::shipped().unwrap();
    let auditor = Sketch { roles: &["auditor"], purpose: Purpose::Audit, scopes: "", ..Sketch::default() };
    let permit = gate.permit_audit(&Arc::new(testing::caller(auditor))).ok().unwrap();
    assert_eq!((permit.act(), permit.record()), (Act::Audit, None));
    let physician = Sketch { purpose: Purpose::Audit, ..Sketch::default() };
    assert!(gate.permit_audit(&Arc::new(testing::caller(physician))).is_err());
}

#[test]
fn a_contract_binds_the_permit() {
    let gate = Gate::shipped().unwrap();
    let contract = Contract { reads: vec!["Observation".to_owned()], writes: Vec::new() };
    let kind = CallerKind::Partner;
    let contract = Some(contract);
    let caller =
        Arc::new(testing::caller(Sketch { kind, tenant: 1, contract, roles: &[], ..Sketch::default() }));
    let any = facts(Relations::NONE, &[]);
    assert!(gate.permit(&caller, Act::Read, &any).is_ok());
    assert!(gate.permit(&caller, Act::Create, &any).is_err());
}

/// Questions that differ from the first in one thing each.
fn variations<T>(ask: impl Fn(&[Question<'_>]) -> T) -> T {
    let (none, one) = ([], ["physician".to_owned()]);
    let two = ["physician".to_owned(), "auditor".to_owned()];
    let types = ["Observation".to_owned()];
    let labels = ["http://terminology.hl7.org/CodeSystem/v3-Confidentiality|R".to_owned()];
    let subject = physician(&one);
    let (tenant, kind) = (TenantId(1), ResourceType::OBSERVATION);
    let seen = Seen { tenant, kind, about_patient: true, relations: Relations::ENCOUNTER, labels: &none };
    let first = Question { subject, act: Act::Read, object: Object::Record(seen) };
    let by = |subject| Question { subject, ..first };
    let on = |seen| Question { object: Object::Record(seen), ..first };
    ask(&[
        first,
        by(Subject { kind: CallerKind::Partner, ..subject }),
        by(Subject { tenant: TenantId(2), ..subject }),
        by(Subject { roles: &none, ..subject }),
        by(Subject { roles: &two, ..subject }),
        by(Subject { reads: &types, ..subject }),
        by(Subject { writes: &types, ..subject }),
        by(Subject { purpose: Purpose::Emergency, ..subject }),
        by(Subject { in_scope: false, ..subject }),
        by(Subject { kind: CallerKind::Partner, reads: &types, roles: &none, ..subject }),
        Question { act: Act::Delete, ..first },
        Question { act: Act::Audit, object: Object::Log(tenant), ..first },
        on(Seen { tenant: TenantId(2), ..seen }),
        on(Seen { kind: ResourceType::CLAIM, ..seen }),
        on(Seen { about_patient: false, ..seen }),
        on(Seen { relations: Relations::NONE, ..seen }),
        on(Seen { labels: &labels, ..seen }),
        on(Seen { relations: Relations::CARE_TEAM, labels: &labels, ..seen }),
    ])
}

#[test]
fn a_cached_decision_is_the_decision() {
    let gate = Gate::shipped().unwrap();
    variations(|questions| {
        let fresh: Vec<_> = questions.iter().map(|q| gate.evaluate(q)).collect();
        for _ in 0..3 {
            for (question, fresh) in questions.iter().zip(&fresh) {
                assert_eq!(gate.answer(question), *fresh);
            }
        }
        assert!(fresh.iter().any(|d| d.allow) && fresh.iter().any(|d| !d.allow));
    });
}

#[test]
fn a_slice_decides_as_the_whole_set() {
    let gate = Gate::shipped().unwrap();
    let mut whole = PolicySet::new();
    for (_, text) in Sources::shipped().policies() {
        for policy in text.parse::<PolicySet>().unwrap().policies() {
            let id = PolicyId::new(policy.annotation("id").unwrap());
            whole.add(policy.new_id(id)).unwrap();
        }
    }
    variations(|questions| {
        for question in questions {
            for act in Act::ALL {
                for kind in [CallerKind::User, CallerKind::Service, CallerKind::Partner] {
                    let subject = Subject { kind, ..question.subject };
                    let question = Question { act, subject, ..*question };
                    assert_eq!(gate.evaluate(&question), gate.evaluate_by(&whole, &question));
                }
            }
        }
    });
}

#[test]
fn a_question_equals_only_its_own_key() {
    let hasher = RandomState::new();
    variations(|questions| {
        let keys: Vec<_> = questions.iter().map(|q| q.to_key().unwrap()).collect();
        for (i, question) in questions.iter().enumerate() {
            for (j, key) in keys.iter().enumerate() {
                assert_eq!(question.equivalent(key), i == j, "{i} {j}");
            }
            assert_eq!(hasher.hash_one(question), hasher.hash_one(keys.get(i).unwrap()));
        }
        let hashes: HashSet<u64> = keys.iter().map(|k| hasher.hash_one(k)).collect();
        assert_eq!(hashes.len(), keys.len());
    });
}

#[test]
fn a_question_over_its_bound_is_decided_and_not_kept() {
    let gate = Gate::shipped().unwrap();
    let roles = ["physician".to_owned()];
    for (count, kept) in [(16, true), (17, false)] {
        let labels = vec!["a|b"; count];
        let facts = facts(Relations::CARE_TEAM, &labels);
        assert!(gate.decide(&physician(&roles), Act::Read, &facts).allow);
        let question =
            Question { subject: physician(&roles), act: Act::Read, object: Object::Record(Seen::of(&facts)) };
        assert_eq!(question.to_key().is_some(), kept);
    }
    let long = ["x".repeat(8192)];
    let subject = physician(&long);
    let object = Object::Log(TenantId(1));
    let question = Question { subject, act: Act::Audit, object };
    assert!(question.to_key().is_some());
    let longer = ["x".repeat(8193)];
    assert!(Question { subject: physician(&longer), ..question }.to_key().is_none());
}

/// `cargo test --release --lib gate -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "a measurement")]
fn how_long_a_decision_takes() {
    let gate = Gate::shipped().unwrap();
    let rounds = 20_000_u32;
    let time = |what: &str, each: &dyn Fn()| {
        let start = std::time::Instant::now();
        (0..rounds).for_each(|_| each());
        println!("{what}: {:?}", start.elapsed() / rounds);
    };
    variations(|questions| {
        let count = u32::try_from(questions.len()).unwrap();
        time("posed, all", &|| questions.iter().for_each(|q| drop(gate.terms().pose(q, None))));
        time("evaluated, all", &|| questions.iter().for_each(|q| drop(gate.evaluate(q))));
        time("kept, all", &|| questions.iter().for_each(|q| drop(gate.answer(q))));
        println!("(each of {count} questions)");
    });
}
