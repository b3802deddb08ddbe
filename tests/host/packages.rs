//! `custodia packages`, as it is run: what it says, and what it refuses.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use custodia::fhir::package::{ENTRY_BYTES_MAX, FILE_BYTES_MAX};
use flate2::{Compression, write::GzEncoder};

use crate::House;

const MANIFEST: &[u8] = br#"{"name": "house.rules", "version": "1.2.0", "fhirVersions": ["4.0.1"]}"#;
const SET: &[u8] = br#"{"resourceType": "ValueSet", "url": "urn:house:wards", "compose": {"include": [
    {"system": "urn:house:ward", "concept": [{"code": "west"}]}]}}"#;
const PROFILE: &[u8] =
    br#"{"resourceType": "StructureDefinition", "url": "urn:house:patient", "type": "Patient",
    "derivation": "constraint", "snapshot": {"element": [{"id": "Patient", "path": "Patient", "constraint": [
    {"key": "h-1", "severity": "error", "human": "x", "expression": "name.unheardOf()"}]},
    {"id": "Patient.name", "path": "Patient.name", "min": 1, "max": "*"}]}}"#;

/// A gzip of a tar archive; paths are written as they are given.
fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        let name = header.as_gnu_mut().unwrap().name.iter_mut();
        name.zip(path.bytes()).for_each(|(into, byte)| *into = byte);
        header.set_size(u64::try_from(bytes.len()).unwrap());
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, *bytes).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

struct Commands {
    house: House,
    folder: PathBuf,
}

impl Commands {
    async fn new() -> Self {
        let house = House::new().await;
        let folder = house.config.home.join("files");
        fs::create_dir_all(&folder).unwrap();
        Self { house, folder }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let config = &self.house.config;
        let mut command = Command::new(env!("CARGO_BIN_EXE_custodia"));
        command.arg("--home").arg(&config.home).arg("packages").args(arguments).env_remove("DATABASE_URL");
        command.env("CUSTODIA_DATABASE_URL", config.database.url.as_ref().unwrap());
        command.env("CUSTODIA_DATABASE_OWNER_URL", config.database.owner_url.as_ref().unwrap());
        command.env("CUSTODIA_FHIR_BASE", "https://localhost/fhir");
        command.output().unwrap()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.join(name);
        fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        path
    }

    fn add(&self, path: &Path) -> Result<String, String> {
        let done = self.run(&["add", path.to_str().unwrap()]);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
    }

    fn list(&self) -> String {
        let done = self.run(&["list"]);
        assert!(done.status.success());
        String::from_utf8(done.stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packages_are_added_listed_and_taken_away_by_command() {
    let commands = Commands::new().await;
    // The first start makes the tables.
    crate::stop(commands.house.start().await).await;
    assert_eq!(commands.list(), "");
    let whole = packed(&[
        ("package/package.json", MANIFEST),
        ("package/ValueSet-wards.json", SET),
        ("package/StructureDefinition-patient.json", PROFILE),
        // Ways out of the folder lead nowhere: nothing is unpacked to files.
        ("package/../../../escaped.json", b"{"),
        ("/package/absolute.json", b"{"),
        ("../package/above.json", b"{"),
    ]);
    let said = commands.add(&commands.file("house.tgz", &whole)).unwrap();
    assert!(said.starts_with("house.rules 1.2.0: 1 profiles\n"), "{said}");
    assert!(said.contains("not checked: urn:house:patient: Patient: h-1"), "{said}");
    let escaped = commands.house.config.home.ancestors().take(4).any(|one| one.join("escaped.json").exists());
    assert!(!escaped);
    assert!(commands.list().starts_with("house.rules 1.2.0 20"), "{}", commands.list());
    // A later version takes its place.
    let later =
        MANIFEST.to_vec().iter().map(|byte| if *byte == b'2' { b'3' } else { *byte }).collect::<Vec<_>>();
    let later = packed(&[("package/package.json", &later), ("package/a.json", SET)]);
    assert_eq!(commands.add(&commands.file("later.tgz", &later)).unwrap(), "house.rules 1.3.0: 0 profiles\n");
    assert_eq!(commands.list().lines().count(), 1);
    assert!(commands.run(&["remove", "house.rules"]).status.success());
    assert_eq!(commands.list(), "");
    let again = commands.run(&["remove", "house.rules"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8(again.stderr).unwrap().contains("package"));
    // Each is in the log, before and after: two that came, two that went (one of them was not there).
    let parts = custodia::host::Parts::open(
        &commands.house.config,
        &custodia::clock::Clock::machine(),
        custodia::host::Presence::Visitor,
        &|_| (),
    )
    .await
    .unwrap();
    let (_, entries) = crate::exported(&parts, custodia::host::Range::default()).await;
    let count = |what: &str| entries.lines().filter(|line| line.contains(what)).count();
    assert_eq!((count("package-add"), count("package-remove")), (4, 4), "{entries}");
    parts.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_package_is_refused_by_command() {
    let commands = Commands::new().await;
    crate::stop(commands.house.start().await).await;
    let large = commands.folder.join("large.tgz");
    fs::File::create(&large).unwrap().set_len(u64::try_from(FILE_BYTES_MAX).unwrap() + 1).unwrap();
    let member = vec![b' '; usize::try_from(ENTRY_BYTES_MAX).unwrap() + 1];
    let manifest = ("package/package.json", MANIFEST);
    let foreign: &[u8] = br#"{"name": "house.rules", "version": "1", "fhirVersions": ["5.0.0"]}"#;
    let mut cut = packed(&[manifest, ("package/a.json", SET)]);
    cut.truncate(cut.len() / 2);
    for (name, path, expected) in [
        ("absent", commands.folder.join("nothing.tgz"), "No such file"),
        ("large", large.clone(), "larger than what is read: the file"),
        (
            "member",
            commands.file("member.tgz", &packed(&[manifest, ("package/a.json", &member)])),
            "one of its files",
        ),
        ("text", commands.file("text.tgz", b"not a gzip"), "not a gzip of a tar archive"),
        ("cut", commands.file("cut.tgz", &cut), "not a gzip of a tar archive"),
        (
            "json",
            commands.file("json.tgz", &packed(&[manifest, ("package/a.json", b"{\"x\":")])),
            "a.json in the package is not JSON",
        ),
        ("unnamed", commands.file("unnamed.tgz", &packed(&[("package/a.json", SET)])), "package.json"),
        (
            "foreign",
            commands
                .file("foreign.tgz", &packed(&[("package/package.json", foreign), ("package/a.json", SET)])),
            "not for FHIR R4",
        ),
        ("empty", commands.file("empty.tgz", &packed(&[manifest])), "no profile"),
    ] {
        let said = commands.add(&path).unwrap_err();
        assert!(said.contains(expected), "{name}: {said}");
        assert!(!said.contains("panicked"), "{name}: {said}");
    }
    assert_eq!(commands.list(), "");
}
