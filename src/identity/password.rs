//! Passwords: Argon2id, equal work for known and unknown names, and a bound on how many run at once.
//!
//! One hash takes 19 MiB and tens of milliseconds: [`PasswordHash::make`] and [`verify`] block, and are called
//! on a blocking thread behind the [`PasswordGate`]. May import what identity may.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version,
    password_hash::{PasswordHash as Phc, SaltString},
};
use chrono::{DateTime, Utc};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::account::{Account, Credentials};
use crate::refusal::{OAuthError, Refusal};

/// The shortest password that is set, in characters (NIST SP 800-63B-4 §3.1.1.2: 15 when it stands alone, 8
/// beside a second factor).
pub const PASSWORD_CHARS_MIN: usize = 12;
/// The longest password that is set or checked, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// OWASP's Argon2id parameters: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Bounds on the parameters of a hash that was brought from elsewhere, so that no row costs gigabytes.
const MEMORY_KIB_MAX: u32 = 65_536;
const PASSES_MAX: u32 = 8;

/// Why a password could not be hashed or checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Under [`PASSWORD_CHARS_MIN`] or over [`PASSWORD_BYTES_MAX`].
    #[error("a password has {PASSWORD_CHARS_MIN} characters at least and {PASSWORD_BYTES_MAX} bytes at most")]
    Length,
    /// The string is no Argon2id PHC string within our bounds.
    #[error("not an Argon2id PHC string with m <= {MEMORY_KIB_MAX} and t <= {PASSES_MAX}")]
    Phc,
    /// No memory or no randomness.
    #[error("the password could not be hashed")]
    Failed,
    /// Too many sign-ins wait already: answer 429.
    #[error("too many sign-ins at once")]
    Busy,
}

/// An Argon2id hash in PHC form. It has no Debug.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(Zeroizing<String>);

impl PasswordHash {
    /// Hashes a new password with a fresh salt. Blocks.
    ///
    /// # Errors
    /// [`PasswordError::Length`], [`PasswordError::Failed`].
    pub fn make(password: &str) -> Result<Self, PasswordError> {
        if password.chars().count() < PASSWORD_CHARS_MIN || password.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::Length);
        }
        let mut salt = [0_u8; 16];
        SystemRandom::new().fill(&mut salt).map_err(|_| PasswordError::Failed)?;
        let salt = SaltString::encode_b64(&salt).map_err(|_| PasswordError::Failed)?;
        let phc = argon2()?.hash_password(password.as_bytes(), &salt).map_err(|_| PasswordError::Failed)?;
        Ok(Self(Zeroizing::new(phc.to_string())))
    }

    /// Takes a PHC string made elsewhere.
    ///
    /// # Errors
    /// [`PasswordError::Phc`].
    pub fn parse(phc: String) -> Result<Self, PasswordError> {
        let phc = Zeroizing::new(phc);
        let parsed = Phc::new(&phc).map_err(|_| PasswordError::Phc)?;
        let params = Params::try_from(&parsed).map_err(|_| PasswordError::Phc)?;
        let bounded = params.m_cost() <= MEMORY_KIB_MAX && params.t_cost() <= PASSES_MAX;
        let whole = parsed.algorithm == argon2::ARGON2ID_IDENT && parsed.hash.is_some();
        if !(whole && bounded && params.p_cost() <= 4) {
            return Err(PasswordError::Phc);
        }
        Ok(Self(phc))
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = PasswordError;

    fn try_from(phc: String) -> Result<Self, Self::Error> {
        Self::parse(phc)
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        Self::clone(&hash.0)
    }
}

/// Whether `password` is the one behind `hash`; with no hash the same work is done and the answer is no.
/// Blocks.
///
/// # Errors
/// [`PasswordError::Failed`] when there is no memory for it.
pub fn verify(password: &str, hash: Option<&PasswordHash>) -> Result<bool, PasswordError> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Ok(false);
    }
    let argon2 = argon2()?;
    let Some(hash) = hash else {
        let mut unused = Zeroizing::new([0_u8; 32]);
        argon2
            .hash_password_into(password.as_bytes(), b"nobody has this salt", unused.as_mut())
            .map_err(|_| PasswordError::Failed)?;
        return Ok(false);
    };
    let phc = Phc::new(&hash.0).map_err(|_| PasswordError::Phc)?;
    match argon2.verify_password(password.as_bytes(), &phc) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::Password) => Ok(false),
        Err(_) => Err(PasswordError::Failed),
    }
}

fn argon2() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| PasswordError::Failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Bounds how many password hashes run at once, and how many wait.
pub struct PasswordGate {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

/// How a sign-in ended. `changed` says that the account's failures differ and it must be stored again, under
/// a precondition on its version: two guesses at once must count as two.
pub struct SignIn {
    /// Nothing, or why not. The caller of the API is told the same in each case.
    pub outcome: Result<(), SignInRefused>,
    /// Whether the account was changed.
    pub changed: bool,
}

/// Why nobody was signed in; for the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInRefused {
    /// No such user, or an account that has no password.
    #[error("unknown user")]
    Unknown,
    /// The account is disabled.
    #[error("disabled account")]
    Disabled,
    /// The account is locked after too many failures.
    #[error("locked account")]
    Locked,
    /// The password is wrong.
    #[error("wrong password")]
    Wrong,
    /// The password is wrong, and it was one failure too many.
    #[error("wrong password, account locked")]
    WrongAndLocked,
}

impl From<SignInRefused> for Refusal {
    fn from(_: SignInRefused) -> Self {
        Self::OAuth(OAuthError {
            error: "invalid_grant",
            description: "The user name or password is not right, or the account is locked. Retry in 15 minutes.",
        })
    }
}

impl From<PasswordError> for Refusal {
    fn from(error: PasswordError) -> Self {
        if error == PasswordError::Busy { Self::Throttled } else { Self::Internal }
    }
}

impl PasswordGate {
    /// A gate that lets `parallel` hashes run while at most `waiting` wait.
    #[must_use]
    pub fn new(parallel: u16, waiting: u16) -> Self {
        let (parallel, waiting) = (usize::from(parallel), usize::from(waiting));
        Self {
            running: Arc::new(Semaphore::new(parallel)),
            admitted: Arc::new(Semaphore::new(parallel + waiting)),
        }
    }

    /// [`verify`] on a blocking thread, when there is room.
    ///
    /// # Errors
    /// [`PasswordError::Busy`] at once when too many wait; otherwise as [`verify`].
    pub async fn verify(
        &self,
        password: Zeroizing<String>,
        hash: Option<PasswordHash>,
    ) -> Result<bool, PasswordError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| PasswordError::Failed)?;
        // The permits travel with the work: a client that hangs up does not make room before it is done.
        let work = move || {
            let verdict = verify(&password, hash.as_ref());
            drop((running, admitted));
            verdict
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| PasswordError::Failed)?
    }

    /// Signs a person in: the same work whether the account is unknown, disabled, locked or there, and
    /// failures counted in the account.
    ///
    /// # Errors
    /// As [`PasswordGate::verify`]; nothing is counted then.
    pub async fn sign_in(
        &self,
        account: Option<&mut Account>,
        password: Zeroizing<String>,
        now: DateTime<Utc>,
    ) -> Result<SignIn, PasswordError> {
        let standing = match account.as_deref() {
            Some(account) => standing(account, now),
            None => Err(SignInRefused::Unknown),
        };
        let right = self.verify(password, standing.clone().ok()).await?;
        let Some(account) = account else {
            return Ok(SignIn { outcome: Err(SignInRefused::Unknown), changed: false });
        };
        if let Err(refused) = standing {
            return Ok(SignIn { outcome: Err(refused), changed: false });
        }
        if right {
            return Ok(SignIn { outcome: Ok(()), changed: account.failures.clear() });
        }
        let locked = account.failures.record(now);
        let refused = if locked { SignInRefused::WrongAndLocked } else { SignInRefused::Wrong };
        Ok(SignIn { outcome: Err(refused), changed: true })
    }
}

fn standing(account: &Account, now: DateTime<Utc>) -> Result<PasswordHash, SignInRefused> {
    let Credentials::User { password } = &account.credentials else {
        return Err(SignInRefused::Unknown);
    };
    if account.profile.disabled {
        return Err(SignInRefused::Disabled);
    }
    if account.failures.is_locked(now) {
        return Err(SignInRefused::Locked);
    }
    Ok(password.clone())
}
