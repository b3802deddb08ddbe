//! The closed sets of words an entry uses.
//!
//! Imports nothing of this crate. A word never changes its spelling: commitments are over it.

use serde::Serialize;

/// What kind of act an entry records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Something was read: read, vread, history, search, GraphQL, metadata.
    Access,
    /// Something was created, changed or deleted.
    Write,
    /// A request was turned away: not permitted, not found, malformed, too much.
    Refusal,
    /// A person signed in, or failed to.
    Login,
    /// A second factor was set up or asked for.
    Mfa,
    /// A session ended.
    Logout,
    /// A token was issued, exchanged, introspected, revoked, or refused.
    Token,
    /// Someone claimed an emergency and was let through the glass.
    BreakGlass,
    /// Records left in bulk.
    Export,
    /// A patient's keys were destroyed.
    Erasure,
    /// The log itself was read, proven or exported.
    Audit,
    /// A policy was added, changed or withdrawn.
    Policy,
    /// A person's roles changed.
    Role,
    /// A key was made, rotated or destroyed.
    Key,
    /// The server's configuration changed.
    Config,
    /// A connection failed before it became a request, such as at the TLS client check.
    Edge,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::Access,
        Self::Write,
        Self::Refusal,
        Self::Login,
        Self::Mfa,
        Self::Logout,
        Self::Token,
        Self::BreakGlass,
        Self::Export,
        Self::Erasure,
        Self::Audit,
        Self::Policy,
        Self::Role,
        Self::Key,
        Self::Config,
        Self::Edge,
    ];

    /// The word in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Write => "write",
            Self::Refusal => "refusal",
            Self::Login => "login",
            Self::Mfa => "mfa",
            Self::Logout => "logout",
            Self::Token => "token",
            Self::BreakGlass => "break-glass",
            Self::Export => "export",
            Self::Erasure => "erasure",
            Self::Audit => "audit",
            Self::Policy => "policy",
            Self::Role => "role",
            Self::Key => "key",
            Self::Config => "config",
            Self::Edge => "edge",
        }
    }

    /// The kind a word in the log means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// What happened to one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Its content was given out.
    Released,
    /// It was stored as a new version.
    Written,
    /// It was stored as the marker of a deletion.
    Deleted,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Released, Self::Written, Self::Deleted];

    /// The word in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Written => "written",
            Self::Deleted => "deleted",
        }
    }

    /// The action a word in the log means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

/// What the policy said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It may happen.
    Permit,
    /// It may not.
    Refuse,
    /// Nobody asked: the request ended before that.
    NotEvaluated,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Self; 3] = [Self::Permit, Self::Refuse, Self::NotEvaluated];

    /// The word in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Refuse => "refuse",
            Self::NotEvaluated => "not-evaluated",
        }
    }

    /// The decision a word in the log means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|decision| decision.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_means_itself_alone() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(action));
        }
        for decision in Decision::ALL {
            assert_eq!(Decision::parse(decision.as_str()), Some(decision));
        }
        assert_eq!(Kind::parse("Access"), None);
    }
}
