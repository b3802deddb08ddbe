//! One Cedar decision: facts about the caller and the record in, a [`Permit`] or a refusal out.
//!
//! May import `clock`, `config`, `fhir`, `answer`, `refusal`, `seal`, `identity`. Only this room names Cedar.
//!
//! [`Gate::permit`] is the only way to a [`Permit`]. [`Gate::decide`] answers the same question about plain
//! data, for the cases of `policies/cases`, the matrix and the tests; nothing can be disclosed with its answer.

pub mod cases;
mod decide;
mod error;
pub mod facts;
mod load;

pub mod matrix;
pub mod permit;
mod question;
mod sources;
mod terms;
#[cfg(test)]
mod tests;

pub use decide::{Decision, Denied, Gate};
pub use error::GateError;
pub use facts::{Act, Facts, Relations};
pub use permit::Permit;
pub use question::Subject;
