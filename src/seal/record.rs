//! A record as it is sealed: its labels, for the gate, before its JSON, for the caller.
//!
//! ```text
//! byte 0       format, 01
//!      1..3    number of security labels (u16, big-endian)
//!              each: length (u16), `system|code`
//!      then    the JSON, byte for byte as it is released
//! ```

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::envelope::{Binding, OpenError};
use crate::{fhir::kinds::ResourceType, tenant::TenantId};

/// What an opened record holds.
pub struct Plain {
    /// Security labels of `meta.security`, as `system|code`.
    pub labels: Vec<String>,
    /// The resource as JSON, with its id and meta.
    pub json: Vec<u8>,
}

impl Plain {
    pub(super) fn encode(labels: &[String], json: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(3 + json.len() + labels.iter().map(|l| l.len() + 2).sum::<usize>());
        out.push(1);
        out.extend_from_slice(&u16::try_from(labels.len()).ok()?.to_be_bytes());
        for label in labels {
            out.extend_from_slice(&u16::try_from(label.len()).ok()?.to_be_bytes());
            out.extend_from_slice(label.as_bytes());
        }
        out.extend_from_slice(json);
        Some(out)
    }

    pub(super) fn decode(mut bytes: Vec<u8>) -> Result<Self, OpenError> {
        let mut labels = Vec::new();
        let rest = bytes.strip_prefix(&[1]).ok_or(OpenError::Plaintext)?;
        let (count, mut rest) = take_u16(rest)?;
        for _ in 0..count {
            let (length, after) = take_u16(rest)?;
            let (label, after) = after.split_at_checked(length).ok_or(OpenError::Plaintext)?;
            labels.push(String::from_utf8(label.to_vec()).map_err(|_| OpenError::Plaintext)?);
            rest = after;
        }
        let start = bytes.len() - rest.len();
        bytes.drain(..start);
        Ok(Self { labels, json: bytes })
    }
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
    fn a_record_comes_back_with_its_labels() {
        let labels = vec!["http://example.org|R".to_owned(), String::new()];
        let bytes = Plain::encode(&labels, b"{}").unwrap();
        let plain = Plain::decode(bytes.clone()).unwrap();
        assert_eq!((plain.labels, plain.json), (labels, b"{}".to_vec()));
        for cut in 0..bytes.len() - 2 {
            assert!(Plain::decode(bytes.get(..cut).unwrap().to_vec()).is_err(), "{cut}");
        }
    }
}
