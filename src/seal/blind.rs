//! Blind marks: what stands in the database so that a search finds records it cannot read.
//!
//! ```text
//! HMAC-SHA-256(key of the tenant, length-prefixed(generation, Type.parameter, form, value)), its first 64 bits
//! ```
//! Who holds the database and no keys sees which records of a tenant bear the same mark and how many do; the
//! threat model says what that gives away. Sixty-four bits collide seldom, and a collision costs an opening.

use uuid::Uuid;

use super::keyring::TenantKeys;
use crate::{
    config::References,
    fhir::{
        kinds::ResourceType,
        search::{Compiled, Listed, Mark},
    },
};

/// Changes when marks are made otherwise; every server that finds another one makes them anew.
pub const GENERATION: u8 = 1;

/// A mark as it stands in the database: the only thing that is bound to its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlindMark(i64);

impl BlindMark {
    /// The bits, as PostgreSQL holds them.
    #[must_use]
    pub const fn bits(self) -> i64 {
        self.0
    }
}

impl super::Undisclosing for BlindMark {}

impl TenantKeys {
    /// The mark of a value of a parameter.
    #[must_use]
    pub fn mark(&self, parameter: &Compiled, mark: &Mark<'_>) -> BlindMark {
        let days = |size: &u8, number: &i32| {
            let [a, b, c, d] = number.to_be_bytes();
            [*size, a, b, c, d]
        };
        match mark {
            Mark::Begins(text) => self.of_form(parameter, 1, text.as_bytes()),
            Mark::Whole(text) => self.of_form(parameter, 2, text.as_bytes()),
            Mark::Code(code) => self.of_form(parameter, 3, code.as_bytes()),
            Mark::Url(url) => self.of_form(parameter, 4, url.as_bytes()),
            Mark::Record(kind, id) => self.record_mark(parameter, *kind, self.opaque(*kind, id)),
            Mark::First(size, number) => self.of_form(parameter, 6, &days(size, number)),
            Mark::Last(size, number) => self.of_form(parameter, 7, &days(size, number)),
        }
    }

    /// The mark of a reference to a record whose opaque key is known.
    #[must_use]
    pub fn record_mark(&self, parameter: &Compiled, kind: ResourceType, key: Uuid) -> BlindMark {
        let mut value = [0_u8; 18];
        let bytes = kind.code().to_be_bytes().into_iter().chain(key.into_bytes());
        value.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        self.of_form(parameter, 5, &value)
    }

    /// The mark of every record that refers to one, whatever by: it is made where deletes are to find them.
    #[must_use]
    pub fn referrer_mark(&self, kind: ResourceType, key: Uuid) -> BlindMark {
        let bytes = self.blind(&[&[GENERATION], b"", b"", &[8], &kind.code().to_be_bytes(), key.as_bytes()]);
        BlindMark(i64::from_be_bytes(bytes))
    }

    fn of_form(&self, parameter: &Compiled, form: u8, value: &[u8]) -> BlindMark {
        let (kind, code) = (parameter.of.name().as_bytes(), parameter.code.as_bytes());
        let bytes = self.blind(&[&[GENERATION], kind, code, &[form], value]);
        BlindMark(i64::from_be_bytes(bytes))
    }
}

/// SHA-256 over what decides which marks a record bears: the generation, the names on the list, and whether what refers
/// to a record is marked.
#[must_use]
pub fn list_digest(listed: &Listed, references: References) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(&[GENERATION]);
    for name in listed.names() {
        context.update(name.as_bytes());
        context.update(b"\n");
    }
    if references == References::Enforce {
        context.update(b"referrers\n");
    }
    let mut out = [0; 32];
    out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    out
}
