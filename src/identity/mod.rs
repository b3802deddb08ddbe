//! Who calls: from a bearer token or a client certificate to a [`Caller`].
//!
//! May import `clock`, `config`, `fhir`, `answer`, `refusal`, `seal`; it never sees the database: whoever asks
//! fetches the account and hands it in. Outside this room a [`Caller`] comes only from
//! [`TokenVerifier::verify`] and [`partner::admit`].

pub mod account;
pub mod assertion;
pub mod caller;
pub mod doorman;
pub mod grant;
pub mod jws;
pub mod keys;
pub mod lockout;
pub mod mint;
pub mod partner;
pub mod password;
pub mod scope;
pub mod signing;
pub mod smart;
pub mod token;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use crate::tenant::TenantId;
pub use account::{Account, Credentials, LookupName, Profile, Thumbprint};
pub use caller::{Caller, CallerKind, Contract, Purpose};
pub use doorman::Doorman;
pub use grant::Grant;
pub use keys::{KeySet, PublicKey};
pub use mint::{Minted, Terms, TokenIssuer};
pub use password::{PasswordGate, PasswordHash};
pub use scope::{Letter, Scope, Scopes};
pub use signing::TokenSigner;
pub use token::{TokenError, TokenVerifier};
