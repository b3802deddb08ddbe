//! The token endpoint (RFC 6749 §3.2): private_key_jwt clients and users who sign in.

use custodia_audit::Kind;

use super::{
    ATTEMPTS_MAX, Failure,
    recognise::{Found, account, bearer},
};
use crate::{
    answer::Answer,
    app::App,
    identity::{
        Grant, LookupName, Minted, Purpose, Scopes, Terms, assertion,
        grant::{ClientCredentials, PasswordGrant},
        smart,
    },
    ledger::{Access, Audited},
    refusal::{OAuthError, Refusal},
};

const INVALID_CLIENT: Refusal = Refusal::OAuth(OAuthError {
    error: "invalid_client",
    description: "The client assertion is not valid, or its client is not registered here.",
});

/// Issues an access token, or refuses in OAuth's own form.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn run(app: &App, access: &Access, body: &[u8]) -> Result<Audited<Answer>, Failure> {
    let (minted, kind) = match Grant::parse(body).map_err(Refusal::OAuth)? {
        Grant::ClientCredentials(grant) => (client(app, &grant).await?, Kind::Token),
        Grant::Password(grant) => (user(app, grant).await?, Kind::Login),
    };
    // The entry names whoever the token speaks for, and the token: later accesses lead back to it.
    let caller = Some(bearer(app, &minted.token, None)?);
    let access = Access { caller, ..access.clone() };
    Ok(app.ledger.state(&access, kind, smart::token_answer(&minted)).await?)
}

/// A program with a signed assertion, each good once (RFC 7523 §3).
async fn client(app: &App, grant: &ClientCredentials) -> Result<Minted, Failure> {
    let claimed = assertion::claimed_client(&grant.client_assertion).map_err(Refusal::from)?;
    if grant.client_id.as_ref().is_some_and(|named| *named != claimed) {
        return Err(INVALID_CLIENT.into());
    }
    let found = account(app, &LookupName::service(&claimed)).await?.ok_or(INVALID_CLIENT)?;
    let now = app.clock.now();
    let proof = assertion::verify(&grant.client_assertion, &found.account, &app.doorman.token_url, now)
        .map_err(Refusal::from)?;
    let used = app.keyring.lookup(&[b"assertion:", claimed.as_bytes(), b"\n", proof.jti.as_bytes()].concat());
    if !app.store.use_assertion(used, proof.expires, now).await? {
        return Err(INVALID_CLIENT.into());
    }
    mint(app, &found, &claimed, grant.scopes.as_ref(), grant.purpose)
}

/// A person with a password. A guess counts even when others guess at the same time: the account is stored
/// under its version, and looked at again when it changed.
async fn user(app: &App, grant: PasswordGrant) -> Result<Minted, Failure> {
    let name = LookupName::user(&grant.username);
    for _ in 0..ATTEMPTS_MAX {
        let mut found = account(app, &name).await?;
        let now = app.clock.now();
        let password = grant.password.clone();
        let signed_in = app
            .doorman
            .passwords
            .sign_in(found.as_mut().map(|found| &mut found.account), password, now)
            .await
            .map_err(Refusal::from)?;
        if signed_in.changed
            && let Some(found) = &found
            && !keep(app, found).await?
        {
            continue;
        }
        signed_in.outcome.map_err(Refusal::from)?;
        let found = found.ok_or(Refusal::Internal)?;
        let client = grant.client_id.as_deref().unwrap_or("portal");
        return mint(app, &found, client, grant.scopes.as_ref(), grant.purpose);
    }
    Err(Refusal::Throttled.into())
}

/// Stores an account whose failures changed; `false` when somebody else has changed it since.
async fn keep(app: &App, found: &Found) -> Result<bool, Failure> {
    let (tenant, id) = (found.account.profile.tenant, found.account.id);
    let json = found.account.to_json().map_err(|_| Refusal::Internal)?;
    let body = found.keys.seal_account(id, found.version.saturating_add(1), &json)?;
    Ok(app.store.replace_account(tenant, id, found.version, body, app.clock.now()).await?)
}

fn mint(
    app: &App,
    found: &Found,
    client: &str,
    scopes: Option<&Scopes>,
    purpose: Option<Purpose>,
) -> Result<Minted, Failure> {
    let terms = Terms {
        client,
        scopes,
        purpose,
        actor: found.actor(app)?,
        binding: None,
        lifetime: app.doorman.lifetime,
    };
    Ok(app.doorman.issuer.mint(&found.account, &terms, &app.clock).map_err(Refusal::from)?)
}
