//! The groups of an entry, digested before the commit.

use custodia_audit::{Salts, entry_commitment, group_digest};

use crate::seal::{SealError, random_bytes};

/// G1 to G4 of an entry, with everything of its commitment and body that does not need its place. Made by the
/// request's task, so that the committer, of which there is one, has little left to do.
pub(super) struct Groups {
    /// Salt of G0, the group that only the commit can know.
    salt: [u8; 32],
    /// `d_1` to `d_4`.
    digests: [[u8; 32]; 4],
    seed: [u8; 32],
    /// G1 to G4 as a body holds them, each behind its length.
    encoded: Vec<u8>,
}

impl Groups {
    /// Draws the entry's seed and digests its groups.
    ///
    /// # Errors
    /// [`SealError`] when there is no randomness.
    pub(super) fn new(groups: [&[u8]; 4]) -> Result<Self, SealError> {
        let seed = random_bytes()?;
        let Salts([salt, s1, s2, s3, s4]) = Salts::from_seed(&seed);
        let [g1, g2, g3, g4] = groups;
        let digests = [
            group_digest(1, &s1, g1),
            group_digest(2, &s2, g2),
            group_digest(3, &s3, g3),
            group_digest(4, &s4, g4),
        ];
        let mut encoded = Vec::with_capacity(groups.iter().map(|group| 4 + group.len()).sum());
        for group in groups {
            put_group(&mut encoded, group);
        }
        Ok(Self { salt, digests, seed, encoded })
    }

    /// The commitment of the entry with this G0, and its body: the seed, then the groups, each behind its length as
    /// four bytes.
    pub(super) fn commit(&self, event: &[u8]) -> ([u8; 32], Vec<u8>) {
        let [d1, d2, d3, d4] = self.digests;
        let commitment = entry_commitment(&[group_digest(0, &self.salt, event), d1, d2, d3, d4]);
        let mut body = Vec::with_capacity(self.seed.len() + 4 + event.len() + self.encoded.len());
        body.extend_from_slice(&self.seed);
        put_group(&mut body, event);
        body.extend_from_slice(&self.encoded);
        (commitment, body)
    }
}

fn put_group(out: &mut Vec<u8>, group: &[u8]) {
    out.extend_from_slice(&u32::try_from(group.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(group);
}
