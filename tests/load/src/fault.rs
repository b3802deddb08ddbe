//! Why a run could not be made or was broken off. Imports nothing of this crate.

use std::{io, path::Path};

use thiserror::Error;

/// Why a run could not be made or was broken off.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    /// The caller asked for what is not done, or a server said what is not understood.
    #[error("{0}")]
    Refused(String),
    /// A file or a process.
    #[error("{what}: {source}")]
    Io {
        /// What was done, and to which path.
        what: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The connection to the server.
    #[error("{what}: {source}")]
    Http {
        /// What was done.
        what: &'static str,
        /// The connection's reason.
        #[source]
        source: hyper::Error,
    },
    /// Certificates and keys.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// PostgreSQL.
    #[error("PostgreSQL: {0}")]
    Database(#[from] tokio_postgres::Error),
    /// A file or answer that should be JSON; never quotes it.
    #[error("{0}: not the JSON that was expected")]
    Json(&'static str),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Fault {
    /// A refusal in words.
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    /// For `map_err`: what was done to `path`.
    pub(crate) fn io(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("{what} {}", path.display());
        move |source| Self::Io { what, source }
    }
}
