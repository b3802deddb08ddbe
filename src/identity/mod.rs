//! Who calls: from a bearer token or a client certificate to a [`Caller`].
//!
//! May import `clock`, `config`, `fhir`, `answer`, `refusal`, `seal`; it never sees the database: whoever asks
//! fetches the account and hands it in.

pub mod caller;
pub mod scope;

pub use crate::tenant::TenantId;
pub use caller::{Caller, CallerKind, Contract, Purpose};
pub use scope::{Letter, Scope, Scopes};
