//! One request, as the log will know it.

use std::{net::IpAddr, sync::Arc};

use custodia_audit::Kind;
use uuid::Uuid;

use crate::identity::Caller;

/// The longest query that is kept in an entry. A longer one is cut and marked, and what it asks for is refused: else
/// whoever pads a question could hide it.
pub const QUERY_BYTES_MAX: usize = 16_384;

/// Who asked for what, from where: everything an entry says that does not depend on the outcome.
#[derive(Clone)]
pub struct Access {
    /// The request's id.
    pub request: Uuid,
    /// The caller, once identity has established one.
    pub caller: Option<Arc<Caller>>,
    /// Where the request came from.
    pub address: IpAddr,
    /// SHA-256 of the client certificate that was presented, whether or not it is registered.
    pub thumbprint: Option<[u8; 32]>,
    /// FHIR interaction or operation.
    pub interaction: &'static str,
    /// The path asked for, and the query of a search.
    pub query: Option<String>,
    /// The patients whom the question names: what is answered with nothing about one is an entry about her all the same.
    pub named: Vec<Named>,
}

/// A patient whom a question names.
#[derive(Clone, Debug)]
pub struct Named {
    /// Her opaque key.
    pub key: Uuid,
    /// The logical id that was given.
    pub id: String,
    /// Whether there is such a record. If not there is an entry about nobody in place of the one about her: how many
    /// entries a question leaves says nothing about who is there.
    pub is_here: bool,
}

impl Access {
    /// Whether an entry keeps the whole of a path and query.
    #[must_use]
    pub const fn keeps(text: &str) -> bool {
        text.len() <= QUERY_BYTES_MAX
    }

    /// Keeps a path or query, cut to [`QUERY_BYTES_MAX`].
    #[must_use]
    pub fn cut(text: &str) -> String {
        if Self::keeps(text) {
            return text.to_owned();
        }
        let mut end = QUERY_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}…", text.get(..end).unwrap_or_default())
    }

    /// What a refusal of this request is an entry of.
    pub(super) fn refusal_kind(&self) -> Kind {
        match self.interaction {
            "token" => Kind::Token,
            "login" => Kind::Login,
            "handshake" => Kind::Edge,
            _ => Kind::Refusal,
        }
    }
}
