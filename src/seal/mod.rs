//! What is stored is sealed, and what is opened is not yet disclosed.
//!
//! KMS root epoch key -> tenant key -> data key (a patient's, or shared by several) -> one derived key a
//! version. May import `clock`, `config`, `fhir`, `answer`, `refusal`; names ring, never the database.

pub mod blind;
mod cursor;
pub mod envelope;
pub mod keyring;
pub mod keystore;
pub mod log_keys;
pub mod opened;
pub mod own;
mod press;
pub mod record;
pub mod spool;

pub use blind::BlindMark;
pub use envelope::{Binding, OpenError, SealError, Sealed};
pub use keyring::{AuditKey, DataKey, KeyError, Keyring, TenantKeys, random_bytes};
pub use keystore::{Keystore, KeystoreError, Protection};
pub use log_keys::{LogKeys, LogSecrets};
pub use opened::{Opened, Undisclosing};
pub use own::{OwnAsked, OwnList, OwnMarks};
pub use record::{Plain, RecordBinding};
