//! From groups to the 32 bytes the tree holds.
//!
//! ```text
//! salt_i = HMAC-SHA-256(seed, "custodia/v1/salt" || i)
//! d_i    = SHA-256("custodia/v1/group" || i || salt_i || G_i)
//! C      = SHA-256("custodia/v1/entry" || d_0 || d_1 || d_2 || d_3 || d_4)
//! ```
//! `i` is one byte, 0 to 4. Imports `bytes`.

use ring::hmac;

use crate::bytes::sha256;

/// How many groups an entry has.
pub const GROUPS: usize = 5;

/// The five salts of an entry. Who knows a salt can test guesses at its group, hence no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Salts(pub [[u8; 32]; GROUPS]);

impl Salts {
    /// Derives the salts from an entry's seed: 32 fresh random bytes, stored sealed beside its body.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, seed);
        Self([0_u8, 1, 2, 3, 4].map(|group| {
            let mut context = hmac::Context::with_key(&key);
            context.update(b"custodia/v1/salt");
            context.update(&[group]);
            let mut salt = [0_u8; 32];
            // INVARIANT: HMAC-SHA-256 has an output of 32 bytes.
            salt.copy_from_slice(context.sign().as_ref());
            salt
        }))
    }
}

/// `d_i`: the digest of one group under its salt.
#[must_use]
pub fn group_digest(group: u8, salt: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    sha256(&[b"custodia/v1/group", &[group], salt, bytes])
}

/// `C`: the commitment to an entry, from the digests of its groups.
#[must_use]
pub fn entry_commitment(digests: &[[u8; 32]; GROUPS]) -> [u8; 32] {
    sha256(&[b"custodia/v1/entry", digests.as_flattened()])
}

/// `C`: the commitment to an entry, from its groups and salts.
#[must_use]
pub fn commit<B: AsRef<[u8]>>(groups: &[B; GROUPS], salts: &Salts) -> [u8; 32] {
    let [g0, g1, g2, g3, g4] = groups;
    let [s0, s1, s2, s3, s4] = &salts.0;
    entry_commitment(&[
        group_digest(0, s0, g0.as_ref()),
        group_digest(1, s1, g1.as_ref()),
        group_digest(2, s2, g2.as_ref()),
        group_digest(3, s3, g3.as_ref()),
        group_digest(4, s4, g4.as_ref()),
    ])
}
