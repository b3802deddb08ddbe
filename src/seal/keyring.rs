//! Tenant keys, opened for at most five minutes, and the data keys they wrap.
//!
//! A data key is never kept: its wrapped form comes with the row that needs it, and unwrapping costs two
//! microseconds. So an erased key is gone everywhere as soon as its row is.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use chrono::{DateTime, Duration, Utc};
use ring::{
    hkdf, hmac,
    rand::{SecureRandom, SystemRandom},
};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    envelope::{Binding, Compression, Content, NamedKey, OpenError, SealError, Sealed, same},
    keystore::Keystore,
    opened::Opened,
    press,
    record::{Plain, RecordBinding},
};
use crate::{clock::Clock, fhir::kinds::ResourceType, tenant::TenantId};

/// How long an opened tenant key is used before it is unwrapped anew.
pub const TENANT_KEY_MINUTES: i64 = 5;
/// The label above which a record is not compressed: a restricted one's size must tell nothing.
const UNCOMPRESSED: [&str; 2] = [
    "http://terminology.hl7.org/CodeSystem/v3-Confidentiality|R",
    "http://terminology.hl7.org/CodeSystem/v3-Confidentiality|V",
];

/// Why a key cannot be had or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No such tenant has been admitted.
    #[error("the tenant is not known here")]
    UnknownTenant,
    /// A wrapped key does not open.
    #[error("a wrapped key does not open")]
    Wrapped(#[source] OpenError),
    /// The root epoch is not in the keystore.
    #[error("the keystore does not hold root epoch {0}")]
    UnknownEpoch(i32),
    /// Sealing failed.
    #[error("sealing failed")]
    Seal(#[from] SealError),
}

/// The tenants' keys of this process.
pub struct Keyring {
    keystore: Arc<Keystore>,
    clock: Clock,
    tenants: RwLock<HashMap<TenantId, Held>>,
}

struct Held {
    epoch: i32,
    wrapped: Sealed,
    keys: Arc<TenantKeys>,
    opened: DateTime<Utc>,
}

impl Keyring {
    /// A keyring with no tenants yet.
    #[must_use]
    pub fn new(keystore: Arc<Keystore>, clock: Clock) -> Self {
        Self { keystore, clock, tenants: RwLock::new(HashMap::new()) }
    }

    /// The keystore behind it.
    #[must_use]
    pub const fn keystore(&self) -> &Arc<Keystore> {
        &self.keystore
    }

    /// Makes the key of a new tenant: root epoch and wrapped form, to be stored.
    ///
    /// # Errors
    /// [`KeyError`] when the keystore cannot seal.
    pub fn create_tenant(&self, tenant: TenantId) -> Result<(i32, Sealed), KeyError> {
        let key = random_key()?;
        self.keystore.wrap(tenant, &key)
    }

    /// Takes in a tenant that was read from the database.
    ///
    /// # Errors
    /// [`KeyError`] when the wrapped key does not open under its epoch.
    pub fn admit(&self, tenant: TenantId, epoch: i32, wrapped: Sealed) -> Result<(), KeyError> {
        let keys = Arc::new(TenantKeys::derive(tenant, self.keystore.unwrap(tenant, epoch, &wrapped)?)?);
        let held = Held { epoch, wrapped, keys, opened: self.clock.now() };
        if let Ok(mut tenants) = self.tenants.write() {
            tenants.insert(tenant, held);
        }
        Ok(())
    }

    /// The tenants admitted so far.
    #[must_use]
    pub fn tenants(&self) -> Vec<TenantId> {
        self.tenants.read().map(|t| t.keys().copied().collect()).unwrap_or_default()
    }

    /// The keys of `tenant`, unwrapped anew when they are older than [`TENANT_KEY_MINUTES`].
    ///
    /// # Errors
    /// [`KeyError`] when the tenant is unknown or its key does not open any more.
    pub fn tenant(&self, tenant: TenantId) -> Result<Arc<TenantKeys>, KeyError> {
        let now = self.clock.now();
        let (epoch, wrapped) = {
            let tenants = self.tenants.read().map_err(|_| KeyError::UnknownTenant)?;
            let held = tenants.get(&tenant).ok_or(KeyError::UnknownTenant)?;
            if now - held.opened < Duration::minutes(TENANT_KEY_MINUTES) {
                return Ok(Arc::clone(&held.keys));
            }
            (held.epoch, held.wrapped.clone())
        };
        self.admit(tenant, epoch, wrapped)?;
        let tenants = self.tenants.read().map_err(|_| KeyError::UnknownTenant)?;
        tenants.get(&tenant).map(|held| Arc::clone(&held.keys)).ok_or(KeyError::UnknownTenant)
    }

    /// Opaque key of a name accounts are looked up by, before the tenant is known.
    #[must_use]
    pub fn lookup(&self, name: &[u8]) -> Uuid {
        tag_uuid(&hmac::Key::new(hmac::HMAC_SHA256, self.keystore.house_key()), &[name])
    }
}

/// Thirty-two random bytes, for salts and seeds.
///
/// # Errors
/// [`SealError`] when the machine gives none.
pub fn random_bytes() -> Result<[u8; 32], SealError> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SealError)?;
    Ok(bytes)
}

fn random_key() -> Result<Zeroizing<[u8; 32]>, SealError> {
    let mut key = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(key.as_mut_slice()).map_err(|_| SealError)?;
    Ok(key)
}

/// Sixteen bytes of HMAC over length-prefixed parts.
fn tag_uuid(key: &hmac::Key, parts: &[&[u8]]) -> Uuid {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        context.update(part);
    }
    let tag = context.sign();
    tag.as_ref().first_chunk::<16>().map_or(Uuid::nil(), |b| Uuid::from_bytes(*b))
}

/// The keys of one tenant, derived from its tenant key by HKDF-SHA-256 with a label each.
pub struct TenantKeys {
    tenant: TenantId,
    wrap: NamedKey,
    common: Zeroizing<[u8; 32]>,
    account: NamedKey,
    pub(super) cursor: NamedKey,
    index: hmac::Key,
    proof: hmac::Key,
    blind: hmac::Key,
}

impl TenantKeys {
    fn derive(tenant: TenantId, key: Zeroizing<[u8; 32]>) -> Result<Self, SealError> {
        let part = |label: &'static [u8]| -> Result<Zeroizing<[u8; 32]>, SealError> {
            let mut out = Zeroizing::new([0; 32]);
            let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"custodia/v1/tenant").extract(key.as_slice());
            prk.expand(&[label], hkdf::HKDF_SHA256)
                .and_then(|o| o.fill(out.as_mut_slice()))
                .map_err(|_| SealError)?;
            Ok(out)
        };
        let named = |key| NamedKey { id: Uuid::nil(), version: 1, key };
        Ok(Self {
            tenant,
            wrap: named(part(b"wrap")?),
            common: part(b"common")?,
            account: named(part(b"account")?),
            cursor: named(part(b"cursor")?),
            index: hmac::Key::new(hmac::HMAC_SHA256, part(b"index")?.as_slice()),
            proof: hmac::Key::new(hmac::HMAC_SHA256, part(b"proof")?.as_slice()),
            blind: hmac::Key::new(hmac::HMAC_SHA256, part(b"blind")?.as_slice()),
        })
    }

    /// The tenant.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The opaque key of a logical id: a UUID in its canonical form is its own key, anything else (ids that
    /// clients choose are often record numbers) is 16 bytes of HMAC over type and id.
    #[must_use]
    pub fn opaque(&self, kind: ResourceType, id: &str) -> Uuid {
        if let Ok(uuid) = Uuid::try_parse(id)
            && uuid.hyphenated().to_string() == id
        {
            return uuid;
        }
        tag_uuid(&self.index, &[&kind.code().to_be_bytes(), id.as_bytes()])
    }

    /// Proof that the server made something (a relationship row, a cursor): 16 bytes of HMAC over its parts.
    #[must_use]
    pub fn proof_of(&self, parts: &[&[u8]]) -> [u8; 16] {
        tag_uuid(&self.proof, parts).into_bytes()
    }

    /// Four bytes of HMAC over parts: what blind marks are.
    pub(super) fn blind(&self, parts: &[&[u8]]) -> [u8; 4] {
        let tag = tag_uuid(&self.blind, parts).into_bytes();
        tag.first_chunk::<4>().copied().unwrap_or_default()
    }

    /// Whether `proof` is that of these parts.
    #[must_use]
    pub fn proves(&self, parts: &[&[u8]], proof: &[u8]) -> bool {
        same(&self.proof_of(parts), proof)
    }

    /// The data key of records about nobody.
    #[must_use]
    pub fn common(&self) -> DataKey {
        DataKey(NamedKey { id: Uuid::nil(), version: 1, key: self.common.clone() })
    }

    /// Makes a data key for `id` (a patient's opaque key) wrapped under the tenant's.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when the machine gives no random bytes.
    pub fn new_data_key(&self, id: Uuid) -> Result<(DataKey, Sealed), KeyError> {
        let key = DataKey(NamedKey { id, version: 1, key: random_key()? });
        let wrapped = self.wrap.seal(
            Content::Key,
            Compression::None,
            &self.key_binding(id, 1),
            key.0.key.as_slice(),
        )?;
        Ok((key, wrapped))
    }

    /// Opens a data key wrapped under the tenant's.
    ///
    /// # Errors
    /// [`KeyError::Wrapped`] when it does not open as the key of `id`.
    pub fn data_key(&self, id: Uuid, version: u16, wrapped: &Sealed) -> Result<DataKey, KeyError> {
        let plain = self
            .wrap
            .open(Content::Key, &self.key_binding(id, version), wrapped)
            .map_err(KeyError::Wrapped)?;
        named(id, version, &plain)
    }

    /// Makes a key shared by several patients, wrapped once under each one's data key.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when the machine gives no random bytes.
    pub fn new_shared_key(&self, id: Uuid, under: &[&DataKey]) -> Result<(DataKey, Vec<Sealed>), KeyError> {
        let key = DataKey(NamedKey { id, version: 1, key: random_key()? });
        let binding = self.key_binding(id, 1);
        let wraps = under
            .iter()
            .map(|parent| parent.0.seal(Content::Key, Compression::None, &binding, key.0.key.as_slice()))
            .collect::<Result<_, _>>()?;
        Ok((key, wraps))
    }

    /// Opens a shared key wrapped under one patient's data key.
    ///
    /// # Errors
    /// [`KeyError::Wrapped`] when it does not open as the key of `id`.
    pub fn shared_key(
        &self,
        id: Uuid,
        version: u16,
        under: &DataKey,
        wrapped: &Sealed,
    ) -> Result<DataKey, KeyError> {
        let plain =
            under.0.open(Content::Key, &self.key_binding(id, version), wrapped).map_err(KeyError::Wrapped)?;
        named(id, version, &plain)
    }

    /// Makes the audit key of a month (`year * 12 + month - 1`), wrapped under the tenant's key.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when the machine gives no random bytes.
    pub fn new_audit_key(&self, month: i32) -> Result<(AuditKey, Sealed), KeyError> {
        let key = AuditKey(NamedKey { id: month_id(month), version: 1, key: random_key()? });
        let binding = self.key_binding(month_id(month), 1);
        let wrapped = self.wrap.seal(Content::Key, Compression::None, &binding, key.0.key.as_slice())?;
        Ok((key, wrapped))
    }

    /// Opens the audit key of a month.
    ///
    /// # Errors
    /// [`KeyError::Wrapped`] when it does not open as that month's.
    pub fn audit_key(&self, month: i32, wrapped: &Sealed) -> Result<AuditKey, KeyError> {
        let binding = self.key_binding(month_id(month), 1);
        let plain = self.wrap.open(Content::Key, &binding, wrapped).map_err(KeyError::Wrapped)?;
        Ok(AuditKey(named(month_id(month), 1, &plain)?.0))
    }

    /// Seals an account's JSON.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when sealing fails.
    pub fn seal_account(&self, id: Uuid, version: i32, json: &[u8]) -> Result<Sealed, KeyError> {
        let pressed = press::press(json, Compression::None)?;
        let binding = self.account_binding(id, version);
        Ok(self.account.seal(Content::Account, Compression::None, &binding, &pressed)?)
    }

    /// Opens an account's JSON.
    ///
    /// # Errors
    /// [`OpenError`] when it is not that account in that version.
    pub fn open_account(
        &self,
        id: Uuid,
        version: i32,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let binding = self.account_binding(id, version);
        let padded = self.account.open(Content::Account, &binding, sealed)?;
        press::unpress(&padded, Compression::None).map(Zeroizing::new)
    }

    fn key_binding(&self, id: Uuid, version: u16) -> Binding {
        Binding::new(&[b"data-key", &self.tenant.0.to_be_bytes(), id.as_bytes(), &version.to_be_bytes()])
    }

    fn account_binding(&self, id: Uuid, version: i32) -> Binding {
        Binding::new(&[&self.tenant.0.to_be_bytes(), id.as_bytes(), &version.to_be_bytes()])
    }
}

fn named(id: Uuid, version: u16, plain: &[u8]) -> Result<DataKey, KeyError> {
    let key = plain.try_into().map_err(|_| KeyError::Wrapped(OpenError::Plaintext))?;
    Ok(DataKey(NamedKey { id, version, key: Zeroizing::new(key) }))
}

/// The name a month's audit key has in envelope headers.
fn month_id(month: i32) -> Uuid {
    Uuid::from_u128(u128::from(month.unsigned_abs()))
}

/// The key one patient's records are sealed under, or one shared by several, or the tenant's common one.
pub struct DataKey(NamedKey);

impl DataKey {
    /// Its id: the `owner` of the rows sealed under it.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.0.id
    }

    /// Its version.
    #[must_use]
    pub const fn version(&self) -> u16 {
        self.0.version
    }

    /// The key itself, for what is derived from it.
    pub(super) fn secret(&self) -> &[u8] {
        self.0.key.as_slice()
    }

    /// Seals a version of a record.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when sealing fails or there are more than 65,535 labels or patients.
    pub fn seal_record(&self, at: &RecordBinding, record: &Plain) -> Result<Sealed, KeyError> {
        let restricted = record.labels.iter().any(|label| UNCOMPRESSED.contains(&label.as_str()));
        let compression = if restricted { Compression::None } else { Compression::Zstd1 };
        let plain = Zeroizing::new(record.encode().ok_or(SealError)?);
        let pressed = press::press(&plain, compression)?;
        Ok(self.0.seal(Content::Record, compression, &at.binding(), &pressed)?)
    }

    /// Opens a version of a record.
    ///
    /// # Errors
    /// [`OpenError`] when it is not that version under this key.
    pub fn open_record(&self, at: &RecordBinding, sealed: &Sealed) -> Result<Opened<Plain>, OpenError> {
        let padded = self.0.open(Content::Record, &at.binding(), sealed)?;
        let plain = Plain::decode(press::unpress(&padded, sealed.compression()?)?)?;
        Ok(Opened::new(plain))
    }
}

/// The key a tenant's entry bodies of one month are sealed under.
pub struct AuditKey(NamedKey);

impl AuditKey {
    /// Seals an entry's groups and salt seed, bound to its commitment.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when sealing fails.
    pub fn seal_body(
        &self,
        tenant: TenantId,
        commitment: &[u8; 32],
        plain: &[u8],
    ) -> Result<Sealed, KeyError> {
        let binding = Binding::new(&[&tenant.0.to_be_bytes(), commitment]);
        Ok(self.0.seal(Content::AuditBody, Compression::None, &binding, plain)?)
    }

    /// Opens what [`AuditKey::seal_body`] sealed.
    ///
    /// # Errors
    /// [`OpenError`] when it is not that entry's body.
    pub fn open_body(
        &self,
        tenant: TenantId,
        commitment: &[u8; 32],
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let binding = Binding::new(&[&tenant.0.to_be_bytes(), commitment]);
        self.0.open(Content::AuditBody, &binding, sealed)
    }
}

#[cfg(test)]
#[path = "keyring_tests.rs"]
pub(super) mod tests;
