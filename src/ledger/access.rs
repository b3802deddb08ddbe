//! One request, as the log will know it.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use custodia_audit::{Kind, sha256};
use uuid::Uuid;

use crate::identity::Caller;

/// The longest query that is kept in an entry. A longer one is cut and marked, and what it asks for is refused: else
/// whoever pads a question could hide it.
pub const QUERY_BYTES_MAX: usize = 16_384;
/// The longest query that each entry of a request repeats. Of a longer one all but the first have the digest: else a request that
/// names many patients would write as many times what it asks.
pub const QUERY_REPEATED_MAX: usize = 1_024;
/// The most patients whom the questions of one request may name, those of a Bundle together: as many as a page may be about.
pub const NAMED_MAX: usize = 1_000;

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
    /// The patients whom its questions name: what is refused, or answered with nothing about one, is an entry about her all
    /// the same.
    pub named: Names,
}

/// The patients whom the questions of a request name, by opaque key. Copies of an [`Access`] share them.
#[derive(Clone, Default)]
pub struct Names {
    ids: Arc<Mutex<BTreeMap<Uuid, String>>>,
    /// How many they are, with those of what was asked in the same Bundle.
    count: Arc<AtomicUsize>,
}

/// More than [`NAMED_MAX`] patients are named.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

impl Names {
    /// Those of another question in the same request, which has entries of its own: none yet, counted with these.
    #[must_use]
    pub fn of_another(&self) -> Self {
        Self { ids: Arc::default(), count: Arc::clone(&self.count) }
    }

    /// Adds patients: opaque key and logical id as given. Whoever is named twice counts once.
    ///
    /// # Errors
    /// [`TooMany`]. Then none is kept: the question must be refused, and its entry holds it.
    pub fn add(&self, named: impl IntoIterator<Item = (Uuid, String)>) -> Result<(), TooMany> {
        // What another thread left when it panicked is names, whole ones.
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, id) in named {
            if ids.insert(key, id).is_none() && self.count.fetch_add(1, Ordering::Relaxed) >= NAMED_MAX {
                ids.clear();
                return Err(TooMany);
            }
        }
        Ok(())
    }

    /// Those of whom there is no record among what leaves or is written.
    pub(super) fn but(&self, concerned: impl FnOnce() -> HashSet<Uuid>) -> Vec<(Uuid, String)> {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if ids.is_empty() {
            return Vec::new();
        }
        let concerned = concerned();
        ids.into_iter().filter(|(key, _)| !concerned.contains(key)).collect()
    }
}

/// Whom an entry is about that names no record: a patient, by opaque key and logical id, or nobody.
///
/// If there is no such patient there is an entry about nobody in place of the one about her: how many entries a question
/// leaves says nothing about who is there.
pub type About = Option<(Uuid, String)>;

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

    /// The same request, as its entries after the first tell of it: a query over [`QUERY_REPEATED_MAX`] by its SHA-256.
    pub(super) fn repeated(&self) -> Self {
        let digest = |query: &String| {
            let hex: String = sha256(&[query.as_bytes()]).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("sha256:{hex}")
        };
        let query = match &self.query {
            Some(query) if query.len() > QUERY_REPEATED_MAX => Some(digest(query)),
            short => short.clone(),
        };
        Self { query, ..self.clone() }
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
