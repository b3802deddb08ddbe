#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests look at what was opened")]
use super::*;
use crate::seal::{Keystore, Protection};

fn keyring() -> (Keyring, tempdir::Folder, Clock) {
    let folder = tempdir::Folder::new();
    let protection = Protection::KeyFile(folder.0.join("keystore.key"));
    let keystore = Keystore::create(&folder.0.join("keystore.json"), &protection).unwrap();
    let clock = Clock::fixed(DateTime::from_timestamp_micros(1_800_000_000_000_000).unwrap());
    let keyring = Keyring::new(Arc::new(keystore), clock.clone());
    (keyring, folder, clock)
}

/// The keys of a tenant nobody else has.
pub(in crate::seal) fn tenant_keys() -> Arc<TenantKeys> {
    let (keyring, _folder, _) = keyring();
    let (epoch, wrapped) = keyring.create_tenant(TenantId(1)).unwrap();
    keyring.admit(TenantId(1), epoch, wrapped).unwrap();
    keyring.tenant(TenantId(1)).unwrap()
}

mod tempdir {
    pub(super) struct Folder(pub(super) std::path::PathBuf);
    impl Folder {
        pub(super) fn new() -> Self {
            let path = std::env::temp_dir().join(format!("custodia-keys-{}", uuid::Uuid::new_v4()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }
    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }
}

fn plain(label: &str, json: &[u8]) -> Plain {
    Plain { id: "1".into(), patients: Vec::new(), labels: vec![label.into()], json: json.to_vec() }
}

fn at(owner: Uuid) -> RecordBinding {
    RecordBinding {
        tenant: TenantId(1),
        kind: ResourceType::PATIENT,
        key: owner,
        version: 1,
        updated: DateTime::UNIX_EPOCH,
        deleted: false,
        owner,
    }
}

#[test]
fn a_record_sealed_for_a_patient_opens_under_its_unwrapped_key_only_where_it_stands() {
    let (keyring, _folder, _) = keyring();
    let (epoch, wrapped) = keyring.create_tenant(TenantId(1)).unwrap();
    keyring.admit(TenantId(1), epoch, wrapped).unwrap();
    let tenant = keyring.tenant(TenantId(1)).unwrap();
    let patient = Uuid::new_v4();
    let (key, wrapped) = tenant.new_data_key(patient).unwrap();
    let sealed = key.seal_record(&at(patient), &plain("a|b", b"{\"resourceType\":\"Patient\"}")).unwrap();
    let again = tenant.data_key(patient, 1, &wrapped).unwrap();
    let plain = again.open_record(&at(patient), &sealed).unwrap().release();
    assert_eq!(plain.json, b"{\"resourceType\":\"Patient\"}");
    assert_eq!(plain.labels, ["a|b"]);
    let moved = [
        RecordBinding { tenant: TenantId(2), ..at(patient) },
        RecordBinding { kind: ResourceType::OBSERVATION, ..at(patient) },
        RecordBinding { key: Uuid::new_v4(), ..at(patient) },
        RecordBinding { version: 2, ..at(patient) },
        RecordBinding { deleted: true, ..at(patient) },
        RecordBinding { owner: Uuid::new_v4(), ..at(patient) },
        RecordBinding { updated: DateTime::from_timestamp_micros(1).unwrap(), ..at(patient) },
    ];
    for place in moved {
        assert!(again.open_record(&place, &sealed).is_err(), "{place:?}");
    }
    assert!(tenant.data_key(Uuid::new_v4(), 1, &wrapped).is_err(), "a wrapped key is bound to its id");
}

#[test]
fn a_shared_key_opens_under_each_of_its_patients() {
    let (keyring, _folder, _) = keyring();
    let (epoch, wrapped) = keyring.create_tenant(TenantId(1)).unwrap();
    keyring.admit(TenantId(1), epoch, wrapped).unwrap();
    let tenant = keyring.tenant(TenantId(1)).unwrap();
    let (mother, _) = tenant.new_data_key(Uuid::new_v4()).unwrap();
    let (child, _) = tenant.new_data_key(Uuid::new_v4()).unwrap();
    let (stranger, _) = tenant.new_data_key(Uuid::new_v4()).unwrap();
    let id = Uuid::new_v4();
    let (key, wraps) = tenant.new_shared_key(id, &[&mother, &child]).unwrap();
    let sealed = key.seal_record(&at(id), &plain("", b"{}")).unwrap();
    for (patient, wrap) in [&mother, &child].into_iter().zip(&wraps) {
        let opened = tenant.shared_key(id, 1, patient, wrap).unwrap();
        assert_eq!(opened.open_record(&at(id), &sealed).unwrap().release().json, b"{}");
        assert!(tenant.shared_key(id, 1, &stranger, wrap).is_err());
    }
}

#[test]
fn ids_that_are_no_uuids_become_opaque_and_uuids_stay() {
    let (keyring, _folder, _) = keyring();
    let (epoch, wrapped) = keyring.create_tenant(TenantId(1)).unwrap();
    keyring.admit(TenantId(1), epoch, wrapped).unwrap();
    let tenant = keyring.tenant(TenantId(1)).unwrap();
    let id = "3e0b5c8e-6f6d-4a52-9f2b-1d6b4d9e7a10";
    assert_eq!(tenant.opaque(ResourceType::PATIENT, id).to_string(), id);
    let upper = id.to_uppercase();
    assert_ne!(tenant.opaque(ResourceType::PATIENT, &upper).to_string(), id, "FHIR ids are case-sensitive");
    let mrn = tenant.opaque(ResourceType::PATIENT, "MRN-17");
    assert_eq!(mrn, tenant.opaque(ResourceType::PATIENT, "MRN-17"));
    assert_ne!(mrn, tenant.opaque(ResourceType::OBSERVATION, "MRN-17"), "types do not link");
}

#[test]
fn a_tenant_key_is_unwrapped_anew_after_five_minutes_and_a_wrong_one_never_opens() {
    let (keyring, _folder, clock) = keyring();
    let (epoch, wrapped) = keyring.create_tenant(TenantId(1)).unwrap();
    assert!(keyring.admit(TenantId(2), epoch, wrapped.clone()).is_err(), "bound to its tenant");
    assert!(matches!(keyring.admit(TenantId(1), 9, wrapped.clone()), Err(KeyError::UnknownEpoch(9))));
    keyring.admit(TenantId(1), epoch, wrapped).unwrap();
    let before = keyring.tenant(TenantId(1)).unwrap();
    assert!(Arc::ptr_eq(&before, &keyring.tenant(TenantId(1)).unwrap()));
    clock.advance(Duration::minutes(TENANT_KEY_MINUTES));
    assert!(!Arc::ptr_eq(&before, &keyring.tenant(TenantId(1)).unwrap()));
    assert!(matches!(keyring.tenant(TenantId(3)), Err(KeyError::UnknownTenant)));
}

#[test]
fn a_keystore_opens_with_what_protects_it_and_nothing_else() {
    let folder = tempdir::Folder::new();
    let path = folder.0.join("keystore.json");
    let phrase = |p: &str| Protection::Passphrase(Zeroizing::new(p.to_owned()));
    let made = Keystore::create(&path, &phrase("correct horse")).unwrap();
    let key = |keystore: &Keystore| keystore.log_secrets().first("log").unwrap().vkey();
    assert_eq!(key(&Keystore::open(&path, &phrase("correct horse")).unwrap()), key(&made));
    assert!(Keystore::open(&path, &phrase("battery staple")).is_err());
    assert!(Keystore::open(&path, &Protection::KeyFile(folder.0.join("k"))).is_err());
    assert!(Keystore::create(&path, &phrase("x")).is_err(), "never overwritten");
    let text = std::fs::read_to_string(&path).unwrap().replacen("passphrase", "key-file", 1);
    std::fs::write(&path, text).unwrap();
    assert!(Keystore::open(&path, &phrase("correct horse")).is_err());
}

#[test]
fn audit_bodies_are_bound_to_tenant_month_and_commitment() {
    let (keyring, _folder, _) = keyring();
    let (epoch, wrapped) = keyring.create_tenant(TenantId(1)).unwrap();
    keyring.admit(TenantId(1), epoch, wrapped).unwrap();
    let tenant = keyring.tenant(TenantId(1)).unwrap();
    let (key, wrapped) = tenant.new_audit_key(24_311).unwrap();
    let body = key.seal_body(TenantId(1), &[1; 32], b"body").unwrap();
    let key = tenant.audit_key(24_311, &wrapped).unwrap();
    assert_eq!(key.open_body(TenantId(1), &[1; 32], &body).unwrap().as_slice(), b"body");
    assert!(key.open_body(TenantId(2), &[1; 32], &body).is_err());
    assert!(key.open_body(TenantId(1), &[2; 32], &body).is_err());
    assert!(tenant.audit_key(24_312, &wrapped).is_err());
}
