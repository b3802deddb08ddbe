//! The token endpoint's form: `client_credentials` and `password` (RFC 6749 §4.3, §4.4, RFC 7523 §2.2).
//!
//! The form is decoded here and not by a library because it may hold a password: each decoded value is wiped
//! when dropped, and a malformed escape is an error and not a guess. May import what identity may.

use std::collections::BTreeMap;

use validator::Validate;
use zeroize::Zeroizing;

use super::{
    caller::Purpose,
    password::PASSWORD_BYTES_MAX,
    scope::{SCOPES_MAX, Scopes},
};
use crate::refusal::OAuthError;

/// The longest form, in bytes.
pub const FORM_BYTES_MAX: usize = 16 * 1024;
/// The most parameters in a form.
pub const PARAMETERS_MAX: usize = 16;
/// The one kind of client assertion (RFC 7523 §2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A request to the token endpoint. It may hold a password, so it has no Debug.
pub enum Grant {
    /// A program asks for itself.
    ClientCredentials(ClientCredentials),
    /// A person signs in.
    Password(PasswordGrant),
}

/// `grant_type=client_credentials` with `private_key_jwt`.
#[derive(Validate)]
pub struct ClientCredentials {
    /// The signed assertion.
    #[validate(length(min = 1, max = 8192))]
    pub client_assertion: String,
    /// `client_id`, when it is sent; it must then be the assertion's.
    #[validate(length(max = 128))]
    pub client_id: Option<String>,
    /// Scopes asked for; `None` asks for all that are granted.
    pub scopes: Option<Scopes>,
    /// Purpose of use stated.
    pub purpose: Option<Purpose>,
}

/// `grant_type=password`.
#[derive(Validate)]
pub struct PasswordGrant {
    /// Login name.
    #[validate(length(min = 1, max = 128))]
    pub username: String,
    /// The password in the clear; wiped when dropped. Checked by hand, for the derive would copy it into its
    /// error.
    pub password: Zeroizing<String>,
    /// The program the person signs in with, when it says.
    #[validate(length(max = 128), non_control_character)]
    pub client_id: Option<String>,
    /// Scopes asked for; `None` asks for all that are granted.
    pub scopes: Option<Scopes>,
    /// Purpose of use stated.
    pub purpose: Option<Purpose>,
}

impl Grant {
    /// Reads an `application/x-www-form-urlencoded` body.
    ///
    /// # Errors
    /// An error of RFC 6749 §5.2.
    pub fn parse(body: &[u8]) -> Result<Self, OAuthError> {
        let mut form = Form::decode(body)?;
        let Some(kind) = form.take("grant_type") else {
            return Err(invalid_request("grant_type is missing."));
        };
        let scopes = form.take("scope").map(|text| scopes(&text)).transpose()?;
        let purpose = form.take("purpose_of_use").map(|code| purpose(&code)).transpose()?;
        let client_id = form.take_plain("client_id");
        match kind.as_str() {
            "client_credentials" => {
                if form.take("client_assertion_type").is_none_or(|kind| kind.as_str() != ASSERTION_TYPE) {
                    return Err(invalid_request(
                        "client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer.",
                    ));
                }
                let client_assertion = form.take_plain("client_assertion").unwrap_or_default();
                let grant = ClientCredentials { client_assertion, client_id, scopes, purpose };
                grant.validate().map_err(|_| {
                    invalid_request("client_assertion is missing or too long, or client_id is too long.")
                })?;
                Ok(Self::ClientCredentials(grant))
            }
            "password" => {
                let username = form.take_plain("username").unwrap_or_default();
                let password = form.take("password").unwrap_or_default();
                let grant = PasswordGrant { username, password, client_id, scopes, purpose };
                let bounded = (1..=PASSWORD_BYTES_MAX).contains(&grant.password.len());
                if !bounded || grant.validate().is_err() {
                    return Err(invalid_request("username, password or client_id is missing or too long."));
                }
                Ok(Self::Password(grant))
            }
            _ => Err(OAuthError {
                error: "unsupported_grant_type",
                description: "grant_type must be client_credentials or password.",
            }),
        }
    }
}

const fn invalid_request(description: &'static str) -> OAuthError {
    OAuthError { error: "invalid_request", description }
}

fn scopes(text: &str) -> Result<Scopes, OAuthError> {
    let invalid = |description| OAuthError { error: "invalid_scope", description };
    if text.split_ascii_whitespace().count() > SCOPES_MAX {
        return Err(invalid("Ask for at most 256 scopes."));
    }
    let scopes = Scopes::parse(text);
    if scopes.is_empty() {
        return Err(invalid("None of the scopes is a SMART v2 resource scope, as user/Observation.rs is."));
    }
    Ok(scopes)
}

fn purpose(code: &str) -> Result<Purpose, OAuthError> {
    Purpose::from_code(code)
        .ok_or(invalid_request("purpose_of_use must be TREAT, HPAYMT, HOPERAT, ETREAT, PATRQT or HSYSADMIN."))
}

/// The parameters of a form, each once; those without a value count as absent (RFC 6749 §3.2).
struct Form(BTreeMap<String, Zeroizing<String>>);

impl Form {
    fn decode(body: &[u8]) -> Result<Self, OAuthError> {
        if body.len() > FORM_BYTES_MAX {
            return Err(invalid_request("The form is longer than 16 kB."));
        }
        let mut form = BTreeMap::new();
        let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        for (index, pair) in pairs.enumerate() {
            if index >= PARAMETERS_MAX {
                return Err(invalid_request("The form has more than 16 parameters."));
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let malformed = invalid_request("The form is not application/x-www-form-urlencoded in UTF-8.");
            let name = unescape(halves.next().unwrap_or_default()).ok_or(malformed)?;
            let value = unescape(halves.next().unwrap_or_default()).ok_or(malformed)?;
            if form.insert(String::clone(&name), value).is_some() {
                return Err(invalid_request("A parameter is sent twice."));
            }
        }
        Ok(Self(form))
    }

    fn take(&mut self, name: &str) -> Option<Zeroizing<String>> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    fn take_plain(&mut self, name: &str) -> Option<String> {
        self.take(name).map(|value| String::clone(&value))
    }
}

/// `+` is a space, `%XX` a byte; the outcome must be UTF-8.
fn unescape(text: &[u8]) -> Option<Zeroizing<String>> {
    // Room for all of it at once: a vector that grows leaves copies behind that nobody wipes.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut nibble = || char::from(*bytes.next()?).to_digit(16);
                u8::try_from(nibble()? * 16 + nibble()?).ok()?
            }
            plain => *plain,
        });
    }
    let text = std::str::from_utf8(&out).ok()?;
    Some(Zeroizing::new(text.to_owned()))
}
