//! Who took part: client, server, the caller, the organisation.

use custodia_audit::Actor;
use serde_json::{Value, json};

use super::{Place, codes::*, manner::Manner};

/// What a JWT's id is written as (RFC 3553, BALP OAUTHaccessTokenUse).
const JTI: &str = "urn:ietf:params:oauth:jti:";
/// The naming system of accounts.
const ACCOUNT: &str = "urn:custodia:account";
/// The naming system of clients.
const CLIENT: &str = "urn:custodia:client";
/// The naming system of certificates: SHA-256 in hexadecimal.
const CERTIFICATE: &str = "urn:custodia:certificate-sha256";

/// This server: the name of its log is the one name an entry holds.
pub(super) fn server_who(place: &Place<'_>) -> Value {
    json!({"identifier": {"system": "urn:custodia:log-origin", "value": place.origin}})
}

/// The server as an agent.
pub(super) fn server(place: &Place<'_>, role: Code) -> Value {
    json!({
        "type": role.concept(),
        "who": server_who(place),
        "requestor": false,
        "network": {"address": place.host(), "type": "1"},
    })
}

/// The machine on the other side.
pub(super) fn client(actor: &Actor, role: Code) -> Value {
    // An application's own identifier makes it BALP's oClient too.
    let codes: &[Code] =
        if actor.client.is_some() && role != APPLICATION { &[role, APPLICATION] } else { &[role] };
    let mut agent = json!({"type": concept(codes), "who": client_who(actor), "requestor": false});
    // An entry without an address is one of a flood from many sources.
    let address = actor.address.as_deref().unwrap_or("0.0.0.0");
    put(&mut agent, "network", json!({"address": address, "type": "2"}));
    agent
}

/// A partner's machine is the partner's; a person's is known by its application.
fn client_who(actor: &Actor) -> Value {
    if let Some(client) = &actor.client {
        return json!({"identifier": {"system": CLIENT, "value": client}});
    }
    if let (Some(user), Some(_)) = (&actor.user, &actor.thumbprint) {
        return account(user);
    }
    match &actor.thumbprint {
        Some(thumbprint) => json!({"identifier": {"system": CERTIFICATE, "value": hex(thumbprint)}}),
        None => json!({"display": "not identified"}),
    }
}

fn account(user: &str) -> Value {
    json!({"identifier": {"system": ACCOUNT, "value": user}})
}

/// The one initiator: whoever the credential is of. With a token it is BALP's OAuth user as well.
pub(super) fn user(actor: &Actor, purpose: Option<&str>, role: Code, altid: AltId) -> Option<Value> {
    let name = actor.user.as_ref()?;
    let codes: &[Code] = if actor.token_id.is_some() { &[role, OAUTH_USER] } else { &[role] };
    let mut agent = json!({"type": concept(codes)});
    if !actor.roles.is_empty() {
        let role = |role: &String| json!({"coding": [{"system": "urn:custodia:role", "code": role}]});
        put(&mut agent, "role", actor.roles.iter().map(role).collect());
    }
    put(&mut agent, "who", account(name));
    if altid == AltId::Told {
        put(&mut agent, "altId", json!(name));
    }
    put(&mut agent, "name", json!(name));
    put(&mut agent, "requestor", json!(true));
    if let Some(token) = &actor.token_id {
        put(&mut agent, "policy", json!([format!("{JTI}{token}")]));
    }
    if let Some(purpose) = purpose {
        put(&mut agent, "purposeOfUse", json!([self::purpose(purpose)]));
    }
    Some(agent)
}

/// Whether `altId` is told: BALP discourages it where a token was issued.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AltId {
    /// It is.
    Told,
    /// It is not.
    LeftOut,
}

/// The organisation the caller acted for.
pub(super) fn organisation(actor: &Actor) -> Option<Value> {
    let name = actor.organisation.as_ref()?;
    Some(json!({"type": PROVIDER.concept(), "who": {"display": name}, "requestor": false}))
}

/// All of them, in the order client, server, user, organisation.
pub(super) fn all(place: &Place<'_>, actor: &Actor, purpose: Option<&str>, manner: &Manner) -> Vec<Value> {
    let token = manner.server == OAUTH_SERVER;
    let altid = if token { AltId::LeftOut } else { AltId::Told };
    let mut agents = vec![client(actor, manner.client), server(place, manner.server)];
    agents.extend(user(actor, purpose, manner.user, altid));
    if !token {
        agents.extend(organisation(actor));
    }
    agents
}

/// A purpose of use, as HL7 codes it.
pub(super) fn purpose(code: &str) -> Value {
    json!({"coding": [{"system": REASON, "code": code}]})
}

pub(super) fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
