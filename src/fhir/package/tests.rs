//! Tests of packages: how US Core is read, and what is refused.

#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::super::definitions::loaded;
use super::*;

const US_CORE: &[u8] = include_bytes!("../../../tests/data/us-core-6.1.0.tgz");

fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(bytes.len()).unwrap());
        header.set_mode(0o644);
        archive.append_data(&mut header, path, *bytes).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

const MANIFEST: &[u8] = br#"{"name": "a.b", "version": "1.0.0", "fhirVersions": ["4.0.1"]}"#;
const SET: &[u8] =
    br#"{"resourceType": "ValueSet", "url": "http://x/v", "text": {"div": "<div>x</div>"}, "compose": {"include": []}}"#;

#[test]
fn us_core_is_read() {
    let package = Package::read(US_CORE).unwrap();
    assert_eq!((package.name.as_str(), package.version.as_str()), ("hl7.fhir.us.core", "6.1.0"));
    let whole = Conformance::of(loaded(), [package.kept.as_slice()]);
    assert_eq!(whole.profiles.len(), 59);
    assert_eq!(whole.terms.counts(), (5, 36, 0));
    assert_eq!(whole.unread, [""; 0]);
    assert!(package.kept.len() < 200_000, "{}", package.kept.len());
}

#[test]
fn what_is_no_package_is_refused() {
    let fails = |file: &[u8]| Package::read(file).unwrap_err().to_string();
    let of = |manifest: &[u8]| fails(&packed(&[("package/package.json", manifest), ("package/a.json", SET)]));
    assert!(fails(b"x").contains("gzip"));
    assert!(fails(&packed(&[("package/a.json", SET)])).contains("package.json"));
    assert!(of(b"{}").contains("package.json"));
    assert!(of(br#"{"name": "../x", "version": "1", "fhirVersions": ["4.0.1"]}"#).contains("package.json"));
    assert!(of(br#"{"name": "x", "version": "1", "fhirVersions": ["5.0.0"]}"#).contains("R4"));
    assert!(fails(&packed(&[("package/package.json", MANIFEST)])).contains("no profile"));
    assert!(
        fails(&packed(&[("package/package.json", MANIFEST), ("package/a.json", b"{")])).contains("a.json")
    );
    // What stands in other folders is not looked at.
    let apart = packed(&[
        ("package/package.json", MANIFEST),
        ("package/a.json", SET),
        ("package/example/b.json", b"{"),
    ]);
    let package = Package::read(&apart).unwrap();
    let mut kept = String::new();
    GzDecoder::new(package.kept.as_slice()).read_to_string(&mut kept).unwrap();
    let wanted = json!({"resourceType": "ValueSet", "url": "http://x/v", "compose": {"include": []}});
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), wanted);
}

#[test]
fn a_package_is_bounded() {
    assert!(matches!(Package::read(&vec![0; FILE_BYTES_MAX + 1]), Err(PackageError::TooLarge("the file"))));
    assert!(matches!(Package::read(&vec![0; FILE_BYTES_MAX]), Err(PackageError::Archive(_))));
    let empty: &[u8] = b"";
    let mut files = vec![("other/x", empty); ENTRIES_MAX - 2];
    files.extend([("package/package.json", MANIFEST), ("package/a.json", SET)]);
    assert!(Package::read(&packed(&files)).is_ok());
    files.push(("other/x", empty));
    assert!(matches!(Package::read(&packed(&files)), Err(PackageError::TooLarge("its files"))));
}
