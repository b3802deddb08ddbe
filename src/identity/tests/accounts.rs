//! Accounts, certificates and passwords.

use chrono::Duration;
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Forger;
use crate::{
    identity::{
        account::{Account, AccountError, Credentials, LookupName, Profile, Thumbprint},
        caller::{CallerKind, Contract, Purpose},
        jws::JwsAlgorithm,
        keys::KeySet,
        partner::{self, AdmitError},
        password::{self, PasswordError, PasswordGate, PasswordHash, SignInRefused},
        testing::{Sketch, account, caller, noon, profile},
    },
    refusal::Refusal,
    tenant::TenantId,
};

const PASSWORD: &str = "correct horse battery";

fn person() -> Account {
    account("asha@north", Credentials::User { password: PasswordHash::make(PASSWORD).unwrap() })
}

fn contract() -> Contract {
    Contract { reads: vec!["Patient".to_owned()], writes: vec!["Observation".to_owned()] }
}

fn of_partner(thumbprints: &[[u8; 32]], contract: Contract) -> Credentials {
    Credentials::Partner { thumbprints: thumbprints.iter().copied().map(Thumbprint).collect(), contract }
}

#[test]
fn an_account_is_read_as_it_was_written() {
    let (forger, _) = Forger::new(JwsAlgorithm::Es256);
    let mut locked = person();
    for _ in 0..10 {
        locked.failures.record(noon());
    }
    let accounts = [
        locked,
        account("backend", Credentials::Service { keys: KeySet::of(vec![forger.public()]) }),
        account("lab", of_partner(&[[1; 32], [2; 32]], contract())),
    ];
    for account in accounts {
        let json = account.to_json().unwrap();
        let again = Account::from_json(&json).unwrap();
        assert_eq!(again.to_json().unwrap(), json);
        assert_eq!((again.kind(), again.failures.clone()), (account.kind(), account.failures.clone()));
        let written: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(
            (&written["version"], &written["profile"]["default_purpose"]),
            (&json!(1), &json!("TREAT"))
        );
    }
}

#[test]
fn an_account_of_another_version_or_shape_is_not_read() {
    let written: Value = serde_json::from_slice(&person().to_json().unwrap()).unwrap();
    let read = |change: fn(&mut Value)| {
        let mut json = written.clone();
        change(&mut json);
        Account::from_json(json.to_string().as_bytes()).err().map(|error| error.to_string())
    };
    let malformed = Some("not the JSON of an account".to_owned());
    assert_eq!(read(|_| ()), None);
    assert_eq!(read(|a| a["version"] = json!(2)), Some(AccountError::Version.to_string()));
    assert_eq!(read(|a| a["more"] = json!(1)), malformed);
    assert_eq!(read(|a| a["profile"]["more"] = json!(1)), malformed);
    assert_eq!(read(|a| a["credentials"]["user"]["password"] = json!("plain")), malformed);
    assert_eq!(
        read(|a| a["profile"]["tenant"] = json!(0)),
        Some("the account is not valid: tenant: expected a tenant number above 0".to_owned())
    );
    assert!(matches!(Account::from_json(&vec![b' '; 256 * 1024 + 1]), Err(AccountError::Malformed)));
}

#[test]
fn a_profile_that_breaks_a_rule_is_refused_by_the_name_of_the_rule() {
    type Change = fn(&mut Profile);
    let cases: [(Change, &str); 15] = [
        (|p| p.tenant = TenantId(-1), "tenant: expected a tenant number above 0"),
        (|p| p.tenant_name.clear(), "tenant_name: length"),
        (|p| p.name = "n".repeat(129), "name: length"),
        (|p| p.name = "Asha".to_owned(), "name: expected lower-case letters, digits and . _ @ -"),
        (|p| p.name = "a:b".to_owned(), "name: expected lower-case letters, digits and . _ @ -"),
        (|p| p.roles = vec!["r".to_owned(); 17], "roles: length"),
        (|p| p.roles = vec![String::new()], "roles: expected lower-case words of at most 64 characters"),
        (|p| p.organisation = Some("a\nb".to_owned()), "organisation: non_control_character"),
        (|p| p.organisation = Some("o".repeat(257)), "organisation: length"),
        (
            |p| p.practitioner = Some("p-1".to_owned()),
            "practitioner: expected Practitioner/ and a logical id",
        ),
        (
            |p| p.practitioner = Some("Patient/1".to_owned()),
            "practitioner: expected Practitioner/ and a logical id",
        ),
        (
            |p| p.scopes = "user/Patient.read".to_owned(),
            "scopes: expected at most 256 SMART v2 resource scopes",
        ),
        (
            |p| p.scopes = "user/Patient.r ".repeat(257),
            "scopes: expected at most 256 SMART v2 resource scopes",
        ),
        (|p| p.purposes.clear(), "purposes: length"),
        (|p| p.default_purpose = Purpose::Audit, "__all__: the default purpose is not among the purposes"),
    ];
    let password = PasswordHash::make(PASSWORD).unwrap();
    for (change, rule) in cases {
        let mut profile = profile("asha@north");
        change(&mut profile);
        let credentials = Credentials::User { password: password.clone() };
        let error = Account::register(Uuid::nil(), noon(), profile, credentials).err().unwrap().to_string();
        assert!(error.contains(rule), "expected {rule:?} in {error:?}");
    }
}

#[test]
fn a_partner_needs_certificates_and_a_contract_over_types_that_exist() {
    let strange = Contract { reads: vec!["Person2".to_owned()], ..contract() };
    let many: Vec<[u8; 32]> = (0..17).map(|n| [n; 32]).collect();
    for (credentials, valid) in [
        (of_partner(&many[..16], contract()), true),
        (of_partner(&many, contract()), false),
        (of_partner(&[], contract()), false),
        (of_partner(&[[1; 32], [1; 32]], contract()), false),
        (of_partner(&[[1; 32]], strange), false),
    ] {
        let registered = Account::register(Uuid::nil(), noon(), profile("lab"), credentials);
        assert_eq!(registered.is_ok(), valid);
    }
}

#[test]
fn lookup_names_of_different_kinds_never_meet() {
    assert_eq!(person().lookup_names()[0].as_bytes(), b"user:asha@north");
    assert!(LookupName::user("ASHA@north") == LookupName::user("asha@NORTH"));
    assert!(LookupName::user("x") != LookupName::service("x"));
    let names = account("lab", of_partner(&[[0xAB; 32], [1; 32]], contract())).lookup_names();
    assert_eq!(names[0].as_bytes(), format!("partner:{}", "ab".repeat(32)).as_bytes());
    assert!(names[1] == LookupName::partner([1; 32]));
}

#[test]
fn thumbprints_are_64_hex_digits_with_or_without_colons() {
    let plain = "0f".repeat(32);
    assert_eq!(Thumbprint::parse(&plain).unwrap().to_string(), plain);
    let colons = vec!["0F"; 32].join(":");
    assert!(Thumbprint::parse(&colons) == Thumbprint::parse(&plain));
    for wrong in ["", "0f", &"0".repeat(63), &format!("{plain}0"), &format!("{plain}00"), &"0g".repeat(32)] {
        assert!(Thumbprint::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn a_partner_is_admitted_by_its_certificate_alone() {
    let mut lab = account("lab", of_partner(&[[1; 32], [2; 32]], contract()));
    let admitted = partner::admit(&lab, [2; 32], Some(Purpose::Operations), None).unwrap();
    assert_eq!((admitted.kind(), admitted.tenant().0, admitted.name()), (CallerKind::Partner, 7, "lab"));
    assert_eq!((admitted.contract(), admitted.thumbprint()), (Some(&contract()), Some([2; 32])));
    assert_eq!((admitted.purpose(), admitted.token_id()), (Purpose::Operations, None));

    let refused =
        |account: &Account, thumbprint, purpose| partner::admit(account, thumbprint, purpose, None).err();
    assert_eq!(refused(&lab, [3; 32], None), Some(AdmitError::Certificate));
    assert_eq!(refused(&lab, [1; 32], Some(Purpose::Emergency)), Some(AdmitError::Purpose));
    assert_eq!(refused(&person(), [1; 32], None), Some(AdmitError::NoPartner));
    lab.profile.disabled = true;
    assert_eq!(refused(&lab, [1; 32], None), Some(AdmitError::Disabled));
    assert_eq!(Refusal::from(AdmitError::Disabled).status(), 401);
}

#[test]
fn a_sketched_caller_has_what_the_sketch_says() {
    let sketch = Sketch { kind: CallerKind::Partner, contract: Some(contract()), ..Sketch::default() };
    let caller = caller(sketch);
    assert_eq!(
        (caller.kind(), caller.contract(), caller.actor()),
        (CallerKind::Partner, Some(&contract()), None)
    );
}

#[test]
fn passwords_are_hashed_with_the_parameters_of_the_house() {
    let hash = PasswordHash::make(PASSWORD).unwrap();
    let phc = String::from(hash.clone());
    assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
    assert_ne!(phc, String::from(PasswordHash::make(PASSWORD).unwrap()), "the salt is fresh");
    assert_eq!(password::verify(PASSWORD, Some(&hash)), Ok(true));
    assert_eq!(password::verify("correct horse batterz", Some(&hash)), Ok(false));
    assert_eq!(password::verify(PASSWORD, None), Ok(false));
    assert_eq!(password::verify(&"x".repeat(1025), Some(&hash)), Ok(false));
    for wrong in ["eleven char", &"x".repeat(1025)] {
        assert_eq!(PasswordHash::make(wrong).err(), Some(PasswordError::Length));
    }
    for wrong in [
        PASSWORD.to_owned(),
        phc.replace("argon2id", "argon2i"),
        phc.replace("m=19456", "m=65537"),
        phc.replace("t=2", "t=9"),
        phc.rsplit_once('$').unwrap().0.to_owned(),
    ] {
        assert_eq!(PasswordHash::parse(wrong.clone()).err(), Some(PasswordError::Phc), "{wrong}");
    }
}

#[tokio::test]
async fn signing_in_counts_failures_locks_and_unlocks() {
    let gate = PasswordGate::new(2, 2);
    let (right, wrong) = (|| Zeroizing::new(PASSWORD.to_owned()), || Zeroizing::new("wrong".to_owned()));
    let mut asha = person();
    let nobody = gate.sign_in(None, right(), noon()).await.unwrap();
    assert_eq!((nobody.outcome, nobody.changed), (Err(SignInRefused::Unknown), false));
    let first = gate.sign_in(Some(&mut asha), right(), noon()).await.unwrap();
    assert_eq!((first.outcome, first.changed), (Ok(()), false));
    for n in 1..=9 {
        let failed = gate.sign_in(Some(&mut asha), wrong(), noon()).await.unwrap();
        assert_eq!((failed.outcome, failed.changed), (Err(SignInRefused::Wrong), true), "failure {n}");
    }
    let tenth = gate.sign_in(Some(&mut asha), wrong(), noon()).await.unwrap();
    assert_eq!(tenth.outcome, Err(SignInRefused::WrongAndLocked));
    let locked = gate.sign_in(Some(&mut asha), right(), noon()).await.unwrap();
    assert_eq!((locked.outcome, locked.changed), (Err(SignInRefused::Locked), false));
    let later = noon() + Duration::minutes(15);
    let unlocked = gate.sign_in(Some(&mut asha), right(), later).await.unwrap();
    assert_eq!((unlocked.outcome, unlocked.changed), (Ok(()), true));
    asha.profile.disabled = true;
    let disabled = gate.sign_in(Some(&mut asha), right(), later).await.unwrap();
    assert_eq!(disabled.outcome, Err(SignInRefused::Disabled));
    let mut lab = account("lab", of_partner(&[[1; 32]], contract()));
    let partner = gate.sign_in(Some(&mut lab), right(), later).await.unwrap();
    assert_eq!(partner.outcome, Err(SignInRefused::Unknown));

    let told = |why| Refusal::from(why).into_answer().body;
    for why in [SignInRefused::Disabled, SignInRefused::Locked, SignInRefused::WrongAndLocked] {
        assert_eq!(told(why), told(SignInRefused::Unknown), "the caller cannot tell {why}");
    }
    assert_eq!(Refusal::from(SignInRefused::Locked).code(), "invalid_grant");
    assert_eq!(Refusal::from(PasswordError::Busy).status(), 429);
    assert_eq!(Refusal::from(PasswordError::Failed).status(), 500);
}

#[tokio::test]
async fn one_sign_in_more_than_the_gate_holds_is_turned_away_at_once() {
    let gate = PasswordGate::new(1, 1);
    let check = || gate.verify(Zeroizing::new(PASSWORD.to_owned()), None);
    let (first, second, third) = tokio::join!(check(), check(), check());
    assert_eq!((first, second, third), (Ok(false), Ok(false), Err(PasswordError::Busy)));
    assert_eq!(check().await, Ok(false), "there is room again");
}
