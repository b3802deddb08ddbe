//! Partners: an organisation that calls with a registered client certificate (RFC 8705 §2.2).
//!
//! May import what identity may.

use std::sync::Arc;

use subtle::{Choice, ConstantTimeEq};
use uuid::Uuid;

use super::{
    account::{Account, Credentials},
    caller::{Caller, CallerKind, Purpose},
};
use crate::refusal::Refusal;

/// Why a certificate admits nobody; for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// The account is no partner.
    #[error("account is no partner")]
    NoPartner,
    /// The account is disabled.
    #[error("disabled account")]
    Disabled,
    /// The certificate is not one of the account's.
    #[error("certificate not registered")]
    Certificate,
    /// The account may not state this purpose of use.
    #[error("purpose of use not allowed")]
    Purpose,
}

impl From<AdmitError> for Refusal {
    fn from(error: AdmitError) -> Self {
        match error {
            AdmitError::Purpose => Self::Forbidden,
            _ => Self::Unauthenticated("The client certificate is not registered here."),
        }
    }
}

/// The caller behind a client certificate.
///
/// `thumbprint` is the SHA-256 of the certificate the edge has verified on this connection, `purpose` the
/// one the request states, `actor` the opaque key of the account's Practitioner record, if it has one.
///
/// # Errors
/// [`AdmitError`].
pub fn admit(
    account: &Account,
    thumbprint: [u8; 32],
    purpose: Option<Purpose>,
    actor: Option<Uuid>,
) -> Result<Arc<Caller>, AdmitError> {
    let Credentials::Partner { thumbprints, contract } = &account.credentials else {
        return Err(AdmitError::NoPartner);
    };
    // Every registered certificate is compared, whichever matches.
    let registered = thumbprints.iter().fold(Choice::from(0), |found, one| found | one.0.ct_eq(&thumbprint));
    if !bool::from(registered) {
        return Err(AdmitError::Certificate);
    }
    if account.profile.disabled {
        return Err(AdmitError::Disabled);
    }
    let purpose = account.purpose(purpose).ok_or(AdmitError::Purpose)?;
    let profile = &account.profile;
    Ok(Arc::new(Caller {
        tenant: profile.tenant,
        tenant_name: profile.tenant_name.as_str().into(),
        kind: CallerKind::Partner,
        account: account.id,
        name: profile.name.as_str().into(),
        roles: profile.roles.clone().into(),
        actor,
        organisation: profile.organisation.as_deref().map(Into::into),
        scopes: account.scopes(),
        purpose,
        contract: Some(Arc::new(contract.clone())),
        client: None,
        token_id: None,
        thumbprint: Some(thumbprint),
    }))
}
