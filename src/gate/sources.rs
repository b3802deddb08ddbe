//! The files of a policy set: those the binary ships, or those of a folder.
//!
//! May import nothing from the rest of the crate but `gate::error`.

use std::{collections::BTreeMap, fs, path::Path};

use super::GateError;

/// The most policy files one folder of a set has.
pub(super) const FILES_MAX: usize = 256;
/// The longest file of a set.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// Name of the schema.
pub(super) const SCHEMA: &str = "schema.cedarschema";
/// Name of the list of families.
pub(super) const FAMILIES: &str = "families.toml";
/// Folders of policies.
pub(super) const FOLDERS: [&str; 2] = ["forbids", "roles"];

/// What the binary ships. A test compares it with the folder.
const SHIPPED: &[(&str, &str)] = &[
    (FAMILIES, include_str!("../../policies/families.toml")),
    ("forbids/auditor.cedar", include_str!("../../policies/forbids/auditor.cedar")),
    ("forbids/labels.cedar", include_str!("../../policies/forbids/labels.cedar")),
    ("forbids/scope.cedar", include_str!("../../policies/forbids/scope.cedar")),
    ("forbids/tenant.cedar", include_str!("../../policies/forbids/tenant.cedar")),
    ("roles/administrator.cedar", include_str!("../../policies/roles/administrator.cedar")),
    ("roles/auditor.cedar", include_str!("../../policies/roles/auditor.cedar")),
    ("roles/front-desk.cedar", include_str!("../../policies/roles/front-desk.cedar")),
    ("roles/nurse.cedar", include_str!("../../policies/roles/nurse.cedar")),
    ("roles/partner.cedar", include_str!("../../policies/roles/partner.cedar")),
    ("roles/physician.cedar", include_str!("../../policies/roles/physician.cedar")),
    ("roles/privacy-officer.cedar", include_str!("../../policies/roles/privacy-officer.cedar")),
    ("roles/service.cedar", include_str!("../../policies/roles/service.cedar")),
    (SCHEMA, include_str!("../../policies/schema.cedarschema")),
];

/// The files of a set: name inside the set, with `/`, and text; in the order of the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sources(BTreeMap<String, String>);

impl Sources {
    /// Those the binary ships.
    pub(super) fn shipped() -> Self {
        Self(SHIPPED.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }

    /// Those of a folder: `schema.cedarschema`, `families.toml`, `roles/*.cedar`, `forbids/*.cedar`.
    pub(super) fn of_folder(folder: &Path) -> Result<Self, GateError> {
        let mut files = BTreeMap::new();
        for name in [SCHEMA, FAMILIES] {
            files.insert(name.to_owned(), read(&folder.join(name))?);
        }
        for sub in FOLDERS {
            let path = folder.join(sub);
            let failed = |source| GateError::Read { path: path.clone(), source };
            for (count, entry) in fs::read_dir(&path).map_err(failed)?.enumerate() {
                if count >= FILES_MAX {
                    return Err(GateError::TooLarge(sub.to_owned()));
                }
                let file = entry.map_err(failed)?.path();
                if file.extension().is_none_or(|e| e != "cedar") {
                    continue;
                }
                let Some(name) = file.file_name().and_then(|n| n.to_str()) else {
                    let source = std::io::Error::from(std::io::ErrorKind::InvalidFilename);
                    return Err(GateError::Read { path: file, source });
                };
                files.insert(format!("{sub}/{name}"), read(&file)?);
            }
        }
        Ok(Self(files))
    }

    #[cfg(test)]
    pub(super) fn with(mut self, name: &str, text: &str) -> Self {
        self.0.insert(name.to_owned(), text.to_owned());
        self
    }

    /// The text of one of the two files every set has.
    pub(super) fn required(&self, name: &'static str) -> Result<&str, GateError> {
        self.0.get(name).map(String::as_str).ok_or(GateError::Missing(name))
    }

    /// The policy files, in the order of their names.
    pub(super) fn policies(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter(|(name, _)| name.contains('/')).map(|(n, t)| (n.as_str(), t.as_str()))
    }

    /// SHA-256 over `u64 length, name, u64 length, text` of every file in the order of the names, the lengths
    /// in bytes and big-endian. Schema and families are among the files.
    pub(super) fn sha256(&self) -> [u8; 32] {
        let mut bytes = Vec::new();
        for part in self.0.iter().flat_map(|(name, text)| [name, text]) {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        custodia_audit::sha256(&[&bytes])
    }
}

fn read(path: &Path) -> Result<String, GateError> {
    let failed = |source| GateError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(GateError::TooLarge(path.display().to_string()));
    }
    fs::read_to_string(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_binary_ships_every_file_of_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        assert_eq!(Sources::shipped(), Sources::of_folder(&folder).unwrap());
    }

    #[test]
    fn the_hash_depends_on_every_name_and_text() {
        let shipped = Sources::shipped();
        let mut seen = vec![shipped.sha256()];
        let names: Vec<String> = shipped.0.keys().cloned().collect();
        for name in names {
            let mut longer = shipped.clone();
            longer.0.get_mut(&name).unwrap().push(' ');
            seen.push(longer.sha256());
            let mut renamed = shipped.clone();
            let text = renamed.0.remove(&name).unwrap();
            seen.push(renamed.clone().with(&format!("{name}x"), &text).sha256());
            seen.push(renamed.sha256());
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn moving_bytes_between_name_and_text_changes_the_hash() {
        let a = Sources(BTreeMap::new()).with("roles/a", "bc");
        let b = Sources(BTreeMap::new()).with("roles/ab", "c");
        assert_ne!(a.sha256(), b.sha256());
    }

    #[test]
    fn a_folder_over_a_bound_is_refused() {
        let folder = tempdir("bounds");
        let shipped = Sources::shipped();
        for sub in FOLDERS {
            fs::create_dir_all(folder.join(sub)).unwrap();
        }
        for (name, text) in &shipped.0 {
            fs::write(folder.join(name), text).unwrap();
        }
        assert_eq!(Sources::of_folder(&folder).unwrap(), shipped);
        fs::write(folder.join("roles/long.cedar"), vec![b' '; usize::try_from(FILE_BYTES_MAX).unwrap() + 1])
            .unwrap();
        assert!(matches!(Sources::of_folder(&folder), Err(GateError::TooLarge(_))));
        fs::remove_file(folder.join("roles/long.cedar")).unwrap();
        let there = fs::read_dir(folder.join("roles")).unwrap().count();
        for n in there..FILES_MAX {
            fs::write(folder.join(format!("roles/{n}.txt")), "").unwrap();
        }
        assert_eq!(Sources::of_folder(&folder).unwrap(), shipped, "other files are not policies");
        fs::write(folder.join("roles/one-too-many.txt"), "").unwrap();
        assert!(matches!(Sources::of_folder(&folder), Err(GateError::TooLarge(_))));
        fs::remove_file(folder.join(FAMILIES)).unwrap();
        assert!(matches!(Sources::of_folder(&folder), Err(GateError::Read { .. })));
        fs::remove_dir_all(&folder).unwrap();
    }

    fn tempdir(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("custodia-gate-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }
}
