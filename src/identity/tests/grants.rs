//! The token endpoint's form, its answers, and what the server says of itself.

use chrono::Duration;
use serde_json::{Value, json};

use super::Forger;
use crate::{
    clock::Clock,
    identity::{
        account::Credentials,
        caller::Purpose,
        grant::{FORM_BYTES_MAX, Grant},
        jws::JwsAlgorithm,
        keys::KeySet,
        mint::{Terms, TokenIssuer},
        signing::TokenSigner,
        smart::{self, Endpoints},
        testing::{account, noon},
    },
};

const PROGRAM: &str = "grant_type=client_credentials&client_assertion=a.b.c&client_assertion_type=\
                       urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
const PERSON: &str = "grant_type=password&username=asha%40north&password=%C3%A9t%C3%A9+%26+%3D%2B1";

#[test]
fn a_program_asks_with_an_assertion() {
    let form =
        format!("{PROGRAM}&scope=system/Patient.rs+openid&client_id=backend&purpose_of_use=HOPERAT&more=1");
    let Ok(Grant::ClientCredentials(grant)) = Grant::parse(form.as_bytes()) else {
        unreachable!("it is one")
    };
    assert_eq!((grant.client_assertion.as_str(), grant.client_id.as_deref()), ("a.b.c", Some("backend")));
    assert_eq!(grant.scopes.unwrap().to_string(), "system/Patient.rs");
    assert_eq!(grant.purpose, Some(Purpose::Operations));
}

#[test]
fn a_person_signs_in_with_any_character_in_the_password() {
    let Ok(Grant::Password(grant)) = Grant::parse(PERSON.as_bytes()) else { unreachable!("it is one") };
    assert_eq!((grant.username.as_str(), grant.password.as_str()), ("asha@north", "été & =+1"));
    assert!(grant.scopes.is_none() && grant.purpose.is_none() && grant.client_id.is_none());
}

#[test]
fn a_form_that_breaks_a_rule_is_refused_with_the_error_of_rfc_6749() {
    let many = (0..17).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
    let scopes = "user/Patient.r+".repeat(257);
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "invalid_request"),
        ("grant_type=".to_owned(), "invalid_request"),
        ("grant_type=authorization_code".to_owned(), "unsupported_grant_type"),
        ("grant_type=password&username=a".to_owned(), "invalid_request"),
        ("grant_type=password&username=&password=b".to_owned(), "invalid_request"),
        (format!("{PERSON}&username=other"), "invalid_request"),
        (format!("{PERSON}&p%61ssword=other"), "invalid_request"),
        (format!("{PERSON}&more=1&more="), "invalid_request"),
        (format!("{PERSON}&client_id={}", "c".repeat(129)), "invalid_request"),
        (format!("grant_type=password&username=a&password={}", "p".repeat(1025)), "invalid_request"),
        (format!("grant_type=password&username={}&password=b", "u".repeat(129)), "invalid_request"),
        (format!("{PERSON}&x=%zz"), "invalid_request"),
        (format!("{PERSON}&x=%4"), "invalid_request"),
        (format!("{PERSON}&x=%+4"), "invalid_request"),
        (format!("{PERSON}&x=%ff"), "invalid_request"),
        (format!("{PERSON}&purpose_of_use=FUN"), "invalid_request"),
        (format!("{PERSON}&scope=openid"), "invalid_scope"),
        (format!("{PERSON}&scope=user/Patient.read"), "invalid_scope"),
        (format!("{PERSON}&scope={scopes}"), "invalid_scope"),
        (PROGRAM.replace("jwt-bearer", "saml2-bearer"), "invalid_request"),
        (PROGRAM.replace("a.b.c", ""), "invalid_request"),
        (PROGRAM.replace("a.b.c", &"a".repeat(8193)), "invalid_request"),
        (many, "invalid_request"),
        (format!("{PERSON}&x={}", "x".repeat(FORM_BYTES_MAX)), "invalid_request"),
    ];
    for (form, expected) in cases {
        let error = Grant::parse(form.as_bytes()).err().map(|error| error.error);
        assert_eq!(error, Some(expected), "{}", form.get(..200).unwrap_or(&form));
    }
    assert!(Grant::parse(PROGRAM.replace("a.b.c", &"a".repeat(8192)).as_bytes()).is_ok());
    assert!(
        Grant::parse(&[PERSON.as_bytes(), b"&scope="].concat()).is_ok(),
        "no value, as if it were absent"
    );
}

#[test]
fn the_token_answer_is_that_of_rfc_6749_and_is_never_cached() {
    let (forger, pkcs8) = Forger::new(JwsAlgorithm::EdDsa);
    let issuer = TokenIssuer::new(TokenSigner::from_pkcs8(&pkcs8).unwrap(), "https://i", "https://a");
    let account = account("backend", Credentials::Service { keys: KeySet::of(vec![forger.public()]) });
    let terms = Terms {
        client: "backend",
        scopes: None,
        purpose: None,
        actor: None,
        binding: None,
        lifetime: Duration::minutes(15),
    };
    let minted = issuer.mint(&account, &terms, &Clock::fixed(noon())).unwrap();
    let answer = smart::token_answer(&minted);
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains(&("cache-control", "no-store".to_owned())));
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let expected = json!({
        "access_token": minted.token, "token_type": "Bearer", "expires_in": 900,
        "scope": "user/Observation.rs user/Patient.r system/Patient.rs",
    });
    assert_eq!(body, expected);
}

#[test]
fn the_server_says_of_itself_what_it_serves() {
    let endpoints =
        Endpoints { issuer: "https://i", token: "https://i/oauth/token", jwks: "https://i/oauth/jwks" };
    let expected = json!({
        "issuer": "https://i",
        "jwks_uri": "https://i/oauth/jwks",
        "token_endpoint": "https://i/oauth/token",
        "grant_types_supported": ["client_credentials", "password"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384", "ES256", "EdDSA"],
        "scopes_supported": ["system/*.cruds", "user/*.cruds"],
        "capabilities": ["client-confidential-asymmetric", "permission-user", "permission-v2"],
    });
    assert_eq!(smart::configuration(&endpoints), expected);
    let (forger, _) = Forger::new(JwsAlgorithm::Es256);
    let jwks = smart::jwks(&KeySet::of(vec![forger.public()]));
    assert_eq!(jwks["keys"][0]["kid"], forger.public().kid());
    assert!(jwks["keys"][0].get("d").is_none());
    assert!(KeySet::parse(jwks.to_string().as_bytes()).is_ok());
}
