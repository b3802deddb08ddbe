//! A record as it is sealed: what the gate and the log need of it, before the JSON for the caller.
//!
//! ```text
//! byte 0       format, 01
//!      1..3    length of the logical id (u16, big-endian), the id
//!      then    number of patients (u16), each: length (u16), logical id
//!      then    number of security labels (u16), each: length (u16), `system|code`
//!      then    the JSON, byte for byte as it is released
//! ```

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::envelope::{Binding, OpenError};
use crate::{fhir::kinds::ResourceType, tenant::TenantId};

/// What an opened record holds.
#[derive(Clone)]
pub struct Plain {
    /// Its logical id.
    pub id: String,
    /// Logical ids of the patients it is about.
    pub patients: Vec<String>,
    /// Security labels of `meta.security`, as `system|code`.
    pub labels: Vec<String>,
    /// The resource as JSON, with its id and meta.
    pub json: Vec<u8>,
}

impl Plain {
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let words = self.patients.iter().chain(&self.labels).map(|word| word.len() + 2).sum::<usize>();
        let mut out = Vec::with_capacity(8 + self.id.len() + words + self.json.len());
        out.push(1);
        put(&mut out, &self.id)?;
        for list in [&self.patients, &self.labels] {
            out.extend_from_slice(&u16::try_from(list.len()).ok()?.to_be_bytes());
            list.iter().try_for_each(|word| put(&mut out, word))?;
        }
        out.extend_from_slice(&self.json);
        Some(out)
    }

    pub(super) fn decode(mut bytes: Vec<u8>) -> Result<Self, OpenError> {
        let rest = bytes.strip_prefix(&[1]).ok_or(OpenError::Plaintext)?;
        let (id, rest) = take_word(rest)?;
        let (patients, rest) = take_words(rest)?;
        let (labels, rest) = take_words(rest)?;
        let start = bytes.len() - rest.len();
        bytes.drain(..start);
        Ok(Self { id, patients, labels, json: bytes })
    }
}

fn put(out: &mut Vec<u8>, word: &str) -> Option<()> {
    out.extend_from_slice(&u16::try_from(word.len()).ok()?.to_be_bytes());
    out.extend_from_slice(word.as_bytes());
    Some(())
}

fn take_word(bytes: &[u8]) -> Result<(String, &[u8]), OpenError> {
    let (length, rest) = take_u16(bytes)?;
    let (word, rest) = rest.split_at_checked(length).ok_or(OpenError::Plaintext)?;
    Ok((String::from_utf8(word.to_vec()).map_err(|_| OpenError::Plaintext)?, rest))
}

fn take_words(bytes: &[u8]) -> Result<(Vec<String>, &[u8]), OpenError> {
    let (count, mut rest) = take_u16(bytes)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (word, after) = take_word(rest)?;
        words.push(word);
        rest = after;
    }
    Ok((words, rest))
}

fn take_u16(bytes: &[u8]) -> Result<(usize, &[u8]), OpenError> {
    let (number, rest) = bytes.split_first_chunk::<2>().ok_or(OpenError::Plaintext)?;
    Ok((usize::from(u16::from_be_bytes(*number)), rest))
}

/// Where a version stands: every column of its row but the entry. A row that was moved, relabelled,
/// backdated, undeleted or given to another owner does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordBinding {
    /// Tenant.
    pub tenant: TenantId,
    /// Resource type.
    pub kind: ResourceType,
    /// Opaque key.
    pub key: Uuid,
    /// versionId.
    pub version: i32,
    /// meta.lastUpdated.
    pub updated: DateTime<Utc>,
    /// Whether this version is a tombstone.
    pub deleted: bool,
    /// Id of the data key: the patient, the shared key, or nil.
    pub owner: Uuid,
}

impl RecordBinding {
    pub(super) fn binding(&self) -> Binding {
        Binding::new(&[
            &self.tenant.0.to_be_bytes(),
            &self.kind.code().to_be_bytes(),
            self.key.as_bytes(),
            &self.version.to_be_bytes(),
            &self.updated.timestamp_micros().to_be_bytes(),
            &[u8::from(self.deleted)],
            self.owner.as_bytes(),
        ])
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_record_comes_back_with_its_words() {
        let plain = Plain {
            id: "a".into(),
            patients: vec!["p".into()],
            labels: vec!["http://example.org|R".into(), String::new()],
            json: b"{}".to_vec(),
        };
        let bytes = plain.encode().unwrap();
        let again = Plain::decode(bytes.clone()).unwrap();
        assert_eq!(
            (again.id, again.patients, again.labels, again.json),
            (plain.id, plain.patients, plain.labels, plain.json)
        );
        for cut in 0..bytes.len() - 2 {
            assert!(Plain::decode(bytes.get(..cut).unwrap().to_vec()).is_err(), "{cut}");
        }
    }
}
