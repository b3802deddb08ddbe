//! The log's signing keys: one, or two while the newer takes over from the older.
//!
//! May import `keystore`. Each key is in one of three states, and goes from each to the next:
//!
//! ```text
//! waiting      made and kept, so that every server's copy of the keystore has it before it is needed; signs nothing
//! signing      signs each checkpoint; two at the most
//! retired      its secret is destroyed; what it signed can still be verified
//! ```
//! Which of them sign a checkpoint is what the log itself says, under its lock (`ledger/signing.rs`): a keystore is a file
//! of which each server has a copy, and copies are not of one age.

use std::sync::Arc;

use arc_swap::ArcSwap;
use custodia_audit::{KeyFault, KeyKind, Signer, Vkey};
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::keystore::KeystoreError;

/// Retired keys that are remembered; older ones are forgotten.
pub const RETIRED_MAX: usize = 64;

/// The log's keys, secrets and all.
#[derive(Clone)]
pub struct LogSecrets {
    /// PKCS#8.
    pub(super) first: Vec<u8>,
    pub(super) next: Option<NextKey>,
    /// Public keys, the oldest first.
    pub(super) retired: Vec<[u8; 32]>,
    /// The log that was begun with a fresh key after the last theft.
    pub(super) anew: Option<String>,
}

/// The key that is to take over.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NextKey {
    /// PKCS#8.
    key: Vec<u8>,
    /// Whether it signs already.
    signs: bool,
}

impl Drop for LogSecrets {
    fn drop(&mut self) {
        self.first.zeroize();
    }
}

impl Drop for NextKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl LogSecrets {
    /// What the first checkpoint of a new log is signed with.
    ///
    /// # Errors
    /// [`KeyFault`] when a key or the name cannot be used.
    pub fn for_new_log(&self, origin: &str) -> Result<Signer, KeyFault> {
        let signer = Signer::from_pkcs8(origin, &self.first)?;
        match &self.next {
            Some(NextKey { key, signs: true }) => Ok(signer.with_newer(Signer::from_pkcs8(origin, key)?)),
            _ => Ok(signer),
        }
    }

    /// The keys with these public halves, together; retired ones are left out. `None` when a key is unknown here, or none is
    /// left.
    ///
    /// # Errors
    /// [`KeyFault`] when a key or the name cannot be used.
    pub fn with_publics(&self, origin: &str, publics: &[[u8; 32]]) -> Result<Option<Signer>, KeyFault> {
        let mut found: Option<Signer> = None;
        let mut count = 0;
        for key in std::iter::once(&self.first).chain(self.next.as_ref().map(|next| &next.key)) {
            let signer = Signer::from_pkcs8(origin, key)?;
            if publics.contains(signer.vkey().public()) {
                count += 1;
                found = Some(match found {
                    Some(older) => older.with_newer(signer),
                    None => signer,
                });
            }
        }
        let retired = publics.iter().filter(|public| self.retired.contains(public)).count();
        Ok(found.filter(|_| count + retired == publics.len()))
    }

    /// The key that is to take over, if there is one, waiting or signing.
    ///
    /// # Errors
    /// [`KeyFault`] when it or the name cannot be used.
    pub fn next(&self, origin: &str) -> Result<Option<Signer>, KeyFault> {
        self.next.as_ref().map(|next| Signer::from_pkcs8(origin, &next.key)).transpose()
    }

    /// The key that is, or was until [`LogSecrets::next`] began to sign beside it, the only one that signs.
    ///
    /// # Errors
    /// [`KeyFault`] when it or the name cannot be used.
    pub fn first(&self, origin: &str) -> Result<Signer, KeyFault> {
        Signer::from_pkcs8(origin, &self.first)
    }

    /// Public halves of all keys: retired ones, then the others, the newest last.
    pub(super) fn known(&self) -> Vec<[u8; 32]> {
        // The name is no part of a public key; a key that cannot be read signs nothing and verifies nothing.
        let keys = std::iter::once(&self.first).chain(self.next.as_ref().map(|next| &next.key));
        let publics = keys.filter_map(|key| Some(*Signer::from_pkcs8("log", key).ok()?.vkey().public()));
        self.retired.iter().copied().chain(publics).collect()
    }

    /// Makes the key that is to take over, unless there is one.
    ///
    /// # Errors
    /// [`KeystoreError::Crypto`] when there is no randomness.
    pub fn prepare(&mut self) -> Result<(), KeystoreError> {
        if self.next.is_none() {
            self.next = Some(NextKey { key: fresh()?, signs: false });
        }
        Ok(())
    }

    /// Says that the key that is to take over signs.
    ///
    /// # Errors
    /// [`KeystoreError::Rotation`] when there is none.
    pub fn begin(&mut self) -> Result<(), KeystoreError> {
        let next = self.next.as_mut().ok_or(KeystoreError::Rotation("no key is waiting to take over"))?;
        next.signs = true;
        Ok(())
    }

    /// Puts the newer key in the place of the older, whose secret is destroyed.
    ///
    /// # Errors
    /// [`KeystoreError::Rotation`] unless both sign.
    pub fn finish(&mut self) -> Result<(), KeystoreError> {
        let key = self.next.as_ref().filter(|next| next.signs).map(|next| next.key.clone());
        let key = key.ok_or(KeystoreError::Rotation("no rotation is under way"))?;
        self.next = None;
        self.replace(key)
    }

    /// Destroys every secret and goes on with a key that nobody has seen: after a theft. Once for the log that is begun with
    /// it: the command that broke off, given again, does not destroy the key of what it has begun.
    ///
    /// # Errors
    /// [`KeystoreError::Crypto`] when there is no randomness.
    pub fn start_anew(&mut self, origin: &str) -> Result<(), KeystoreError> {
        if self.anew.as_deref() == Some(origin) {
            return Ok(());
        }
        let key = fresh()?;
        self.anew = Some(origin.to_owned());
        if let Some(next) = self.next.take() {
            self.retire(&next.key)?;
        }
        self.replace(key)
    }

    fn replace(&mut self, key: Vec<u8>) -> Result<(), KeystoreError> {
        let mut old = std::mem::replace(&mut self.first, key);
        self.retire(&old)?;
        old.zeroize();
        Ok(())
    }

    fn retire(&mut self, key: &[u8]) -> Result<(), KeystoreError> {
        let vkey = Signer::from_pkcs8("log", key).map_err(|_| KeystoreError::Crypto)?.vkey();
        self.retired.push(*vkey.public());
        let surplus = self.retired.len().saturating_sub(RETIRED_MAX);
        self.retired.drain(..surplus);
        Ok(())
    }
}

fn fresh() -> Result<Vec<u8>, KeystoreError> {
    Signer::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeystoreError::Crypto)
}

/// The public keys of a log, as its keystore knows them now.
#[derive(Clone)]
pub struct LogKeys {
    origin: Arc<str>,
    publics: Arc<ArcSwap<Vec<[u8; 32]>>>,
}

impl LogKeys {
    pub(super) fn new(origin: &str, publics: Arc<ArcSwap<Vec<[u8; 32]>>>) -> Self {
        Self { origin: origin.into(), publics }
    }

    /// Name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// All of them, retired ones included, the newest last.
    #[must_use]
    pub fn known(&self) -> Vec<Vkey> {
        let publics = self.publics.load();
        publics.iter().filter_map(|public| Vkey::new(&self.origin, KeyKind::Ed25519, *public).ok()).collect()
    }

    /// The same keys under the name of another log, which this one continues.
    #[must_use]
    pub fn of(&self, origin: &str) -> Self {
        Self { origin: origin.into(), publics: Arc::clone(&self.publics) }
    }
}

impl From<Vkey> for LogKeys {
    fn from(vkey: Vkey) -> Self {
        Self::new(vkey.name(), Arc::new(ArcSwap::from_pointee(vec![*vkey.public()])))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const ORIGIN: &str = "records.test/log";

    fn secrets() -> LogSecrets {
        LogSecrets { first: fresh().unwrap(), next: None, retired: Vec::new(), anew: None }
    }

    #[test]
    fn a_key_waits_then_signs_beside_the_older_and_then_alone() {
        let mut keys = secrets();
        let older = keys.first(ORIGIN).unwrap().vkey();
        assert!(matches!(keys.begin(), Err(KeystoreError::Rotation(_))));
        assert!(matches!(keys.finish(), Err(KeystoreError::Rotation(_))));
        keys.prepare().unwrap();
        let newer = keys.next(ORIGIN).unwrap().unwrap().vkey();
        keys.prepare().unwrap();
        assert_eq!(keys.next(ORIGIN).unwrap().unwrap().vkey(), newer, "a second call makes no other");
        assert_eq!(keys.for_new_log(ORIGIN).unwrap().vkeys(), std::slice::from_ref(&older));
        assert!(matches!(keys.finish(), Err(KeystoreError::Rotation(_))), "it has not signed yet");
        assert_eq!(keys.next(ORIGIN).unwrap().unwrap().vkey(), newer, "and still waits");
        keys.begin().unwrap();
        assert_eq!(keys.for_new_log(ORIGIN).unwrap().vkeys(), [older.clone(), newer.clone()]);
        keys.finish().unwrap();
        assert_eq!(keys.for_new_log(ORIGIN).unwrap().vkeys(), std::slice::from_ref(&newer));
        assert_eq!(keys.known(), [*older.public(), *newer.public()]);
        // What is left of the older is its public half.
        let found = |publics: &[[u8; 32]]| keys.with_publics(ORIGIN, publics).unwrap().map(|s| s.vkeys());
        assert_eq!(found(&[*older.public(), *newer.public()]), Some(vec![newer]));
        assert_eq!(found(&[*older.public()]), None);
        assert_eq!(found(&[[9; 32]]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn after_a_theft_no_old_key_is_left() {
        let mut keys = secrets();
        keys.prepare().unwrap();
        keys.begin().unwrap();
        let stolen = keys.for_new_log(ORIGIN).unwrap().vkeys();
        keys.start_anew("records.test/second").unwrap();
        let fresh = keys.for_new_log(ORIGIN).unwrap().vkeys();
        keys.start_anew("records.test/second").unwrap();
        assert_eq!(keys.for_new_log(ORIGIN).unwrap().vkeys(), fresh, "once for a log");
        assert!(
            fresh.len() == 1
                && !fresh.iter().any(|key| stolen.contains(key))
                && keys.next(ORIGIN).unwrap().is_none()
        );
        assert_eq!(keys.known().len(), 3);
    }

    #[test]
    fn so_many_retired_keys_are_remembered_and_no_more() {
        let mut keys = secrets();
        let first = *keys.first(ORIGIN).unwrap().vkey().public();
        for number in 0..RETIRED_MAX {
            keys.start_anew(&format!("log-{number}")).unwrap();
        }
        assert!(keys.known().contains(&first) && keys.known().len() == RETIRED_MAX + 1);
        keys.start_anew("log").unwrap();
        assert!(!keys.known().contains(&first) && keys.known().len() == RETIRED_MAX + 1);
    }
}
