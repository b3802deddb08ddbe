//! Signatures and thumbprints as the RFCs print them.

use serde_json::json;

use crate::identity::{jws::Parts, keys::PublicKey};

#[test]
fn signatures_printed_in_the_rfcs_verify() {
    let cases = [
        (
            "RFC 8037 appendix A.4",
            json!({
                "kid": "a4", "kty": "OKP", "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }),
            concat!(
                "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.",
                "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
            ),
        ),
        (
            "RFC 7515 appendix A.3",
            json!({
                "kid": "a3", "kty": "EC", "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }),
            concat!(
                "eyJhbGciOiJFUzI1NiJ9.",
                "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
                "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            ),
        ),
    ];
    for (name, jwk, token) in cases {
        let key = PublicKey::from_jwk(jwk).unwrap();
        let parts = Parts::of(token).unwrap();
        assert_eq!(parts.header.alg, key.algorithm().to_header(), "{name}");
        assert!(key.verify(parts.input, &parts.signature), "{name}");
        for index in 0..parts.signature.len() {
            let mut changed = parts.signature.clone();
            changed[index] ^= 0x10;
            assert!(!key.verify(parts.input, &changed), "{name}, signature byte {index}");
        }
        assert!(!key.verify(&parts.input[1..], &parts.signature), "{name}");
    }
}

#[test]
fn thumbprints_are_those_of_rfc_7638_and_rfc_8037() {
    let rsa = concat!(
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZC",
        "iFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZg",
        "nYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIq",
        "bw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    );
    let cases = [
        (
            json!({ "kid": "k", "kty": "RSA", "n": rsa, "e": "AQAB" }),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
        ),
        (
            json!({
                "kid": "k", "kty": "OKP", "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        ),
    ];
    for (jwk, thumbprint) in cases {
        assert_eq!(PublicKey::from_jwk(jwk).unwrap().thumbprint(), thumbprint);
    }
}
