//! One Cedar decision: facts about the caller and the record in, a [`Permit`] or a refusal out.
//!
//! May import `clock`, `config`, `fhir`, `answer`, `refusal`, `seal`, `identity`. Only this room names Cedar.

pub mod facts;
pub mod permit;

pub use facts::{Act, Facts, Relations};
pub use permit::Permit;
