//! What the log says, in the words of others: FHIR AuditEvents, spreadsheets, syslog, a patient's report. Pure.
//!
//! May import `fhir`. Every text is a function of one entry and its place in the log, so that whoever holds the entry
//! can render it again and compare.
//!
//! The AuditEvents conform to IHE's Basic Audit Log Patterns, BALP 1.1 (<https://profiles.ihe.net/ITI/BALP>).

mod agents;
pub mod audit_event;
mod codes;
mod control;
pub mod csv;
mod disclosure;
mod entities;
mod id;
mod manner;
mod markup;
pub mod query;
pub mod report;
pub mod syslog;

#[cfg(test)]
mod balp;
#[cfg(test)]
mod samples;

pub use audit_event::audit_event;
pub use control::control_event;
pub use disclosure::{disclosure_event, is_disclosure};
pub use id::{LogId, RESERVED_PREFIX, View};
pub use query::LogQuery;

use chrono::{DateTime, SecondsFormat, Utc};
use custodia_audit::Entry;

/// Where an entry stands.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Name of the log.
    pub origin: &'a str,
    /// Which head of the database it was written under.
    pub shard: i16,
    /// Its index.
    pub index: u64,
}

impl Place<'_> {
    /// What `Custodia-Receipt` said: `<origin>/<index>`.
    #[must_use]
    pub fn receipt(&self) -> String {
        format!("{}/{}", self.origin, self.index)
    }

    /// The host of the origin: what is known of the server's name without its configuration.
    #[must_use]
    pub fn host(&self) -> &str {
        self.origin.split('/').next().unwrap_or(self.origin)
    }
}

/// When an entry was committed.
#[must_use]
pub fn recorded(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH)
}

/// An instant as FHIR and RFC 5424 write it, in microseconds.
#[must_use]
pub fn instant(micros: i64) -> String {
    recorded(micros).to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Whether the caller got what was asked for.
#[must_use]
pub fn is_success(entry: &Entry) -> bool {
    (100..400).contains(&entry.event.outcome.status)
}

/// Whether the caller came in by a registered client certificate: another organisation's machine.
///
/// People and programs have tokens, and the entry names them.
#[must_use]
pub fn is_partner(entry: &Entry) -> bool {
    let actor = &entry.actor;
    actor.user.is_some() && actor.thumbprint.is_some() && actor.token_id.is_none()
}
