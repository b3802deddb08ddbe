//! Sealing what searches stand on: where a page begins, and the search parameters a tenant adds.
//!
//! Links are written down in places where records are not.

use super::{
    envelope::{Binding, Compression, Content, OpenError, Sealed},
    keyring::{KeyError, TenantKeys},
    opened::Opened,
};
use crate::fhir::search::added::Definition;

/// What binds definitions apart from cursors, which are bound to an account's 16 bytes first.
const ADDED: &[u8] = b"search parameters";

impl TenantKeys {
    /// Seals where a page of a search begins: what is known of it, then what was worked out of a record.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when sealing fails.
    pub fn seal_cursor(
        &self,
        bound_to: &[&[u8]],
        head: &[u8],
        place: &Opened<Vec<u8>>,
    ) -> Result<Sealed, KeyError> {
        let plain = [head, place.inner()].concat();
        Ok(self.cursor.seal(Content::Cursor, Compression::None, &Binding::new(bound_to), &plain)?)
    }

    /// Opens what [`TenantKeys::seal_cursor`] sealed; the head has `N` bytes.
    ///
    /// # Errors
    /// [`OpenError`] when it is not bound to this.
    pub fn open_cursor<const N: usize>(
        &self,
        bound_to: &[&[u8]],
        sealed: &Sealed,
    ) -> Result<([u8; N], Opened<Vec<u8>>), OpenError> {
        let plain = self.cursor.open(Content::Cursor, &Binding::new(bound_to), sealed)?;
        let (head, place) = plain.split_first_chunk::<N>().ok_or(OpenError::Plaintext)?;
        Ok((*head, Opened::new(place.to_vec())))
    }

    /// Seals the search parameters a tenant adds; `place` says which of them, and of which generation.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when sealing fails.
    pub fn seal_definitions(&self, place: &[u8], all: &[Definition]) -> Result<Sealed, KeyError> {
        let plain = Definition::write_all(all);
        Ok(self.cursor.seal(Content::Cursor, Compression::None, &Binding::new(&[ADDED, place]), &plain)?)
    }

    /// Opens what [`TenantKeys::seal_definitions`] sealed.
    ///
    /// # Errors
    /// [`OpenError`] when it does not stand in this place.
    pub fn open_definitions(&self, place: &[u8], sealed: &Sealed) -> Result<Vec<Definition>, OpenError> {
        let plain = self.cursor.open(Content::Cursor, &Binding::new(&[ADDED, place]), sealed)?;
        Ok(Definition::read_all(&plain))
    }
}
