//! FHIR packages: the file an implementation guide is published as (hl7.org/fhir/packages.html).
//!
//! May import only std, flate2, tar, `serde_json` and `fhir::{definitions, json, terminology, validate}`.
//!
//! ```text
//! FILE.tgz   package/package.json             name, version, the FHIR release it is for
//!            package/StructureDefinition-*    profiles; taken with their snapshots
//!            package/ValueSet-* and so on     terminology
//! kept       NDJSON, gzip: what the server judges by, and nothing to read
//! ```

use std::io::{Read, Write};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Map, Value};

use super::definitions::Definitions;
use super::terminology::{Shipped, Terms, Vocabulary};
use super::validate::profile::Profiles;

/// The largest file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most bytes it may unpack to.
pub const UNPACKED_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// The most files it may hold.
pub const ENTRIES_MAX: usize = 20_000;
/// The largest of them, in bytes.
pub const ENTRY_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The most bytes of what is kept of one, packed.
pub const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest name and the longest version, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Why a file is no package that can be used.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Larger than one of the bounds.
    #[error("the package is larger than what is read: {0}")]
    TooLarge(&'static str),
    /// Not a gzip of a tar archive.
    #[error("the package is not a gzip of a tar archive")]
    Archive(#[source] std::io::Error),
    /// `package/package.json` is not there, or has no name and version.
    #[error("the package has no package/package.json with a name and a version")]
    Manifest,
    /// It is for another release of FHIR.
    #[error("the package is not for FHIR R4 (4.0.1)")]
    Release,
    /// A file in it is not JSON.
    #[error("{0} in the package is not JSON")]
    Json(String),
    /// It holds nothing to judge by.
    #[error("the package holds no profile with a snapshot and no terminology")]
    Empty,
}

/// What is kept of a package.
#[derive(Debug)]
pub struct Package {
    /// Its name, such as `hl7.fhir.us.core`.
    pub name: String,
    /// Its version, such as `6.1.0`.
    pub version: String,
    /// NDJSON, gzip.
    pub kept: Vec<u8>,
}

/// What resources are judged by beyond R4: profiles and terminology of every package.
#[derive(Debug, Default)]
pub struct Conformance {
    /// The profiles.
    pub profiles: Profiles,
    /// What of each package is not looked at.
    pub unread: Vec<String>,
    terms: Terms,
    shipped: Shipped,
}

impl Package {
    /// Reads a package as it is published.
    ///
    /// # Errors
    /// [`PackageError`].
    pub fn read(file: &[u8]) -> Result<Self, PackageError> {
        if file.len() > FILE_BYTES_MAX {
            return Err(PackageError::TooLarge("the file"));
        }
        let mut archive = tar::Archive::new(GzDecoder::new(file).take(UNPACKED_BYTES_MAX));
        let (mut manifest, mut kept) = (None, GzEncoder::new(Vec::new(), Compression::best()));
        let mut taken = 0_usize;
        for (count, entry) in archive.entries().map_err(PackageError::Archive)?.enumerate() {
            if count >= ENTRIES_MAX {
                return Err(PackageError::TooLarge("its files"));
            }
            let entry = entry.map_err(PackageError::Archive)?;
            let path = entry.path().map_err(PackageError::Archive)?.to_string_lossy().into_owned();
            // Examples and the like stand in folders of their own.
            let Some(name) = path.strip_prefix("package/").filter(|name| !name.contains('/')) else {
                continue;
            };
            if !name.ends_with(".json") || name.starts_with('.') {
                continue;
            }
            if entry.size() > ENTRY_BYTES_MAX {
                return Err(PackageError::TooLarge("one of its files"));
            }
            let mut bytes = Vec::new();
            entry.take(ENTRY_BYTES_MAX).read_to_end(&mut bytes).map_err(PackageError::Archive)?;
            let value: Value =
                serde_json::from_slice(&bytes).map_err(|_| PackageError::Json(name.to_owned()))?;
            if name == "package.json" {
                manifest = Some(value);
            } else if let Some(short) = shortened(value) {
                writeln!(kept, "{short}").map_err(PackageError::Archive)?;
                taken += 1;
            }
        }
        let (name, version) = identity(&manifest.ok_or(PackageError::Manifest)?)?;
        let kept = kept.finish().map_err(PackageError::Archive)?;
        match (taken, kept.len()) {
            (0, _) => Err(PackageError::Empty),
            (_, bytes) if bytes > KEPT_BYTES_MAX => Err(PackageError::TooLarge("what is kept of it")),
            _ => Ok(Self { name, version, kept }),
        }
    }
}

/// Name and version, if it is for R4.
fn identity(manifest: &Value) -> Result<(String, String), PackageError> {
    let text = |member: &str| {
        let text = manifest.get(member).and_then(Value::as_str).filter(|text| text.len() <= NAME_BYTES_MAX);
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+');
        text.filter(|text| !text.is_empty() && text.bytes().all(plain)).map(str::to_owned)
    };
    let (Some(name), Some(version)) = (text("name"), text("version")) else {
        return Err(PackageError::Manifest);
    };
    let releases = manifest.get("fhirVersions").or_else(|| manifest.get("fhir-version-list"));
    let is_r4 = releases.and_then(Value::as_array).is_some_and(|all| all.iter().any(|one| one == "4.0.1"));
    if is_r4 { Ok((name, version)) } else { Err(PackageError::Release) }
}

/// The members of a resource, and of the elements of its snapshot, that something is judged by.
const TAKEN: [(&str, &[&str]); 4] = [
    ("StructureDefinition", &["resourceType", "id", "url", "version", "name", "type", "derivation"]),
    (
        "CodeSystem",
        &["resourceType", "id", "url", "version", "name", "status", "caseSensitive", "content", "concept"],
    ),
    ("ValueSet", &["resourceType", "id", "url", "version", "name", "status", "compose", "expansion"]),
    (
        "ConceptMap",
        &[
            "resourceType",
            "id",
            "url",
            "version",
            "name",
            "status",
            "sourceUri",
            "sourceCanonical",
            "targetUri",
            "targetCanonical",
            "group",
        ],
    ),
];
const ELEMENT_TAKEN: [&str; 9] =
    ["id", "path", "min", "max", "type", "slicing", "binding", "constraint", "contentReference"];

fn shortened(mut resource: Value) -> Option<Value> {
    let kind = resource.get("resourceType")?.as_str()?.to_owned();
    let (_, members) = TAKEN.iter().find(|(name, _)| *name == kind)?;
    let mut short = Map::new();
    for member in *members {
        if let Some(value) = resource.get_mut(*member) {
            short.insert((*member).to_owned(), value.take());
        }
    }
    if kind == "StructureDefinition" {
        let elements = resource.pointer_mut("/snapshot/element")?.as_array_mut()?;
        for element in elements.iter_mut() {
            let Some(element) = element.as_object_mut() else { continue };
            element.retain(|name, _| {
                ELEMENT_TAKEN.contains(&name.as_str())
                    || name.starts_with("minValue")
                    || name.starts_with("maxValue")
                    || name.starts_with("fixed")
                    || name.starts_with("pattern")
            });
        }
        short.insert("snapshot".to_owned(), serde_json::json!({ "element": std::mem::take(elements) }));
    }
    Some(Value::Object(short))
}

impl Conformance {
    /// What these packages hold together; the later of two that define the same url counts.
    #[must_use]
    pub fn of<'k>(definitions: &Definitions, kept: impl IntoIterator<Item = &'k [u8]>) -> Self {
        let mut whole = Self::default();
        for kept in kept {
            let mut text = String::new();
            if GzDecoder::new(kept).take(UNPACKED_BYTES_MAX).read_to_string(&mut text).is_err() {
                whole.unread.push("a package cannot be unpacked".to_owned());
            }
            for line in text.lines() {
                let Ok(resource) = serde_json::from_str::<Value>(line) else { continue };
                if !whole.terms.add(&resource) {
                    whole.take_profile(definitions, &resource);
                }
            }
        }
        whole
    }

    /// R4's terminology.
    #[must_use]
    pub const fn shipped(&self) -> &Shipped {
        &self.shipped
    }

    /// With R4's terminology as others have it, so that it is unpacked once.
    #[must_use]
    pub fn sharing(self, shipped: &Shipped) -> Self {
        Self { shipped: shipped.clone(), ..self }
    }

    fn take_profile(&mut self, definitions: &Definitions, resource: &Value) {
        let text = |name: &str| resource.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("resourceType") != "StructureDefinition" || text("derivation") == "specialization" {
            return;
        }
        match self.profiles.add(definitions, resource) {
            Ok(profile) => {
                self.unread.extend(profile.unread.iter().map(|what| format!("{}: {what}", profile.url)));
            }
            Err(why) => self.unread.push(format!("{}: {why}", text("url"))),
        }
    }

    /// The terminology: some of one's own first, then the packages', then R4's.
    #[must_use]
    pub fn vocabulary<'t>(&'t self, own: Option<&'t Terms>) -> Vocabulary<'t> {
        Vocabulary::new(own.into_iter().chain([&self.terms, self.shipped.terms()]))
    }
}

#[cfg(test)]
mod tests;
