//! What manner of event an entry tells of: type, subtypes, action, the roles of both sides, and the BALP profile.

use custodia_audit::{Action, Entry, Kind};

use super::{codes::*, is_success};

/// How BALP sees an entry.
pub(super) struct Manner {
    /// `type`.
    pub(super) kind: Code,
    /// `subtype`.
    pub(super) subtypes: Vec<Code>,
    /// The interaction when it is none of R4's: the text of its subtype.
    pub(super) word: Option<String>,
    /// `action`.
    pub(super) action: &'static str,
    /// What the client and the server are to each other.
    pub(super) client: Code,
    /// The server's part.
    pub(super) server: Code,
    /// The caller's part.
    pub(super) user: Code,
    /// How the records and the question are told.
    pub(super) shape: Shape,
}

/// Which entities an event has, and whether they keep a BALP profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Exactly one record: Create, Read, Update or Delete.
    One(&'static str),
    /// A question, and what answered it.
    Query,
    /// A token: the request alone (IHE IUA ITI-71).
    Token,
    /// The log itself.
    Log,
    /// Anything else, under no profile.
    Other,
}

/// Interactions R4 has a code for.
const RESTFUL_CODES: [&str; 16] = [
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history",
    "history-instance",
    "history-type",
    "history-system",
    "create",
    "search",
    "search-type",
    "search-system",
    "capabilities",
    "transaction",
    "batch",
];
const OPERATION: Code = Code(RESTFUL, "operation", "operation");

impl Manner {
    pub(super) fn of(entry: &Entry) -> Self {
        match entry.event.kind {
            Kind::Access | Kind::Write | Kind::Refusal => Self::rest(entry),
            Kind::Login | Kind::Token => Self::token(entry),
            Kind::Audit => Self::log(entry),
            Kind::Mfa => Self::special(entry, USER_AUTHENTICATION, LOGIN, "E"),
            Kind::Logout => Self::special(entry, USER_AUTHENTICATION, LOGOUT, "E"),
            Kind::BreakGlass => Self::special(entry, SECURITY_ALERT, EMERGENCY, "E"),
            Kind::Export => Self::special(entry, EXPORT, DISCLOSE, "R"),
            Kind::Erasure => Self::special(entry, REST, DESTROY, "D"),
            Kind::Policy | Kind::Key => Self::special(entry, SECURITY_ALERT, SECURITY_CONFIGURATION, "U"),
            Kind::Role => Self::special(entry, SECURITY_ALERT, ROLES_CHANGED, "U"),
            Kind::Config => Self::special(entry, SECURITY_ALERT, SOFTWARE_CONFIGURATION, "U"),
            Kind::Edge => Self::special(entry, SECURITY_ALERT, NODE_AUTHENTICATION, "E"),
        }
    }

    fn rest(entry: &Entry) -> Self {
        let interaction = entry.object.interaction.as_str();
        let known = RESTFUL_CODES.into_iter().find(|code| *code == interaction);
        let subtype = known.map_or(OPERATION, |code| Code(RESTFUL, code, code));
        let reads = matches!(
            interaction,
            "read"
                | "vread"
                | "history"
                | "history-instance"
                | "history-type"
                | "history-system"
                | "capabilities"
        );
        let action = match interaction {
            "create" => "C",
            "update" | "patch" => "U",
            "delete" => "D",
            _ if reads => "R",
            _ => "E",
        };
        // The data flows from the server to whoever reads; a question, and what is written, flows to the server.
        let (client, server) = match action {
            "R" => (DESTINATION, SOURCE),
            "D" => (APPLICATION, CUSTODIAN),
            _ => (SOURCE, DESTINATION),
        };
        let user = if matches!(action, "C" | "U" | "D") { AUTHOR } else { RECIPIENT };
        let word = known.is_none().then(|| interaction.to_owned());
        let shape = shape(entry, interaction);
        Self { kind: REST, subtypes: vec![subtype], word, action, client, server, user, shape }
    }

    fn token(entry: &Entry) -> Self {
        let shape =
            if is_success(entry) && entry.detail.query.is_some() { Shape::Token } else { Shape::Other };
        Self {
            kind: USER_AUTHENTICATION,
            subtypes: vec![GET_TOKEN],
            word: None,
            action: "E",
            client: APPLICATION,
            server: OAUTH_SERVER,
            user: RECIPIENT,
            shape,
        }
    }

    fn log(entry: &Entry) -> Self {
        Self {
            kind: AUDIT_LOG_USED,
            subtypes: vec![OPERATION],
            word: Some(entry.object.interaction.clone()),
            action: "R",
            client: DESTINATION,
            server: SOURCE,
            user: RECIPIENT,
            shape: Shape::Log,
        }
    }

    fn special(entry: &Entry, kind: Code, subtype: Code, action: &'static str) -> Self {
        let (client, server) = if action == "R" { (DESTINATION, SOURCE) } else { (APPLICATION, DESTINATION) };
        Self {
            kind,
            subtypes: vec![subtype],
            word: Some(entry.object.interaction.clone()),
            action,
            client,
            server,
            user: if action == "R" { RECIPIENT } else { AUTHOR },
            shape: Shape::Other,
        }
    }
}

/// Whether a rest event keeps a profile: it succeeded, and it is about as many records as the profile wants.
fn shape(entry: &Entry, interaction: &str) -> Shape {
    if !is_success(entry) || entry.event.kind == Kind::Refusal {
        return Shape::Other;
    }
    let wanted = |action: Action| entry.object.items.iter().filter(|item| item.action == action).count() == 1;
    match interaction {
        "read" | "vread" if wanted(Action::Released) && entry.object.items.len() == 1 => Shape::One("Read"),
        "create" if wanted(Action::Written) => Shape::One("Create"),
        "update" | "patch" if wanted(Action::Written) => Shape::One("Update"),
        "delete" if wanted(Action::Deleted) => Shape::One("Delete"),
        "search" | "search-type" | "search-system" if entry.detail.query.is_some() => Shape::Query,
        _ => Shape::Other,
    }
}
