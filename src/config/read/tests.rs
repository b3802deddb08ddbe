#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::PathBuf;

use super::*;
use crate::config::{Level, OldestTls};

/// A folder that goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("custodia-config-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = Folder::new();
    let file = folder.file("custodia.toml", text);
    Config::read(Some(&file), environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())))
}

fn problems(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    match read(text, environment) {
        Ok(_) => panic!("it was taken: {text}"),
        Err(ConfigError::Keys(problems)) => problems.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn nothing_given_is_a_server_on_loopback() {
    let config = Config::read(None, []).unwrap();
    assert_eq!(config.home, PathBuf::from(".custodia"));
    assert!(config.portal.address.ip().is_loopback());
    assert!(config.partners.address.is_none() && config.database.url.is_none());
    assert_eq!(config.keystore_path(), PathBuf::from(".custodia/keystore.json"));
    assert_eq!(config.keystore_key_file(), PathBuf::from(".custodia/keystore.key"));
    assert_eq!(config.watch_folder(), PathBuf::from(".custodia/log"));
    assert_eq!(config.fhir_base(8443), "https://localhost:8443/fhir");
    assert_eq!(config.tokens.lifetime_s, 900);
}

#[test]
fn the_environment_goes_before_the_file_and_the_file_before_the_defaults() {
    let text =
        "[watch]\nlevel = \"debug\"\nkept_days = 7\n[ledger]\nshard = 3\n[portal]\noldest_tls = \"1.2\"";
    let config = read(
        text,
        &[
            ("CUSTODIA_LEDGER_SHARD", "5"),
            ("CUSTODIA_WATCH_METRICS_FROM", "192.0.2.1, ::2"),
            ("CUSTODIA_HOME", "1234"),
            ("CUSTODIA_KEYSTORE_PASSPHRASE", "4711"),
            ("CUSTODIA_BUCKET_SECRET", "0815"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!(config.bucket.secret.unwrap().as_str(), "0815");
    assert_eq!((config.watch.level, config.watch.kept_days, config.ledger.shard), (Level::Debug, 7, 5));
    assert_eq!(config.portal.oldest_tls, OldestTls::Tls12);
    assert_eq!(config.watch.metrics_from.len(), 2);
    assert_eq!(config.home, PathBuf::from("1234"));
    assert_eq!(config.keystore.passphrase.unwrap().as_str(), "4711");
}

#[test]
fn database_url_yields_to_our_own_variable() {
    let (plain, ours) = ("postgres://a@localhost/a", "postgres://b@localhost/b");
    let config = read("", &[("DATABASE_URL", plain)]).unwrap();
    assert_eq!(config.database.url.as_deref(), Some(plain));
    for both in [
        [("DATABASE_URL", plain), ("CUSTODIA_DATABASE_URL", ours)],
        [("CUSTODIA_DATABASE_URL", ours), ("DATABASE_URL", plain)],
    ] {
        assert_eq!(read("", &both).unwrap().database.url.as_deref(), Some(ours));
    }
}

#[test]
fn every_key_is_known_to_the_file_and_to_the_environment() {
    for key in KEYS {
        let (section, name) = key.name.split_once('.').unwrap_or(("", key.name));
        // A boolean fits no key: whatever is said, it is not that the key is unknown.
        let text =
            if section.is_empty() { format!("{name} = true") } else { format!("[{section}]\n{name} = true") };
        let said = problems(&text, &[]);
        assert!(said.iter().all(|line| line.starts_with(key.name) && !line.contains("no key")), "{said:?}");
    }
}

#[test]
fn there_is_no_key_that_the_table_leaves_out() {
    // serde names the keys it knows when it is given one that it does not.
    for section in [
        "",
        "database",
        "keystore",
        "portal",
        "partners",
        "fhir",
        "search",
        "tokens",
        "ledger",
        "bucket",
        "feed",
        "terminology",
        "policies",
        "watch",
        "limits",
    ] {
        let text = if section.is_empty() { "x = 1".to_owned() } else { format!("[{section}]\nx = 1") };
        let errors = Figment::from(Toml::string(&text)).extract::<Config>().err().unwrap();
        let Kind::UnknownField(_, known) = errors.kind else { panic!("{errors}") };
        for field in known {
            let name = if section.is_empty() { (*field).to_owned() } else { format!("{section}.{field}") };
            let is_section = KEYS.iter().any(|key| key.name.starts_with(&format!("{name}.")));
            assert!(is_section || KEYS.iter().any(|key| key.name == name), "{name}");
        }
    }
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    let table: &[(&str, &[&str])] = &[
        ("hme = \"x\"", &["hme: no key has this name"]),
        ("[portal]\ntls = false", &["portal.tls: no key has this name"]),
        ("[keystore]\npassphrase = \"x\"", &["keystore.passphrase: no key has this name"]),
        ("[audit]\nenabled = false", &["audit: no key has this name"]),
        ("home = \"\"", &["home: expected a path"]),
        ("[portal]\naddress = \"here\"", &["portal.address: invalid socket address syntax"]),
        (
            "[portal]\ncertificate = \"/nowhere\"\nkey = \"/nowhere\"",
            &[
                "portal.certificate: expected a file that can be read; there is none at that path",
                "portal.key: expected a file that can be read; there is none at that path",
            ],
        ),
        ("[portal]\noldest_tls = \"1.1\"", &["portal.oldest_tls: expected one of 1.2, 1.3"]),
        (
            "[portal]\naddress = \"0.0.0.0:443\"",
            &[
                "fhir.base: a server that others reach must be told its own URL",
                "ledger.origin: a server that others reach must be told its log's name; it can never change",
            ],
        ),
        (
            "[partners]\naddress = \"127.0.0.1:1\"",
            &[
                "partners: address is given without client_roots; there is no partner door without client certificates",
            ],
        ),
        (
            "[database]\nurl = \"mysql://x\"",
            &["database.url: expected postgres://user:password@host/database"],
        ),
        (
            "[database]\nowner_url = \"postgres://x@localhost/x\"",
            &["database: owner_url is given without url; give both or neither"],
        ),
        (
            "[database]\nurl = \"postgres://x@db.example/x?sslmode=require\"",
            &["database: the URL asks for TLS; set root_certificates to the PEM file of the database's root"],
        ),
        ("[tokens]\nlifetime_s = 901", &["tokens.lifetime_s: expected a number from 30 to 900"]),
        ("[ledger]\nshard = -1", &["ledger.shard: expected a number from 0 to 255"]),
        (
            "[ledger]\norigin = \"a b\"",
            &[
                "ledger.origin: expected a name such as records.example/log, of printable ASCII without spaces and plus signs",
            ],
        ),
        (
            "[bucket]\nname = \"Copies\"\nendpoint = \"http://s3.example\"\nprefix = \"a/../b\"\nsecret = \"x\"",
            &["bucket.secret: no key has this name"],
        ),
        (
            "[bucket]\nname = \"Copies\"\nendpoint = \"http://s3.example\"\nprefix = \"a/../b\"",
            &[
                "bucket.endpoint: expected https://host, or http:// on loopback, without a path",
                "bucket.key_id: a bucket wants an access key: its id here, the key itself in CUSTODIA_BUCKET_SECRET",
                "bucket.name: expected lower-case letters, digits, dots and hyphens",
                "bucket.prefix: expected words with slashes between them",
            ],
        ),
        ("[watch]\nlevel = \"trace\"", &["watch.level: expected one of error, warn, info, debug"]),
        (
            "[terminology]\nserver = \"http://terms.example/r4\"\nat_once = 0",
            &[
                "terminology.at_once: expected a number from 1 to 64",
                "terminology.server: expected https://host/path, or http:// on loopback, without a query",
            ],
        ),
        (
            "[terminology]\nserver = \"https://terms.example/r4?x\"",
            &["terminology.server: expected https://host/path, or http:// on loopback, without a query"],
        ),
        (
            "[limits]\nbody_bytes_max = 16777217",
            &["limits.body_bytes_max: expected a number from 1024 to 16777216"],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(problems(text, &[]), *expected, "{text}");
    }
}

#[test]
fn a_base_is_https_unless_it_is_this_machine() {
    for base in [
        "https://records.example/fhir",
        "http://localhost:8080/fhir",
        "http://[::1]/fhir",
        "https://a.example/custodia/fhir",
        "http://127.0.0.1:1/fhir",
    ] {
        assert!(read(&format!("[fhir]\nbase = \"{base}\""), &[]).is_ok(), "{base}");
    }
    for base in [
        "http://records.example/fhir",
        "http://localhost.example/fhir",
        "records.example",
        "https://",
        "https://a/?b/fhir",
        "https://a",
        "https://a/fhir/",
        "https://user@a/fhir",
        "ftp://a",
    ] {
        let said = problems(&format!("[fhir]\nbase = \"{base}\""), &[]);
        assert!(
            said.iter().all(|line| line.starts_with("fhir.base: expected an https URL")),
            "{base} {said:?}"
        );
    }
}

#[test]
fn the_environment_is_refused_by_name() {
    for (variable, value, expected) in [
        ("CUSTODIA_TLS", "off", "CUSTODIA_TLS: no key has this name"),
        ("CUSTODIA_LEDGER_SHARD", "one", "CUSTODIA_LEDGER_SHARD: expected a whole number"),
        ("CUSTODIA_PORTAL_ADDRESS", "x", "portal.address: invalid socket address syntax"),
    ] {
        assert_eq!(problems("", &[(variable, value)]), [expected]);
    }
    let both = [("CUSTODIA_KEYSTORE_PASSPHRASE", "x"), ("CUSTODIA_KEYSTORE_KEY_FILE", "y")];
    assert_eq!(problems("", &both), ["keystore.key_file: a passphrase is given as well; use one of them"]);
}

#[test]
fn a_refusal_never_quotes_a_value() {
    let secret = "postgres://u:hunter2@db.example/x";
    for text in [
        format!("[portal]\naddress = \"{secret}\""),
        format!("[limits]\nbody_ms = \"{secret}\""),
        format!("[database]\nurl = [\"{secret}\"]"),
        format!("[watch]\nlevel = \"{secret}\""),
    ] {
        assert!(!problems(&text, &[]).concat().contains("hunter2"), "{text}");
    }
}

#[test]
fn a_file_that_is_not_there_or_too_long_is_refused() {
    assert!(matches!(Config::read(Some(Path::new("/nowhere.toml")), []), Err(ConfigError::Read { .. })));
    let variable = [("CUSTODIA_CONFIG".to_owned(), "/nowhere.toml".to_owned())];
    assert!(matches!(Config::read(None, variable), Err(ConfigError::Read { .. })));
    let folder = Folder::new();
    let most = usize::try_from(FILE_BYTES_MAX).unwrap();
    let file = folder.file("most.toml", &"#".repeat(most));
    assert!(Config::read(Some(&file), []).is_ok());
    let file = folder.file("over.toml", &"#".repeat(most + 1));
    assert!(matches!(Config::read(Some(&file), []), Err(ConfigError::TooLong { .. })));
}
