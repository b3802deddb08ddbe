//! Client assertions: accepted from the registered key alone, and their jti handed on.

use serde_json::{Value, json};

use super::{BASE64URL, Engine, Forger, unsigned};
use crate::{
    identity::{
        account::{Account, Credentials},
        assertion::{self, Assertion, AssertionError},
        jws::JwsAlgorithm,
        keys::{KeyError, KeySet, PublicKey},
        password::PasswordHash,
        testing::{account, noon},
    },
    refusal::Refusal,
};

const ENDPOINT: &str = "https://custodia.example/oauth/token";
/// A key made for this test, and an assertion openssl signed with it: ring's own RSA would prove less.
const RSA_MODULUS: &str = concat!(
    "0OHjYB8vGeIJJJRZ6DkqSo1EiWDF82_9vX57LhAh1cl9dql8sNVvplad4mVUgzAqrboUmHF9wvEFIl0jXwjASI4zvxFaTdBxUAps6VDN",
    "YvfSwfLv3yHkKW6O5YATZd5Giv0MAMtl0hSAVgsNtKu86DoAMNAoKP_WY2KkqL3qAdvs6RAiaqYLz9hb1_6thDytjnIdQKORghj4iCtI",
    "3H6AhlPrPsOkPJfMz_Vk8rmxf9TMIB5G8w6hnb2JPnSrOevX4SIjsD5DenofpevdmKrrWDjIyy7pvpP16DOrI6ZeqBqEYCAOR0myrB_S",
    "MDFTFLW5uYVWhMSMPg8h4sZqLMtUEQ",
);
const RSA_ASSERTION: &str = concat!(
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzM4NCIsImtpZCI6InJzYS0xIn0.",
    "eyJpc3MiOiJiYWNrZW5kIiwic3ViIjoiYmFja2VuZCIsImF1ZCI6Imh0dHBzOi8vY3VzdG9kaWEuZXhhbXBsZS9vYXV0aC90b2tlbiIs",
    "ImV4cCI6MTgwMDAwMDI0MCwianRpIjoicnMtMzg0LW9uY2UifQ.",
    "vXejkKJpevM7koiueLWWnpvkcClNzKfBwilRcZusZq2Lmxjl1u7xAe1gwmTn13tooIVIelUD-LZHzueodKA4PZYPdGE7b2DMyO7_0TMC",
    "fWXmR1kxIVPjowuwZwGjwB1JIxWixgsKN2OJ9xFkk-GoEZxPWXayAsdT4L6YLOIYLKUdt9HgjTWYSgkjhJrV50mY9ZHMKdtzDQIgzPGT",
    "udHtLNCLqfHHb4Q3Hvwg6oqBLaJmkplCWbVk7RELrx6e02Eci-sQmeM5eZDBmYcIf6VJV6-kTXt3Fm_PpsPAhIbFDBtBQEe9DkHos6hO",
    "ULkLZkV42xM-ARbgDYibljgKyOI_Gw",
);

fn client(algorithm: JwsAlgorithm) -> (Forger, Account) {
    let (forger, _) = Forger::new(algorithm);
    let keys = KeySet::of(vec![forger.public()]);
    (forger, account("backend", Credentials::Service { keys }))
}

fn claims() -> Value {
    json!({
        "iss": "backend", "sub": "backend", "aud": ENDPOINT, "jti": "once",
        "exp": noon().timestamp() + 240, "iat": noon().timestamp(),
    })
}

fn verdict(assertion: &str, account: &Account) -> Result<Assertion, AssertionError> {
    assertion::verify(assertion, account, ENDPOINT, noon())
}

fn rsa_key() -> Value {
    json!({ "kid": "rsa-1", "kty": "RSA", "alg": "RS384", "use": "sig", "n": RSA_MODULUS, "e": "AQAB" })
}

#[test]
fn an_assertion_of_the_registered_key_is_accepted_and_its_jti_handed_on() {
    for algorithm in [JwsAlgorithm::EdDsa, JwsAlgorithm::Es256, JwsAlgorithm::Es384] {
        let (forger, account) = client(algorithm);
        let assertion = forger.sign(&forger.header("JWT"), &claims());
        assert_eq!(assertion::claimed_client(&assertion).unwrap(), "backend");
        let accepted = verdict(&assertion, &account).unwrap();
        assert_eq!((accepted.jti.as_str(), accepted.expires.timestamp()), ("once", 1_800_000_240));
        assert_eq!(verdict(&assertion, &account).unwrap(), accepted, "a replay shows by its jti alone");
    }
}

#[test]
fn an_rs384_assertion_signed_elsewhere_is_accepted() {
    let keys = KeySet::parse(json!({ "keys": [rsa_key()] }).to_string().as_bytes()).unwrap();
    let account = account("backend", Credentials::Service { keys });
    assert_eq!(verdict(RSA_ASSERTION, &account).unwrap().jti, "rs-384-once");
    let changed = RSA_ASSERTION.replace(".vXej", ".vXek");
    assert_eq!(verdict(&changed, &account).err(), Some(AssertionError::Signature));
}

#[test]
fn an_assertion_with_any_claim_or_header_wrong_is_refused_for_that() {
    type Change = fn(&mut Value, &mut Value);
    let cases: [(&str, Change, Option<AssertionError>); 21] = [
        ("nothing changed", |_, _| (), None),
        ("no typ", |h, _| drop(h.as_object_mut().unwrap().remove("typ")), None),
        ("one of several audiences", |_, c| c["aud"] = json!(["x", ENDPOINT]), None),
        ("another iss", |_, c| c["iss"] = json!("other"), Some(AssertionError::Client)),
        ("another sub", |_, c| c["sub"] = json!("other"), Some(AssertionError::Client)),
        (
            "both another",
            |_, c| (c["iss"], c["sub"]) = (json!("o"), json!("o")),
            Some(AssertionError::Client),
        ),
        ("another aud", |_, c| c["aud"] = json!("https://custodia.example"), Some(AssertionError::Audience)),
        ("no aud", |_, c| drop(c.as_object_mut().unwrap().remove("aud")), Some(AssertionError::Malformed)),
        ("expired", |_, c| c["exp"] = json!(1_800_000_000), Some(AssertionError::Expired)),
        ("five minutes ahead", |_, c| c["exp"] = json!(1_800_000_305), None),
        ("further ahead", |_, c| c["exp"] = json!(1_800_000_306), Some(AssertionError::TooFarAhead)),
        ("no exp", |_, c| drop(c.as_object_mut().unwrap().remove("exp")), Some(AssertionError::Malformed)),
        ("future nbf", |_, c| c["nbf"] = json!(1_800_000_060), Some(AssertionError::NotYet)),
        ("future iat", |_, c| c["iat"] = json!(1_800_000_060), Some(AssertionError::NotYet)),
        ("no jti", |_, c| drop(c.as_object_mut().unwrap().remove("jti")), Some(AssertionError::Malformed)),
        ("empty jti", |_, c| c["jti"] = json!(""), Some(AssertionError::Jti)),
        ("jti at the bound", |_, c| c["jti"] = json!("j".repeat(128)), None),
        ("jti over the bound", |_, c| c["jti"] = json!("j".repeat(129)), Some(AssertionError::Jti)),
        ("an access token", |h, _| h["typ"] = json!("at+jwt"), Some(AssertionError::Malformed)),
        ("unknown kid", |h, _| h["kid"] = json!("other"), Some(AssertionError::UnknownKey)),
        ("no kid", |h, _| drop(h.as_object_mut().unwrap().remove("kid")), Some(AssertionError::UnknownKey)),
    ];
    let (forger, account) = client(JwsAlgorithm::Es384);
    for (name, change, expected) in cases {
        let (mut header, mut claims) = (forger.header("JWT"), claims());
        change(&mut header, &mut claims);
        assert_eq!(verdict(&forger.sign(&header, &claims), &account).err(), expected, "{name}");
    }
}

#[test]
fn keys_of_others_and_other_algorithms_are_refused() {
    let (_, account) = client(JwsAlgorithm::Es384);
    let kid = |forger: &Forger, alg: &str| {
        let Credentials::Service { keys } = &account.credentials else { unreachable!("a service") };
        let mut header = forger.header("JWT");
        header["kid"] = keys.to_json()["keys"][0]["kid"].clone();
        header["alg"] = json!(alg);
        header
    };
    let (same_kind, _) = Forger::new(JwsAlgorithm::Es384);
    let (other_kind, _) = Forger::new(JwsAlgorithm::EdDsa);
    let cases = [
        (same_kind.sign(&kid(&same_kind, "ES384"), &claims()), AssertionError::Signature),
        (other_kind.sign(&kid(&other_kind, "ES384"), &claims()), AssertionError::Signature),
        (other_kind.sign(&kid(&other_kind, "EdDSA"), &claims()), AssertionError::Algorithm),
        (other_kind.sign(&kid(&other_kind, "HS256"), &claims()), AssertionError::Algorithm),
        (format!("{}.", unsigned(&kid(&other_kind, "none"), &claims())), AssertionError::Malformed),
        ("a".repeat(8193), AssertionError::TooLarge),
    ];
    for (assertion, expected) in cases {
        assert_eq!(verdict(&assertion, &account).err(), Some(expected));
    }
}

#[test]
fn only_an_enabled_service_authenticates_by_assertion() {
    let (forger, mut service) = client(JwsAlgorithm::EdDsa);
    let assertion = forger.sign(&forger.header("JWT"), &claims());
    service.profile.disabled = true;
    assert_eq!(verdict(&assertion, &service).err(), Some(AssertionError::Account));
    let password = PasswordHash::make("correct horse battery").unwrap();
    let person = account("backend", Credentials::User { password });
    assert_eq!(verdict(&assertion, &person).err(), Some(AssertionError::Account));
    assert_eq!(Refusal::from(AssertionError::Account).status(), 401);
}

#[test]
fn keys_that_are_weak_private_or_unknown_are_not_registered() {
    let (forger, _) = Forger::new(JwsAlgorithm::Es256);
    let good = forger.public().to_jwk();
    assert!(PublicKey::from_jwk(good.clone()).unwrap() == forger.public(), "what we write we read");
    let with = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    let modulus = |bytes: usize| json!(BASE64URL.encode(vec![0xFF; bytes]));
    let cases = [
        ("private", with(&good, "d", json!("AAAA")), KeyError::Private),
        ("symmetric", json!({ "kid": "k", "kty": "oct", "k": "AAAA" }), KeyError::Private),
        ("no kid", json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }), KeyError::KeyId),
        ("long kid", with(&good, "kid", json!("k".repeat(129))), KeyError::KeyId),
        ("curve", with(&good, "crv", json!("P-521")), KeyError::Unsupported),
        ("unknown curve", with(&good, "crv", json!("secp256k1")), KeyError::Unsupported),
        ("other alg", with(&good, "alg", json!("HS256")), KeyError::Unsupported),
        ("for encryption", with(&good, "use", json!("enc")), KeyError::Use),
        ("short x", with(&good, "x", json!("AAAA")), KeyError::Size),
        ("RSA 1024", with(&rsa_key(), "n", modulus(128)), KeyError::Size),
        ("RSA 2047", with(&rsa_key(), "n", json!(BASE64URL.encode([0x7F; 256]))), KeyError::Size),
        ("RSA 4104", with(&rsa_key(), "n", modulus(513)), KeyError::Size),
        ("exponent 1", with(&rsa_key(), "e", json!("AQ")), KeyError::Size),
        ("even exponent", with(&rsa_key(), "e", json!("AQAA")), KeyError::Size),
        ("RS256", with(&rsa_key(), "alg", json!("RS256")), KeyError::Unsupported),
    ];
    for (name, jwk, expected) in cases {
        assert_eq!(PublicKey::from_jwk(jwk).err(), Some(expected), "{name}");
    }
    assert!(PublicKey::from_jwk(with(&rsa_key(), "n", modulus(512))).is_ok(), "RSA 4096");
}

#[test]
fn key_sets_are_bounded_and_name_each_key_once() {
    let (forger, _) = Forger::new(JwsAlgorithm::EdDsa);
    let numbered = |count: usize| {
        let keys: Vec<Value> = (0..count)
            .map(|n| {
                let mut jwk = forger.public().to_jwk();
                jwk["kid"] = json!(format!("k{n}"));
                jwk
            })
            .collect();
        json!({ "keys": keys }).to_string().into_bytes()
    };
    assert!(KeySet::parse(&numbered(16)).is_ok());
    let twice = json!({ "keys": [forger.public().to_jwk(), forger.public().to_jwk()] }).to_string();
    let cases = [
        (numbered(17), KeyError::Count),
        (numbered(0), KeyError::Count),
        (b"{}".to_vec(), KeyError::Malformed),
        (b"[".to_vec(), KeyError::Malformed),
        (vec![b' '; 64 * 1024 + 1], KeyError::TooLarge),
        (twice.into_bytes(), KeyError::KeyId),
    ];
    for (jwks, expected) in cases {
        assert_eq!(KeySet::parse(&jwks).err(), Some(expected));
    }
}
