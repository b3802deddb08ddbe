//! Own marks: what narrows a search within one patient's records, under a key that dies with hers.
//!
//! ```text
//! HMAC-SHA-256(HKDF(data key of the patient, "custodia/v1/own-marks"),
//!              length-prefixed(Type.parameter, form, value)), its first 16 bits
//! ```
//! They say nothing across patients. Within one patient's rows equal codes have equal marks. Sixteen bits are enough to
//! narrow and too few to be sure of a value: a collision costs an opening.

use std::collections::BTreeSet;

use ring::{digest, hkdf, hmac};
use serde_json::Value;

use super::{
    envelope::SealError,
    keyring::{DataKey, TenantKeys},
};
use crate::fhir::{
    kinds::ResourceType,
    reference::BaseUrl,
    search::{Compiled, Listed, Mark},
};

/// Changes when own marks are made otherwise.
const GENERATION: u8 = 1;
/// Days are told apart by no less than sixty-four: finer spans would triple the marks of a date.
const SPAN_FINEST: u8 = 2;
/// The most marks one record bears; one that would have more bears none, and is always opened.
const MARKS_MAX: usize = 48;
/// Versions are told apart modulo this.
const VERSIONS: i32 = 32_768;

/// What own marks are made by: the parameters, and the sixteen bits that stand for them in the database.
pub struct OwnList {
    listed: Listed,
    name: i16,
}

/// The key of one patient's own marks.
pub struct OwnKey(hmac::Key);

/// The marks of a version as they stand in its row: the list's name, the version, then each mark once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnMarks(Vec<i16>);

/// What a search asks of the rows of one patient that are sealed under one version of her key.
#[derive(Clone)]
pub struct OwnAsked {
    /// The list the marks were made by.
    pub list: i16,
    /// The version of the data key.
    pub key_version: i16,
    /// A match bears one of each.
    pub groups: [Vec<i16>; 2],
}

impl OwnMarks {
    /// The bits, as PostgreSQL holds them.
    #[must_use]
    pub fn bits(&self) -> &[i16] {
        &self.0
    }
}

impl OwnList {
    /// The list of these parameters.
    #[must_use]
    pub fn of(listed: Listed) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&[GENERATION, SPAN_FINEST]);
        for name in listed.names() {
            context.update(name.as_bytes());
            context.update(b"\n");
        }
        let name = context.finish().as_ref().first_chunk::<2>().map_or(0, |bits| i16::from_be_bytes(*bits));
        Self { listed, name }
    }

    /// The parameters.
    #[must_use]
    pub const fn listed(&self) -> &Listed {
        &self.listed
    }

    /// The marks of a version of a resource; `None` when there would be too many.
    #[must_use]
    pub fn marks(
        &self,
        (tenant, own): (&TenantKeys, &OwnKey),
        (kind, version): (ResourceType, i32),
        resource: &Value,
        base: &BaseUrl,
    ) -> Option<OwnMarks> {
        let mut found = BTreeSet::new();
        let mut visit = |parameter: &Compiled, mark: Mark<'_>| {
            if found.len() <= MARKS_MAX {
                found.insert(own.mark(tenant, parameter, mark));
            }
        };
        self.listed.marks(kind, resource, base, &mut visit);
        let head = [self.name, i16::try_from(version.rem_euclid(VERSIONS)).unwrap_or_default()];
        (found.len() <= MARKS_MAX).then(|| OwnMarks(head.into_iter().chain(found).collect()))
    }

    /// What to ask of a patient's rows; `None` if nothing narrows them. Each group holds the marks one of which every match
    /// bears: those with the fewest go first, and what is over is decided on the plaintext.
    #[must_use]
    pub fn asked<'f>(
        &self,
        tenant: &TenantKeys,
        key: &DataKey,
        groups: Vec<Vec<(&'f Compiled, Mark<'f>)>>,
    ) -> Option<OwnAsked> {
        let own = key.own().ok()?;
        let mut groups: Vec<Vec<i16>> = groups
            .into_iter()
            .map(|group| {
                let mut marks: Vec<i16> =
                    group.into_iter().map(|(parameter, mark)| own.mark(tenant, parameter, mark)).collect();
                marks.sort_unstable();
                marks.dedup();
                marks
            })
            .collect();
        groups.sort_by_key(Vec::len);
        let mut groups = groups.into_iter();
        let one = groups.next()?;
        let other = groups.next().unwrap_or_else(|| one.clone());
        let key_version = i16::try_from(key.version()).ok()?;
        Some(OwnAsked { list: self.name, key_version, groups: [one, other] })
    }
}

impl DataKey {
    /// The key of own marks.
    ///
    /// # Errors
    /// [`SealError`] when it cannot be derived.
    pub fn own(&self) -> Result<OwnKey, SealError> {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"custodia/v1/own-marks").extract(self.secret());
        let okm = prk.expand(&[b"marks"], hmac::HMAC_SHA256).map_err(|_| SealError)?;
        Ok(OwnKey(hmac::Key::from(okm)))
    }
}

impl OwnKey {
    fn mark(&self, tenant: &TenantKeys, parameter: &Compiled, mark: Mark<'_>) -> i16 {
        let mut value = Vec::new();
        let form = tenant.spell(&coarse(mark), &mut value);
        let mut context = hmac::Context::with_key(&self.0);
        for part in [parameter.of.name().as_bytes(), parameter.code.as_bytes(), &[form], &value] {
            context.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().first_chunk::<2>().map_or(0, |bits| i16::from_be_bytes(*bits))
    }
}

/// The span of days that is marked: a short one is in one of sixty-four days, and a first day is like a last one.
fn coarse(mark: Mark<'_>) -> Mark<'_> {
    match mark {
        Mark::First(size, number) | Mark::Last(size, number) | Mark::Day(size, number) => {
            let up = SPAN_FINEST.saturating_sub(size);
            Mark::First(size.max(SPAN_FINEST), number >> (u32::from(up) * Mark::SPAN_BITS))
        }
        other => other,
    }
}

#[cfg(test)]
#[path = "own_tests.rs"]
mod tests;
