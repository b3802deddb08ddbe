//! A request as it came in, read once and owned, before anybody has decided anything about it.

use std::net::{IpAddr, Ipv4Addr};

use rocket::{Data, Request, data::ToByteUnit as _, http::Method};
use uuid::Uuid;

use super::{
    dispatch::{EdgeFacts, EdgeFault},
    edge::Door,
    mount::BODY_MIB_MAX,
};
use crate::{
    fhir::{
        kinds::{LogicalId, ResourceType},
        patch::MetaChange,
        reference::parse_version,
        terminology::answer::Operation as Terms,
    },
    interaction::audit::Part,
};

/// Where a request wants to go.
#[derive(Debug)]
pub enum Place {
    /// `GET /fhir/metadata`
    Metadata,
    /// `GET /fhir/.well-known/smart-configuration`
    SmartConfiguration,
    /// `POST /fhir`
    Bundle,
    /// `GET /fhir/Type`
    Search(ResourceType),
    /// `GET /fhir`
    SearchSystem,
    /// `POST /fhir/_search`
    SearchSystemForm,
    /// `POST /fhir/Type/_search`
    SearchForm(ResourceType),
    /// `POST /fhir/Type`
    Create(ResourceType),
    /// `PUT /fhir/Type?query`
    UpdateWhere(ResourceType),
    /// `PATCH /fhir/Type?query`
    PatchWhere(ResourceType),
    /// `DELETE /fhir/Type?query`
    DeleteWhere(ResourceType),
    /// `GET /fhir/Type/id`
    Read(ResourceType, LogicalId),
    /// `PUT /fhir/Type/id`
    Update(ResourceType, LogicalId),
    /// `PATCH /fhir/Type/id`
    Patch(ResourceType, LogicalId),
    /// `DELETE /fhir/Type/id`
    Delete(ResourceType, LogicalId),
    /// `GET /fhir/Type/id/_history`
    History(ResourceType, LogicalId),
    /// `GET /fhir/Type/_history`
    TypeHistory(ResourceType),
    /// `GET /fhir/_history`
    SystemHistory,
    /// `GET /fhir/Type/id/_history/version`
    Version(ResourceType, LogicalId, u32),
    /// `GET /fhir/Patient/id/Type`
    Compartment(LogicalId, ResourceType),
    /// `POST /fhir/Type/$validate`, and `POST /fhir/Type/id/$validate`
    Validate(ResourceType, Option<LogicalId>),
    /// `GET /fhir/Type/id/$meta`
    Meta(ResourceType, LogicalId),
    /// `POST /fhir/Type/id/$meta-add`, and `$meta-delete`
    ChangeMeta(ResourceType, LogicalId, MetaChange),
    /// `GET /fhir/Patient/id/$everything`, and of an Encounter
    Everything(ResourceType, LogicalId),
    /// `GET /fhir/Type/$lookup` and its like, and `GET /fhir/Type/id/$expand`
    Terminology(Terms, ResourceType, Option<LogicalId>),
    /// The same by `POST` of Parameters
    TerminologyBody(Terms, ResourceType),
    /// `POST /fhir/SearchParameter/$reindex`
    Reindex,
    /// `GET /fhir/SearchParameter/$reindex`
    ReindexStatus,
    /// `GET /openapi.json`
    OpenApi,
    /// `POST /auth/token`
    Token,
    /// `GET /auth/jwks`
    Jwks,
    /// `GET /audit/checkpoint`, `/audit/entries/index`, `/audit/log/...` and their like; of the log at a head of the database
    /// below `/audit/shards/head`
    Log(Option<i16>, Part),
    /// `GET /audit/disclosures/patient`
    Disclosures(LogicalId),
    /// `POST /audit/exports`
    ExportStart,
    /// `GET /audit/exports/id`
    ExportStatus(Uuid),
    /// `GET /audit/exports/id/name`
    ExportFile(Uuid, String),
    /// `DELETE /audit/exports/id`
    ExportCancel(Uuid),
    /// A path of ours with something in it that is none: no such resource type, id, version or index.
    Unknown,
    /// A path of ours under another method.
    OtherMethod,
    /// No route; the status Rocket gave it.
    Nowhere(u16),
}

impl Place {
    /// Reads a place from a method and path. HEAD goes where GET does.
    #[must_use]
    pub fn parse(method: Method, path: &str) -> Self {
        match Self::route(method, path) {
            Self::Unknown => {
                let served = |other| !matches!(Self::route(other, path), Self::Unknown);
                let methods = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete];
                let known = methods.into_iter().any(served);
                if known { Self::OtherMethod } else { Self::Unknown }
            }
            place => place,
        }
    }

    fn route(method: Method, path: &str) -> Self {
        let get = matches!(method, Method::Get | Method::Head);
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let kind = |name: &str| ResourceType::from_name(name);
        match (segments.as_slice(), method) {
            (["fhir"], Method::Post) => Self::Bundle,
            (["fhir"], _) if get => Self::SearchSystem,
            (["fhir", "_search"], Method::Post) => Self::SearchSystemForm,
            (["openapi.json"], _) if get => Self::OpenApi,
            (["fhir", "metadata"], _) if get => Self::Metadata,
            (["fhir", ".well-known", "smart-configuration"], _) if get => Self::SmartConfiguration,
            (["fhir", "_history"], _) if get => Self::SystemHistory,
            (["fhir", of, "_history"], _) if get => kind(of).map_or(Self::Unknown, Self::TypeHistory),
            (["fhir", of], _) => kind(of).map_or(Self::Unknown, |kind| match method {
                Method::Post => Self::Create(kind),
                Method::Put => Self::UpdateWhere(kind),
                Method::Patch => Self::PatchWhere(kind),
                Method::Delete => Self::DeleteWhere(kind),
                _ if get => Self::Search(kind),
                _ => Self::Unknown,
            }),
            (["fhir", of, "_search"], Method::Post) => kind(of).map_or(Self::Unknown, Self::SearchForm),
            (["fhir", of, name], _) if name.starts_with('$') => Self::of_type(method, of, name),
            (["fhir", of, id], _) => match (kind(of), LogicalId::parse(id)) {
                (Some(kind), Some(id)) => match method {
                    Method::Put => Self::Update(kind, id),
                    Method::Patch => Self::Patch(kind, id),
                    Method::Delete => Self::Delete(kind, id),
                    _ if get => Self::Read(kind, id),
                    _ => Self::Unknown,
                },
                _ => Self::Unknown,
            },
            (["fhir", of, id, "_history"], _) => match (kind(of), LogicalId::parse(id)) {
                (Some(kind), Some(id)) if get => Self::History(kind, id),
                _ => Self::Unknown,
            },
            (["fhir", of, id, last], _) => match (kind(of), LogicalId::parse(id)) {
                (Some(kind), Some(id)) => Self::below(method, kind, id, last),
                _ => Self::Unknown,
            },
            (["fhir", of, id, "_history", version], _) => {
                match (kind(of), LogicalId::parse(id), parse_version(version)) {
                    (Some(kind), Some(id), Some(version)) if get => Self::Version(kind, id, version),
                    _ => Self::Unknown,
                }
            }
            (["auth", "token"], Method::Post) => Self::Token,
            (["auth", "jwks"], _) if get => Self::Jwks,
            (["audit", "disclosures", id], _) if get => {
                LogicalId::parse(id).map_or(Self::Unknown, Self::Disclosures)
            }
            (["audit", "exports", rest @ ..], _) => Self::export(method, rest),
            (["audit", "shards", head, rest @ ..], _) if get => match (head.parse(), Part::parse(rest)) {
                (Ok(head), Some(part)) => Self::Log(Some(head), part),
                _ => Self::Unknown,
            },
            (["audit", rest @ ..], _) if get => {
                Part::parse(rest).map_or(Self::Unknown, |part| Self::Log(None, part))
            }
            _ => Self::Unknown,
        }
    }

    /// An operation on a type.
    fn of_type(method: Method, of: &str, name: &str) -> Self {
        let get = matches!(method, Method::Get | Method::Head);
        match (ResourceType::from_name(of), Terms::of(name, of), method) {
            (Some(kind), None, Method::Post) if name == "$validate" => Self::Validate(kind, None),
            (Some(ResourceType::SEARCH_PARAMETER), _, _) if name == "$reindex" => match method {
                Method::Post => Self::Reindex,
                Method::Get => Self::ReindexStatus,
                _ => Self::Unknown,
            },
            (Some(kind), Some(operation), Method::Post) => Self::TerminologyBody(operation, kind),
            (Some(kind), Some(operation), _) if get => Self::Terminology(operation, kind, None),
            _ => Self::Unknown,
        }
    }

    fn export(method: Method, rest: &[&str]) -> Self {
        let id = |text: &str| Uuid::parse_str(text).ok().filter(|id| id.to_string() == text);
        match (rest, method) {
            ([], Method::Post) => Self::ExportStart,
            ([one], Method::Get) => id(one).map_or(Self::Unknown, Self::ExportStatus),
            ([one], Method::Delete) => id(one).map_or(Self::Unknown, Self::ExportCancel),
            ([one, name], Method::Get) => {
                id(one).map_or(Self::Unknown, |id| Self::ExportFile(id, (*name).to_owned()))
            }
            _ => Self::Unknown,
        }
    }

    /// What stands below an instance: an operation, or a type in a patient's compartment.
    fn below(method: Method, kind: ResourceType, id: LogicalId, last: &str) -> Self {
        let get = matches!(method, Method::Get | Method::Head);
        let has_everything = [ResourceType::PATIENT, ResourceType::ENCOUNTER].contains(&kind);
        if let Some(operation) = Terms::of(last, kind.name()).filter(|one| get && *one != Terms::Lookup) {
            return Self::Terminology(operation, kind, Some(id));
        }
        match (last, ResourceType::from_name(last), method) {
            ("$validate", _, Method::Post) => Self::Validate(kind, Some(id)),
            ("$meta-add", _, Method::Post) => Self::ChangeMeta(kind, id, MetaChange::Add),
            ("$meta-delete", _, Method::Post) => Self::ChangeMeta(kind, id, MetaChange::Delete),
            ("$meta", _, _) if get => Self::Meta(kind, id),
            ("$everything", _, _) if get && has_everything => Self::Everything(kind, id),
            (_, Some(of), _) if get && kind == ResourceType::PATIENT => Self::Compartment(id, of),
            _ => Self::Unknown,
        }
    }

    /// What the log and the metrics call it: FHIR's word where FHIR has one.
    #[must_use]
    pub const fn interaction(&self) -> &'static str {
        match self {
            Self::Metadata => "capabilities",
            Self::SmartConfiguration => "smart-configuration",
            Self::Bundle => "transaction",
            Self::Search(_) | Self::SearchForm(_) => "search-type",
            Self::SearchSystem | Self::SearchSystemForm => "search-system",
            Self::Create(_) => "create",
            Self::Read(..) => "read",
            Self::Update(..) | Self::UpdateWhere(_) => "update",
            Self::Patch(..) | Self::PatchWhere(_) => "patch",
            Self::Delete(..) | Self::DeleteWhere(_) => "delete",
            Self::History(..) => "history-instance",
            Self::TypeHistory(_) => "history-type",
            Self::SystemHistory => "history-system",
            Self::Version(..) => "vread",
            Self::Compartment(..) => "search-compartment",
            Self::Validate(..) => "validate",
            Self::Meta(..) => "meta",
            Self::ChangeMeta(_, _, MetaChange::Add) => "meta-add",
            Self::ChangeMeta(_, _, MetaChange::Delete) => "meta-delete",
            Self::Everything(..) => "everything",
            Self::Terminology(operation, ..) | Self::TerminologyBody(operation, _) => operation.name(),
            Self::Reindex => "reindex",
            Self::ReindexStatus => "reindex-status",
            Self::OpenApi => "openapi",
            Self::Token => "token",
            Self::Jwks => "jwks",
            Self::Log(_, part) => part.name(),
            Self::Disclosures(_) => "audit-disclosures",
            Self::ExportStart => "audit-export",
            Self::ExportStatus(_) => "audit-export-status",
            Self::ExportFile(..) => "audit-export-file",
            Self::ExportCancel(_) => "audit-export-cancel",
            Self::Unknown | Self::OtherMethod | Self::Nowhere(_) => "none",
        }
    }

    /// Whether a body belongs to it, and of which media type.
    #[must_use]
    pub const fn body(&self) -> Option<&'static str> {
        match self {
            Self::Bundle
            | Self::Create(_)
            | Self::Update(..)
            | Self::UpdateWhere(_)
            | Self::Validate(..)
            | Self::TerminologyBody(..)
            | Self::ChangeMeta(..) => Some("fhir"),
            Self::Patch(..) | Self::PatchWhere(_) => Some("patch"),
            Self::SearchForm(_) | Self::SearchSystemForm | Self::Token | Self::ExportStart => Some("form"),
            _ => None,
        }
    }
}

/// The headers that mean something to us.
#[derive(Default)]
pub struct Headers {
    /// Authorization.
    pub authorization: Option<String>,
    /// Accept.
    pub accept: Option<String>,
    /// Content-Type.
    pub content_type: Option<String>,
    /// If-Match.
    pub if_match: Option<String>,
    /// If-None-Match.
    pub if_none_match: Option<String>,
    /// If-Modified-Since.
    pub if_modified_since: Option<String>,
    /// X-Security-Context (FHIR R4 binary.html#security).
    pub security_context: Option<String>,
    /// If-None-Exist.
    pub if_none_exist: Option<String>,
    /// Prefer; several headers are one list.
    pub prefer: Option<String>,
}

/// A whole request.
pub struct Incoming {
    /// Where it wants to go.
    pub place: Place,
    /// Method and path as they were sent, for the log.
    pub line: String,
    /// The query, without `?`.
    pub query: Option<String>,
    /// Headers.
    pub headers: Headers,
    /// The body.
    pub body: zeroize::Zeroizing<Vec<u8>>,
    /// The body is over its bound, or broke off.
    pub body_fault: Option<EdgeFault>,
    /// The door it came through.
    pub door: Door,
    /// Where it came from.
    pub address: IpAddr,
    /// SHA-256 of the client certificate the edge has verified.
    pub thumbprint: Option<[u8; 32]>,
    /// Why the edge wants it refused.
    pub fault: Option<EdgeFault>,
}

impl Incoming {
    /// Reads a request; `data` is `None` in catchers, where it is spent.
    pub async fn read(request: &Request<'_>, data: Option<Data<'_>>) -> Self {
        let facts = EdgeFacts::of(request);
        let path = request.uri().path().as_str();
        let (body, body_fault) = match data {
            None => (Vec::new(), None),
            Some(data) => match data.open(BODY_MIB_MAX.mebibytes()).into_bytes().await {
                Ok(bytes) if bytes.is_complete() => (bytes.into_inner(), None),
                Ok(_) => (Vec::new(), Some(EdgeFault::TooLarge)),
                Err(_) => (Vec::new(), Some(EdgeFault::BadBody)),
            },
        };
        Self {
            place: Place::parse(request.method(), path),
            line: format!("{} {path}", request.method()),
            query: request.uri().query().map(|query| query.as_str().to_owned()),
            headers: Headers::read(request),
            body: body.into(),
            body_fault,
            // A request that did not come through the edge has no certificate and no address.
            door: facts.map_or(Door::Portal, |facts| facts.door),
            address: facts.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |facts| facts.peer.ip()),
            thumbprint: facts
                .and_then(|facts| facts.certificate.as_ref())
                .map(|certificate| certificate.thumbprint),
            fault: facts.and_then(|facts| facts.fault),
        }
    }
}

impl Incoming {
    /// Whether `_pretty=true` asks for indented JSON.
    #[must_use]
    pub fn wants_pretty(&self) -> bool {
        let query = self.query.as_deref().unwrap_or_default();
        query.split('&').any(|pair| pair == "_pretty=true")
    }
}

impl Headers {
    fn read(request: &Request<'_>) -> Self {
        let headers = request.headers();
        let one = |name: &str| headers.get_one(name).map(str::to_owned);
        let prefer: Vec<&str> = headers.get("prefer").collect();
        Self {
            authorization: one("authorization"),
            accept: one("accept"),
            content_type: one("content-type"),
            if_match: one("if-match"),
            if_none_match: one("if-none-match"),
            if_modified_since: one("if-modified-since"),
            security_context: one("x-security-context"),
            if_none_exist: one("if-none-exist"),
            prefer: (!prefer.is_empty()).then(|| prefer.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_fhir_says() {
        let cases = [
            (Method::Get, "/fhir/Patient/1", "read"),
            (Method::Head, "/fhir/Patient/1", "read"),
            (Method::Get, "/fhir/Patient/1/_history/2", "vread"),
            (Method::Get, "/fhir/Patient/1/_history", "history-instance"),
            (Method::Get, "/fhir/Patient", "search-type"),
            (Method::Get, "/fhir/Patient/_history", "history-type"),
            (Method::Get, "/fhir/_history", "history-system"),
            (Method::Post, "/fhir/Patient/_search", "search-type"),
            (Method::Get, "/fhir", "search-system"),
            (Method::Head, "/fhir/", "search-system"),
            (Method::Post, "/fhir/_search", "search-system"),
            (Method::Put, "/fhir/_search", "none"),
            (Method::Post, "/fhir/Patient", "create"),
            (Method::Get, "/fhir/Patient/1/Observation", "search-compartment"),
            (Method::Get, "/fhir/Encounter/1/$everything", "everything"),
            (Method::Post, "/fhir/Patient/$validate", "validate"),
            (Method::Get, "/fhir/ValueSet/$expand", "expand"),
            (Method::Post, "/fhir/ValueSet/$expand", "expand"),
            (Method::Get, "/fhir/ValueSet/1/$validate-code", "validate-code"),
            (Method::Get, "/fhir/CodeSystem/$lookup", "lookup"),
            (Method::Post, "/fhir/ConceptMap/$translate", "translate"),
            (Method::Post, "/fhir/Patient/1/$validate", "validate"),
            (Method::Get, "/fhir/Patient/1/$meta", "meta"),
            (Method::Post, "/fhir/Patient/1/$meta-delete", "meta-delete"),
            (Method::Put, "/fhir/Patient/1", "update"),
            (Method::Delete, "/fhir/Patient/1", "delete"),
            (Method::Post, "/fhir", "transaction"),
            (Method::Post, "/fhir/", "transaction"),
            (Method::Get, "/fhir/metadata", "capabilities"),
            (Method::Post, "/auth/token", "token"),
            (Method::Get, "/audit/entries/7/proof", "audit-proof"),
            (Method::Get, "/audit/tile/0/x001/067.p/5", "audit-tile"),
            (Method::Get, "/audit/log/checkpoint", "audit-log"),
            (Method::Get, "/audit/shards/1/log/checkpoint", "audit-log"),
            (Method::Get, "/audit/shards/1/entries/7", "audit-entry"),
            (Method::Get, "/audit/shards/70000/checkpoint", "none"),
            (Method::Get, "/audit/shards/1/exports", "none"),
            (Method::Get, "/fhir/Nonsense/1", "none"),
            (Method::Get, "/fhir/Patient/a_b", "none"),
            (Method::Get, "/fhir/Patient/1/_history/0", "none"),
            (Method::Patch, "/fhir/Patient/1", "patch"),
            (Method::Patch, "/fhir/Patient/1/_history", "none"),
            (Method::Get, "/audit/entries/-1", "none"),
            (Method::Get, "/", "none"),
        ];
        for (method, path, interaction) in cases {
            assert_eq!(Place::parse(method, path).interaction(), interaction, "{method} {path}");
        }
        assert!(matches!(Place::parse(Method::Patch, "/fhir/Patient/1/_history"), Place::OtherMethod));
        assert!(matches!(Place::parse(Method::Get, "/auth/token"), Place::OtherMethod));
        assert!(matches!(Place::parse(Method::Get, "/fhir/Group/1/$everything"), Place::Unknown));
        assert!(matches!(Place::parse(Method::Get, "/fhir/Group/1/Observation"), Place::Unknown));
    }
}
