//! Access tokens: what is minted is accepted, and nothing else is.

use std::sync::Arc;

use chrono::Duration;
use ring::hmac;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{BASE64URL, Engine, Forger, part, unsigned};
use crate::{
    clock::Clock,
    fhir::kinds::ResourceType,
    identity::{
        account::{Account, Credentials},
        caller::{CallerKind, Purpose},
        jws::{JwsAlgorithm, TOKEN_BYTES_MAX},
        keys::KeySet,
        mint::{MintError, Terms, TokenIssuer},
        scope::{Letter, Scopes},
        signing::{SigningError, TokenSigner},
        testing::{account, noon},
        token::{TokenError, TokenVerifier},
    },
};

const ISSUER: &str = "https://custodia.example";
const AUDIENCE: &str = "https://custodia.example/fhir";
const CERTIFICATE: [u8; 32] = [7; 32];

struct House {
    forger: Forger,
    issuer: TokenIssuer,
    verifier: TokenVerifier,
    account: Account,
    clock: Clock,
}

fn house(algorithm: JwsAlgorithm) -> House {
    let (forger, pkcs8) = Forger::new(algorithm);
    let issuer = TokenIssuer::new(TokenSigner::from_pkcs8(&pkcs8).unwrap(), ISSUER, AUDIENCE);
    let verifier = issuer.verifier([]);
    let account = account("backend", Credentials::Service { keys: KeySet::of(vec![forger.public()]) });
    House { forger, issuer, verifier, account, clock: Clock::fixed(noon()) }
}

fn terms() -> Terms<'static> {
    Terms {
        client: "backend",
        scopes: None,
        purpose: None,
        actor: Some(Uuid::from_u128(9)),
        binding: None,
        lifetime: Duration::minutes(5),
    }
}

impl House {
    fn mint(&self, terms: &Terms<'_>) -> String {
        self.issuer.mint(&self.account, terms, &self.clock).unwrap().token
    }

    fn verdict(&self, token: &str) -> Option<TokenError> {
        self.verifier.verify(token, self.clock.now(), None).err()
    }

    /// A good token with its header and claims changed, signed again by the server's own key.
    fn forged(&self, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let token = self.mint(&terms());
        let (mut header, mut claims) = (part(&token, 0), part(&token, 1));
        change(&mut header, &mut claims);
        self.forger.sign(&header, &claims)
    }
}

#[test]
fn a_minted_token_gives_back_the_caller_it_was_minted_for() {
    for algorithm in [JwsAlgorithm::EdDsa, JwsAlgorithm::Es256] {
        let house = house(algorithm);
        let minted = house.issuer.mint(&house.account, &terms(), &house.clock).unwrap();
        let caller = house.verifier.verify(&minted.token, noon(), None).unwrap();
        assert_eq!((caller.tenant().0, caller.tenant_name()), (7, "north"));
        assert_eq!((caller.kind(), caller.account()), (CallerKind::Service, house.account.id));
        assert_eq!((caller.name(), caller.roles()), ("backend", &["physician".to_owned()][..]));
        assert_eq!((caller.actor(), caller.organisation()), (Some(Uuid::from_u128(9)), Some("North Clinic")));
        assert_eq!(caller.scopes().to_string(), house.account.profile.scopes);
        assert_eq!((caller.purpose(), caller.client()), (Purpose::Treat, Some("backend")));
        assert_eq!((caller.token_id(), caller.thumbprint()), (Some(minted.jti), None));
        assert!(caller.contract().is_none());
        assert_eq!(part(&minted.token, 0)["typ"], "at+jwt");
    }
}

#[test]
fn a_token_with_any_claim_or_header_wrong_is_refused_for_that() {
    type Change = fn(&mut Value, &mut Value);
    let now = noon().timestamp();
    assert_eq!(now, 1_800_000_000, "the literals below stand on it");
    let cases: [(&str, Change, Option<TokenError>); 16] = [
        ("nothing changed", |_, _| (), None),
        ("wrong issuer", |_, c| c["iss"] = json!("https://elsewhere.example"), Some(TokenError::Issuer)),
        ("wrong audience", |_, c| c["aud"] = json!("https://custodia.example"), Some(TokenError::Audience)),
        ("several audiences", |_, c| c["aud"] = json!([AUDIENCE]), Some(TokenError::Malformed)),
        ("expired this second", |_, c| c["exp"] = json!(1_800_000_000), Some(TokenError::Expired)),
        ("one second left", |_, c| c["exp"] = json!(1_800_000_001), None),
        ("nbf beyond the skew", |_, c| c["nbf"] = json!(1_800_000_006), Some(TokenError::NotYet)),
        ("nbf within the skew", |_, c| c["nbf"] = json!(1_800_000_005), None),
        ("16 minutes long", |_, c| c["exp"] = json!(1_800_000_960), Some(TokenError::Lifetime)),
        ("no exp", |_, c| drop(c.as_object_mut().unwrap().remove("exp")), Some(TokenError::Malformed)),
        ("exp a string", |_, c| c["exp"] = json!("1800000100"), Some(TokenError::Malformed)),
        (
            "unknown purpose",
            |_, c| c["urn:custodia:caller"]["purpose"] = json!("FUN"),
            Some(TokenError::Malformed),
        ),
        ("another type", |h, _| h["typ"] = json!("JWT"), Some(TokenError::Malformed)),
        ("no kid", |h, _| drop(h.as_object_mut().unwrap().remove("kid")), Some(TokenError::UnknownKey)),
        ("unknown kid", |h, _| h["kid"] = json!("another"), Some(TokenError::UnknownKey)),
        ("critical extension", |h, _| h["crit"] = json!(["exp"]), Some(TokenError::Malformed)),
    ];
    for algorithm in [JwsAlgorithm::EdDsa, JwsAlgorithm::Es256] {
        let house = house(algorithm);
        for (name, change, expected) in cases {
            assert_eq!(house.verdict(&house.forged(change)), expected, "{name}");
        }
    }
}

#[test]
fn a_token_with_one_bit_changed_anywhere_is_refused() {
    let house = house(JwsAlgorithm::EdDsa);
    let token = house.mint(&terms());
    assert_eq!(house.verdict(&token), None);
    for index in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[index] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        assert!(house.verdict(&changed).is_some(), "byte {index}");
    }
}

#[test]
fn claims_under_another_tokens_signature_are_refused() {
    let house = house(JwsAlgorithm::EdDsa);
    let token = house.mint(&terms());
    let (input, signature) = token.rsplit_once('.').unwrap();
    let mut claims = part(input, 1);
    claims["urn:custodia:caller"]["tenant"] = json!(8);
    let forged = format!("{}.{signature}", unsigned(&part(input, 0), &claims));
    assert_eq!(house.verdict(&forged), Some(TokenError::Signature));
}

#[test]
fn algorithms_and_keys_cannot_be_confused() {
    let house = house(JwsAlgorithm::Es256);
    let token = house.mint(&terms());
    let (header, claims) = (part(&token, 0), part(&token, 1));
    let with_alg = |alg: &str| {
        let mut header = header.clone();
        header["alg"] = json!(alg);
        unsigned(&header, &claims)
    };

    let none = with_alg("none");
    for token in [format!("{none}."), format!("{none}.AAAA")] {
        assert_eq!(house.verdict(&token), Some(TokenError::Malformed), "alg none");
    }

    // HS256 with everything an attacker could take for the secret: point, JWK, and what stands in `x`.
    let jwk = house.forger.public().to_jwk();
    let x = jwk["x"].as_str().unwrap();
    for secret in [jwk.to_string().into_bytes(), x.as_bytes().to_vec(), BASE64URL.decode(x).unwrap()] {
        let input = with_alg("HS256");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), input.as_bytes());
        let token = format!("{input}.{}", BASE64URL.encode(tag));
        assert_eq!(house.verdict(&token), Some(TokenError::Algorithm), "HS256 with the public key");
    }

    // The kid of our key, the algorithm and signature of another; and our algorithm with another's signature.
    let (stranger, _) = Forger::new(JwsAlgorithm::EdDsa);
    let mut header_of_stranger = stranger.header("at+jwt");
    header_of_stranger["kid"] = header["kid"].clone();
    assert_eq!(house.verdict(&stranger.sign(&header_of_stranger, &claims)), Some(TokenError::Algorithm));
    let (stranger, _) = Forger::new(JwsAlgorithm::Es256);
    assert_eq!(house.verdict(&stranger.sign(&header, &claims)), Some(TokenError::Signature));
    // A key that travels in the header counts for nothing.
    let mut header = stranger.header("at+jwt");
    header["jwk"] = stranger.public().to_jwk();
    assert_eq!(house.verdict(&stranger.sign(&header, &claims)), Some(TokenError::UnknownKey));
}

#[test]
fn a_token_over_the_bound_is_refused_unread_and_never_minted() {
    let mut house = house(JwsAlgorithm::EdDsa);
    assert_eq!(house.verdict(&"a".repeat(TOKEN_BYTES_MAX + 1)), Some(TokenError::TooLarge));
    assert_eq!(house.verdict(&"a".repeat(TOKEN_BYTES_MAX)), Some(TokenError::Malformed));
    house.account.profile.organisation = Some("x".repeat(TOKEN_BYTES_MAX));
    let minted = house.issuer.mint(&house.account, &terms(), &house.clock);
    assert_eq!(minted.err(), Some(MintError::TooLarge));
}

#[test]
fn a_remembered_token_is_not_served_from_the_second_it_expires() {
    let house = house(JwsAlgorithm::EdDsa);
    let token = house.mint(&terms());
    let first = house.verifier.verify(&token, house.clock.now(), None).unwrap();
    house.clock.advance(Duration::seconds(299));
    let second = house.verifier.verify(&token, house.clock.now(), None).unwrap();
    assert!(Arc::ptr_eq(&first, &second), "it came from the cache");
    house.clock.advance(Duration::seconds(1));
    assert_eq!(house.verdict(&token), Some(TokenError::Expired));
    assert_eq!(house.verdict(&token), Some(TokenError::Expired), "forgotten, and still expired");
}

#[test]
fn a_bound_token_is_worth_nothing_without_its_certificate() {
    let house = house(JwsAlgorithm::EdDsa);
    let token = house.mint(&Terms { binding: Some(CERTIFICATE), ..terms() });
    let verdict = |presented| house.verifier.verify(&token, noon(), presented).err();
    // Before and after it is in the cache.
    for _ in 0..2 {
        assert_eq!(verdict(None), Some(TokenError::Unbound));
        assert_eq!(verdict(Some([8; 32])), Some(TokenError::Unbound));
        assert_eq!(verdict(Some(CERTIFICATE)), None);
    }
    let caller = house.verifier.verify(&token, noon(), Some(CERTIFICATE)).unwrap();
    assert_eq!(caller.thumbprint(), Some(CERTIFICATE));

    let short = house.forged(|_, claims| claims["cnf"] = json!({ "x5t#S256": "AAAA" }));
    assert_eq!(house.verdict(&short), Some(TokenError::Malformed));
    let other = house.forged(|_, claims| claims["cnf"] = json!({ "jkt": "AAAA" }));
    assert_eq!(house.verdict(&other), Some(TokenError::Malformed), "a binding we do not know is no bearer");
}

#[test]
fn revoked_tokens_are_refused_though_remembered() {
    let house = house(JwsAlgorithm::EdDsa);
    let token = house.mint(&terms());
    assert_eq!(house.verdict(&token), None);
    house.verifier.revoke(Uuid::from_u128(1), house.clock.now());
    assert_eq!(house.verdict(&token), None, "somebody else's");
    house.verifier.revoke(house.account.id, house.clock.now());
    assert_eq!(house.verdict(&token), Some(TokenError::Revoked));
    house.clock.advance(Duration::seconds(1));
    assert_eq!(house.verdict(&house.mint(&terms())), None, "minted afterwards");
}

#[test]
fn a_token_grants_no_more_than_the_account_was_granted() {
    let house = house(JwsAlgorithm::EdDsa);
    let asked = Scopes::parse("user/*.cruds patient/Patient.r");
    let minted =
        house.issuer.mint(&house.account, &Terms { scopes: Some(&asked), ..terms() }, &house.clock).unwrap();
    assert_eq!(minted.scopes.to_string(), "user/Observation.rs user/Patient.r");
    let caller = house.verifier.verify(&minted.token, noon(), None).unwrap();
    assert!(caller.scopes().allow(Letter::Read, ResourceType::OBSERVATION));
    assert!(!caller.scopes().allow(Letter::Update, ResourceType::OBSERVATION));
}

#[test]
fn no_token_is_minted_for_what_the_account_may_not_have() {
    let mut house = house(JwsAlgorithm::EdDsa);
    let strange = Scopes::parse("patient/Patient.r");
    let cases = [
        (Terms { scopes: Some(&strange), ..terms() }, MintError::Scope),
        (Terms { purpose: Some(Purpose::Emergency), ..terms() }, MintError::Purpose),
        (Terms { lifetime: Duration::minutes(15) + Duration::seconds(1), ..terms() }, MintError::Lifetime),
        (Terms { lifetime: Duration::zero(), ..terms() }, MintError::Lifetime),
    ];
    for (terms, expected) in cases {
        assert_eq!(house.issuer.mint(&house.account, &terms, &house.clock).err(), Some(expected));
    }
    house.account.profile.disabled = true;
    assert_eq!(house.issuer.mint(&house.account, &terms(), &house.clock).err(), Some(MintError::Disabled));
}

#[test]
fn a_retiring_key_still_verifies_and_a_forgotten_one_does_not() {
    let old = house(JwsAlgorithm::Es256);
    let new = house(JwsAlgorithm::EdDsa);
    let token = old.mint(&terms());
    let rotated = new.issuer.verifier([old.issuer.public().clone()]);
    assert!(rotated.verify(&token, noon(), None).is_ok());
    assert_eq!(new.verdict(&token), Some(TokenError::UnknownKey));
}

#[test]
fn a_signing_key_is_ed25519_or_p256() {
    let generated = TokenSigner::generate().unwrap();
    assert_eq!(TokenSigner::from_pkcs8(&generated).unwrap().public().algorithm(), JwsAlgorithm::EdDsa);
    let (_, p384) = Forger::new(JwsAlgorithm::Es384);
    for bytes in [&p384[..], b"", b"\x30\x00"] {
        assert_eq!(TokenSigner::from_pkcs8(bytes).err(), Some(SigningError::Key));
    }
}
