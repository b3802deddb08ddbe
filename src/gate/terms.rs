//! The words of the schema, parsed once, and a question in Cedar's terms.
//!
//! May import `fhir` and `identity`.

use std::collections::HashMap;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression as Value,
    Schema,
};

use super::{
    Act, GateError, Relations,
    question::{Object, Question, Seen, Subject},
};
use crate::{
    fhir::kinds::ResourceType,
    identity::{CallerKind, Purpose, TenantId},
};

/// Every purpose of use a caller can have.
const PURPOSES: [Purpose; 6] = [
    Purpose::Treat,
    Purpose::Payment,
    Purpose::Operations,
    Purpose::Emergency,
    Purpose::PatientRequest,
    Purpose::Audit,
];

/// Types whose entities are callers or records: a policy must not name one of them.
pub(super) const NAMELESS: [&str; 5] = ["User", "Service", "Partner", "Record", "Log"];

/// The words of the schema as Cedar holds them. All of them are cheap to clone.
pub(super) struct Terms {
    user: EntityUid,
    service: EntityUid,
    partner: EntityUid,
    record: EntityUid,
    log: EntityUid,
    acts: HashMap<Act, EntityUid>,
    role: EntityTypeName,
    kinds: HashMap<ResourceType, (Value, Value)>,
    relations: HashMap<Relations, Value>,
    contexts: HashMap<(Purpose, bool), Context>,
}

/// A question as Cedar takes it.
pub(super) struct Posed {
    pub(super) request: Request,
    pub(super) entities: Entities,
}

/// Cedar would not take a value; a mistake of this module.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unposed {
    #[error("a word is not in the terms")]
    Word,
    #[error(transparent)]
    Attribute(#[from] Box<cedar_policy::EntityAttrEvaluationError>),
    #[error(transparent)]
    Entities(#[from] Box<cedar_policy::entities_errors::EntitiesError>),
    #[error(transparent)]
    Request(#[from] Box<cedar_policy::RequestValidationError>),
}

impl Terms {
    /// The words, with the family of every type.
    pub(super) fn new(families: &HashMap<ResourceType, String>) -> Result<Self, GateError> {
        let (kind, family) = (name_of("Kind")?, name_of("Family")?);
        let relation = name_of("Relation")?;
        let (purpose, action) = (name_of("Purpose")?, name_of("Action")?);
        let mut contexts = HashMap::new();
        for code in PURPOSES {
            for in_scope in [false, true] {
                let pairs = [
                    ("purpose".to_owned(), word(&purpose, code.code())),
                    ("inScope".to_owned(), Value::new_bool(in_scope)),
                ];
                let context = Context::from_pairs(pairs).map_err(|e| GateError::Shape(e.to_string()))?;
                contexts.insert((code, in_scope), context);
            }
        }
        Ok(Self {
            user: uid(&name_of("User")?, "caller"),
            service: uid(&name_of("Service")?, "caller"),
            partner: uid(&name_of("Partner")?, "caller"),
            record: uid(&name_of("Record")?, "record"),
            log: uid(&name_of("Log")?, "log"),
            acts: Act::ALL.into_iter().map(|act| (act, uid(&action, act.name()))).collect(),
            role: name_of("Role")?,
            kinds: families.iter().map(|(k, f)| (*k, (word(&kind, k.name()), word(&family, f)))).collect(),
            relations: (0..=Relations::ALL.0).map(|bits| related(&relation, Relations(bits))).collect(),
            contexts,
        })
    }

    fn caller(&self, kind: CallerKind) -> &EntityUid {
        match kind {
            CallerKind::User => &self.user,
            CallerKind::Service => &self.service,
            CallerKind::Partner => &self.partner,
        }
    }

    /// Whether callers of `kind` are entities of this type.
    pub(super) fn is(&self, kind: CallerKind, name: &EntityTypeName) -> bool {
        self.caller(kind).type_name() == name
    }

    /// The action of this act.
    pub(super) fn act(&self, act: Act) -> Option<&EntityUid> {
        self.acts.get(&act)
    }

    /// The question in Cedar's terms.
    ///
    /// Without a schema nothing is checked; [`Self::fits`] has checked every word against it at the start.
    pub(super) fn pose(&self, asked: &Question<'_>, schema: Option<&Schema>) -> Result<Posed, Unposed> {
        let (principal, object) = (self.principal(&asked.subject)?, self.object(&asked.object)?);
        let act = self.acts.get(&asked.act).ok_or(Unposed::Word)?.clone();
        let context = self.contexts.get(&(asked.subject.purpose, asked.subject.in_scope));
        let context = context.ok_or(Unposed::Word)?.clone();
        let request = Request::new(principal.uid(), act, object.uid(), context, schema).map_err(Box::new)?;
        let entities = Entities::from_entities([principal, object], schema).map_err(Box::new)?;
        Ok(Posed { request, entities })
    }

    fn principal(&self, subject: &Subject<'_>) -> Result<Entity, Unposed> {
        let uid = self.caller(subject.kind);
        let roles = subject.roles.iter().map(|role| word(&self.role, role));
        let attributes = vec![
            ("tenant".to_owned(), Value::new_long(subject.tenant.0.into())),
            ("roles".to_owned(), Value::new_set(roles)),
            ("contractReads".to_owned(), self.types(subject.reads)),
            ("contractWrites".to_owned(), self.types(subject.writes)),
        ];
        Ok(Entity::new_with_tags(uid.clone(), attributes, [], []).map_err(Box::new)?)
    }

    /// A contract's types. What R4 has not is left out: no record is of that type.
    fn types(&self, names: &[String]) -> Value {
        let known = names.iter().filter_map(|name| self.kinds.get(&ResourceType::from_name(name)?));
        Value::new_set(known.map(|(kind, _)| kind.clone()))
    }

    fn object(&self, object: &Object<'_>) -> Result<Entity, Unposed> {
        let (uid, attributes) = match object {
            Object::Log(tenant) => (&self.log, vec![("tenant".to_owned(), Value::new_long(tenant.0.into()))]),
            Object::Record(seen) => (&self.record, self.record(seen).ok_or(Unposed::Word)?),
        };
        Ok(Entity::new_with_tags(uid.clone(), attributes, [], []).map_err(Box::new)?)
    }

    fn record(&self, seen: &Seen<'_>) -> Option<Vec<(String, Value)>> {
        let (kind, family) = self.kinds.get(&seen.kind)?;
        let labels = seen.labels.iter().map(|label| Value::new_string(label.clone()));
        Some(vec![
            ("tenant".to_owned(), Value::new_long(seen.tenant.0.into())),
            ("kind".to_owned(), kind.clone()),
            ("family".to_owned(), family.clone()),
            ("aboutPatient".to_owned(), Value::new_bool(seen.about_patient)),
            ("relations".to_owned(), self.relations.get(&seen.relations)?.clone()),
            ("labels".to_owned(), Value::new_set(labels)),
        ])
    }

    /// Whether the schema knows every word that can ever be posed, in the place where it is posed.
    ///
    /// One question each is enough, because words stand in the same place of the same shape whatever else the
    /// question says. Roles are not among them: an account may have one no policy speaks of.
    pub(super) fn fits(&self, schema: &Schema) -> Result<(), GateError> {
        let shape = |e: Unposed| GateError::Shape(e.to_string());
        let types: Vec<String> = ResourceType::all().map(|kind| kind.name().to_owned()).collect();
        let labels = ["system|code".to_owned()];
        let tenant = TenantId(1);
        let probe = |kind, purpose, labels: &[String], act: Act, of: ResourceType, relations| {
            let subject =
                Subject { kind, tenant, roles: &[], reads: &types, writes: &types, purpose, in_scope: true };
            let object = if act.is_of_log() {
                Object::Log(tenant)
            } else {
                Object::Record(Seen { tenant, kind: of, about_patient: true, relations, labels })
            };
            self.pose(&Question { subject, act, object }, Some(schema)).map(drop).map_err(shape)
        };
        for caller in [CallerKind::User, CallerKind::Service, CallerKind::Partner] {
            for act in Act::ALL {
                for purpose in PURPOSES {
                    probe(caller, purpose, &labels, act, ResourceType::PATIENT, Relations::ALL)?;
                }
            }
        }
        for of in ResourceType::all() {
            probe(CallerKind::User, Purpose::Treat, &[], Act::Read, of, Relations::NONE)?;
        }
        Ok(())
    }
}

fn name_of(name: &str) -> Result<EntityTypeName, GateError> {
    name.parse().map_err(|e: cedar_policy::ParseErrors| GateError::Shape(e.to_string()))
}

fn uid(name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(name.clone(), EntityId::new(id))
}

fn word(name: &EntityTypeName, id: &str) -> Value {
    Value::new_entity_uid(uid(name, id))
}

fn related(name: &EntityTypeName, set: Relations) -> (Relations, Value) {
    let held = Relations::NAMED.into_iter().filter(|(one, _)| set.contains(*one));
    (set, Value::new_set(held.map(|(_, id)| word(name, id))))
}
