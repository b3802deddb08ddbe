//! Blind marks: what stands in the database so that a search finds records it cannot read.
//!
//! ```text
//! HMAC-SHA-256(key of the tenant, length-prefixed(generation, Type.parameter, form, value)), its first 32 bits
//! ```
//! Who holds the database and no keys sees which records of a tenant bear the same mark and how many do; the
//! threat model says what that gives away. Of a million records one bears by chance what is asked for, now and then, and is opened in
//! vain: longer marks would cost every row and every walk more than that.

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
pub const GENERATION: u8 = 5;

/// A mark as it stands in the database: the only thing that is bound to its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlindMark(i32);

impl BlindMark {
    /// The bits, as PostgreSQL holds them.
    #[must_use]
    pub const fn bits(self) -> i32 {
        self.0
    }
}

impl super::Undisclosing for BlindMark {}

impl TenantKeys {
    /// The mark of a value of a parameter.
    #[must_use]
    pub fn mark(&self, parameter: &Compiled, mark: &Mark<'_>) -> BlindMark {
        match mark {
            Mark::Record(kind, id) => self.record_mark(parameter, *kind, self.opaque(*kind, id)),
            _ => {
                let mut value = Vec::new();
                let form = self.spell(mark, &mut value);
                self.of_form(parameter, form, &value)
            }
        }
    }

    /// The bytes of a mark's value; gives its form.
    pub(super) fn spell(&self, mark: &Mark<'_>, out: &mut Vec<u8>) -> u8 {
        let mut add = |bytes: &[u8], form: u8| {
            out.extend_from_slice(bytes);
            form
        };
        match mark {
            Mark::Begins(text) => add(text.as_bytes(), 1),
            Mark::Whole(text) => add(text.as_bytes(), 2),
            Mark::Code(code) => add(code.as_bytes(), 3),
            Mark::Url(url) => add(url.as_bytes(), 4),
            Mark::Record(kind, id) => {
                let (kind_code, key) = (kind.code().to_be_bytes(), self.opaque(*kind, id));
                add(&kind_code, 5);
                add(key.as_bytes(), 5)
            }
            Mark::First(size, number) => {
                add(&[*size], 6);
                add(&number.to_be_bytes(), 6)
            }
            Mark::Last(size, number) => {
                add(&[*size], 7);
                add(&number.to_be_bytes(), 7)
            }
            Mark::Day(size, number) => {
                add(&[*size], 13);
                add(&number.to_be_bytes(), 13)
            }
            Mark::Piece(text) => add(text.as_bytes(), 10),
            Mark::Least(of, size, number) => {
                add(&[*of, *size], 11);
                add(&number.to_be_bytes(), 11)
            }
            Mark::Most(of, size, number) => {
                add(&[*of, *size], 12);
                add(&number.to_be_bytes(), 12)
            }
            // 8 is what refers to a record.
            Mark::Joint(marks) => {
                for mark in marks {
                    let mut value = Vec::new();
                    let form = self.spell(mark, &mut value);
                    let length = u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes();
                    out.push(form);
                    out.extend_from_slice(&length);
                    out.extend_from_slice(&value);
                }
                9
            }
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
        BlindMark(i32::from_be_bytes(bytes))
    }

    fn of_form(&self, parameter: &Compiled, form: u8, value: &[u8]) -> BlindMark {
        let (kind, code) = (parameter.of.name().as_bytes(), parameter.code.as_bytes());
        BlindMark(i32::from_be_bytes(self.blind(&[&[GENERATION], kind, code, &[form], value])))
    }
}

/// SHA-256 over what decides which marks a record bears: the generation, the names on the lists (of what the tenant
/// defines itself, an HMAC under its key), and whether what refers to a record is marked.
#[must_use]
pub fn list_digest(keys: &TenantKeys, lists: &[&Listed], references: References) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(&[GENERATION]);
    for listed in lists {
        for one in listed.all() {
            let name = listed.name(one);
            match one.definition() {
                Some(text) => {
                    context.update(&keys.proof_of(&[b"search parameter", name.as_bytes(), text.as_bytes()]))
                }
                None => context.update(name.as_bytes()),
            }
            context.update(b"\n");
        }
    }
    if references == References::Enforce {
        context.update(b"referrers\n");
    }
    let mut out = [0; 32];
    out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// What stands in a list's place while marks are being made by it.
#[must_use]
pub fn list_begun(list: [u8; 32]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(b"marks are being made by ");
    context.update(&list);
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}
