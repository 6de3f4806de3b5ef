//! A client exchanges what it has for tokens.

use jiff::SignedDuration;

use super::{Offer, Refusal, Terms, TokenRequest, Tokens, Wish};
use crate::{
    access::{self, Principal},
    error::Error,
    model::{Grant, KeyHash, KeyId, KeyRecord, Scope, Secret, TenantId},
    operation::Outcome,
    ports::Ports,
};

/// How long a refresh token waits for its use.
const REFRESH: SignedDuration = SignedDuration::from_hours(90 * 24);

/// RFC 6749, 5.2 has one word for all of it, and nobody is helped by more.
const NO_GRANT: Refusal = Refusal::InvalidGrant("it is wrong, expired, revoked or used before");

/// Why there are no tokens.
enum Failed {
    Refused(Refusal),
    Fault(Error),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

/// Gives a client tokens for what it offers.
pub async fn issue(ports: &Ports, client: &Principal, request: TokenRequest) -> Result<Outcome, Error> {
    match exchanged(ports, client, request).await {
        Ok(tokens) => Ok(Outcome::TokensIssued(Box::new(tokens))),
        Err(Failed::Refused(refusal)) => Ok(Outcome::TokensRefused(refusal)),
        Err(Failed::Fault(error)) => Err(error),
    }
}

async fn exchanged(ports: &Ports, client: &Principal, request: TokenRequest) -> Result<Tokens, Failed> {
    let terms = request.terms;
    match request.offer? {
        Offer::Nothing(wish) => for_itself(ports, client, terms, &wish).await,
        Offer::Code { code, redirect_uri, verifier } => {
            let (record, grant) = presented(ports, client, terms, &code).await?;
            is_bound(&grant, redirect_uri.as_deref(), verifier.as_ref())?;
            let (scopes, scope) = (record.scopes.clone(), grant.scope.clone());
            rotated(ports, terms, record, *grant, scopes, scope).await
        }
        Offer::Refresh { token, wish } => {
            let (record, grant) = presented(ports, client, terms, &token).await?;
            if grant.code.is_some() {
                return Err(NO_GRANT.into());
            }
            let (scopes, scope) = narrowed(&record, &grant, wish.as_ref())?;
            rotated(ports, terms, record, *grant, scopes, scope).await
        }
    }
}

/// A token for the client's own tenant, which ends with the client's key. RFC 6749, 4.4.3: nothing to refresh it by.
async fn for_itself(ports: &Ports, client: &Principal, terms: &Terms, wish: &Wish) -> Result<Tokens, Failed> {
    let (Some(key), Ok(tenant)) = (&client.key, client.tenant_for(None)) else {
        return Err(Refusal::UnauthorizedClient("the operator's key is no tenant's").into());
    };
    let wish = wish.within(client).ok_or(Refusal::InvalidScope("it is more than the key may do"))?;
    let (record, access) = access_token(ports, terms, tenant, wish.scopes(), key)?;
    ports.store.add_key(&record).await?;
    Ok(tokens(terms, &record, access, None, wish.text()))
}

/// The grant whose code or refresh token this is. What was exchanged before is in wrong hands now, or was then: the
/// grant ends, and its tokens with it (RFC 6749, 4.1.2; RFC 9700, 4.14.2).
async fn presented(
    ports: &Ports,
    client: &Principal,
    terms: &Terms,
    secret: &Secret,
) -> Result<(KeyRecord, Box<Grant>), Failed> {
    let id = access::key_id(secret).ok_or(NO_GRANT)?;
    let found = ports.store.key_now(&id).await?.ok_or(NO_GRANT)?;
    let grant = found.grant.clone().ok_or(NO_GRANT)?;
    if client.key.as_ref() != Some(&grant.client) || grant.dialect != terms.dialect {
        return Err(NO_GRANT.into());
    }
    if found.hash != KeyHash::of(secret) {
        return Err(ended(ports, &found).await);
    }
    if found.expires_at.is_some_and(|end| end <= ports.clock.now()) {
        return Err(NO_GRANT.into());
    }
    match access::upheld(ports, &found).await {
        Ok(()) => Ok((found, grant)),
        Err(Error::Unauthenticated) => Err(NO_GRANT.into()),
        Err(error) => Err(error.into()),
    }
}

async fn ended(ports: &Ports, grant: &KeyRecord) -> Failed {
    let Some(tenant) = &grant.tenant else { return NO_GRANT.into() };
    match ports.store.remove_key(tenant, &grant.id).await {
        Ok(_) => NO_GRANT.into(),
        Err(error) => error.into(),
    }
}

/// Whether a code comes back as it was bound.
fn is_bound(grant: &Grant, redirect_uri: Option<&str>, verifier: Option<&Secret>) -> Result<(), Refusal> {
    let Some(code) = &grant.code else { return Err(NO_GRANT) };
    // RFC 6749, 4.1.3: it was in the first request, so it must be in this one.
    if redirect_uri != Some(code.redirect_uri.as_str()) {
        return Err(Refusal::InvalidGrant("redirect_uri is not the one that the code was sent to"));
    }
    match (&code.challenge, verifier) {
        (None, None) => Ok(()),
        (Some(challenge), Some(verifier)) if challenge.is_met_by(verifier.reveal()) => Ok(()),
        // RFC 9700, 4.8.2: a verifier without a challenge tells that somebody took the challenge away.
        _ => Err(Refusal::InvalidGrant("code_verifier is not what code_challenge was made of")),
    }
}

/// What a refreshed token opens (RFC 6749, 6): what was allowed, or less.
fn narrowed(record: &KeyRecord, grant: &Grant, wish: Option<&Wish>) -> Result<(Vec<Scope>, String), Refusal> {
    let Some(wish) = wish else { return Ok((record.scopes.clone(), grant.scope.clone())) };
    let allowed = |name: &str| grant.scope.split(' ').any(|word| word == name);
    if !wish.words().iter().all(|word| allowed(word.name)) {
        return Err(Refusal::InvalidScope("it is more than was allowed"));
    }
    Ok((wish.scopes(), wish.text()))
}

/// The next tokens of a grant, in the place of those before: both end with the one write that names the new.
async fn rotated(
    ports: &Ports,
    terms: &Terms,
    old: KeyRecord,
    mut grant: Grant,
    scopes: Vec<Scope>,
    scope: String,
) -> Result<Tokens, Failed> {
    let Some(tenant) = old.tenant.clone() else {
        return Err(Error::Internal("a grant without a tenant".into()).into());
    };
    let (token, access) = access_token(ports, terms, tenant, scopes, &old.id)?;
    let refresh = access::next_token(&*ports.dice, &old.id);
    let is_refreshed = terms.refreshes(&grant.scope);
    (grant.code, grant.access) = (None, Some(token.id.clone()));
    let kept = if is_refreshed { REFRESH } else { terms.lifetime };
    let new = KeyRecord {
        hash: KeyHash::of(&refresh),
        expires_at: Some(token.created_at + kept),
        grant: Some(Box::new(grant)),
        ..old.clone()
    };
    ports.store.add_key(&token).await?;
    if !ports.store.swap_key(&old, &new).await? {
        // Somebody exchanged the same at the same time.
        return Err(ended(ports, &old).await);
    }
    Ok(tokens(terms, &token, access, is_refreshed.then_some(refresh), scope))
}

fn access_token(
    ports: &Ports,
    terms: &Terms,
    tenant: TenantId,
    scopes: Vec<Scope>,
    opener: &KeyId,
) -> Result<(KeyRecord, Secret), Error> {
    let (id, token) = access::new_token(&*ports.dice)?;
    let now = ports.clock.now();
    let record = KeyRecord {
        id,
        tenant: Some(tenant),
        scopes,
        hash: KeyHash::of(&token),
        created_at: now,
        expires_at: Some(now + terms.lifetime),
        session_of: Some(opener.clone()),
        redirect_uris: Vec::new(),
        grant: None,
    };
    Ok((record, token))
}

fn tokens(
    terms: &Terms,
    record: &KeyRecord,
    access: Secret,
    refresh: Option<Secret>,
    scope: String,
) -> Tokens {
    Tokens { access, refresh, scope, lifetime: terms.lifetime, made_at: record.created_at }
}
