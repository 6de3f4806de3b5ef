//! Who asks, and whether they may.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header::AUTHORIZATION};
use jiff::{SignedDuration, Timestamp};

use crate::{
    error::Error,
    model::{KeyHash, KeyId, KeyRecord, Scope, Secret, TenantId},
    operation::{Operation, Outcome},
    ports::{Dice, Ports},
};

/// What every key begins with.
pub(crate) const PREFIX: &str = "prk_";

/// On whose behalf an operation is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The key; none: the operator's first.
    pub key: Option<KeyId>,
    /// The tenant whose key it is; none: the operator.
    pub tenant: Option<TenantId>,
    scopes: Vec<Scope>,
    is_session: bool,
}

impl Principal {
    /// Somebody of whom nothing is known.
    pub fn nobody() -> Self {
        Self { key: None, tenant: None, scopes: Vec::new(), is_session: false }
    }

    /// The operator, who may do everything.
    pub fn operator() -> Self {
        Self { key: None, tenant: None, scopes: vec![Scope::Admin], is_session: false }
    }

    /// Whether it is a session or a token that was presented, not a key.
    pub fn is_session(&self) -> bool {
        self.is_session
    }

    /// Whether it may do what takes this scope.
    pub fn covers(&self, needed: Scope) -> bool {
        self.scopes.iter().any(|held| held.covers(needed))
    }

    /// The tenant that a request is about: a tenant's key can only mean its own.
    pub fn tenant_for(&self, named: Option<&TenantId>) -> Result<TenantId, Error> {
        match (&self.tenant, named) {
            (Some(own), None) => Ok(own.clone()),
            (Some(own), Some(named)) if own == named => Ok(own.clone()),
            (Some(_), Some(_)) => Err(Error::Forbidden("it is another tenant's")),
            (None, Some(named)) => Ok(named.clone()),
            (None, None) => Err(Error::invalid("tenant", "must be given with an operator's key")),
        }
    }
}

/// Finds out whose key was presented: the first good one counts.
pub async fn authenticate(ports: &Ports, keys: &[Secret]) -> Result<Principal, Error> {
    for key in keys {
        match holder(ports, key).await {
            Err(Error::Unauthenticated) => {}
            known => return known,
        }
    }
    Err(Error::Unauthenticated)
}

async fn holder(ports: &Ports, key: &Secret) -> Result<Principal, Error> {
    let hash = KeyHash::of(key);
    if ports.policy.operator_key.is_some_and(|operator| operator == hash) {
        return Ok(Principal::operator());
    }
    let found = valid(ports, &key_id(key).ok_or(Error::Unauthenticated)?).await?;
    if found.hash != hash || found.grant.is_some() {
        return Err(Error::Unauthenticated);
    }
    upheld(ports, &found).await?;
    let KeyRecord { id, tenant, scopes, session_of, .. } = found;
    Ok(Principal { key: Some(id), tenant, scopes, is_session: session_of.is_some() })
}

/// Whether all that a session, a token or a grant hangs from is still there.
pub(crate) async fn upheld(ports: &Ports, record: &KeyRecord) -> Result<(), Error> {
    let mut held = record.clone();
    while let Some(by) = &held.session_of {
        let mut opener = valid(ports, by).await?;
        if opener.grant.is_some() && !is_in_force(&opener, &held) {
            // A cache may not have heard of the latest token.
            opener = ports.store.key_now(by).await?.ok_or(Error::Unauthenticated)?;
            if !is_in_force(&opener, &held) {
                return Err(Error::Unauthenticated);
            }
        }
        if let Some(grant) = &opener.grant {
            valid(ports, &grant.client).await?;
        }
        held = opener;
    }
    Ok(())
}

/// Each new access token of a grant ends the one before.
fn is_in_force(grant: &KeyRecord, token: &KeyRecord) -> bool {
    grant.grant.as_ref().is_some_and(|grant| grant.access.as_ref() == Some(&token.id))
}

async fn valid(ports: &Ports, id: &KeyId) -> Result<KeyRecord, Error> {
    let found = ports.store.key(id).await?;
    found.filter(|key| key.expires_at.is_none_or(|end| ports.clock.now() < end)).ok_or(Error::Unauthenticated)
}

/// How long a session lasts (`ShipStream` documents 24 hours).
const SESSION: SignedDuration = SignedDuration::from_hours(24);

/// Opens a session, for dialects whose clients log in: 32 hexadecimal digits that do what the principal's key does.
pub async fn open_session(ports: &Ports, principal: &Principal) -> Result<Outcome, Error> {
    if principal.is_session {
        // Else a chain of them would have no end.
        return Err(Error::Forbidden("it takes a key, not a session or a token"));
    }
    let mut random = zeroize::Zeroizing::new([0; 16]);
    ports.dice.fill(&mut *random);
    let session = Secret::new(format!("{:032x}", u128::from_be_bytes(*random)));
    let now = ports.clock.now();
    let record = KeyRecord {
        id: key_id(&session).ok_or_else(|| Error::Internal("a session without an id".into()))?,
        tenant: Some(principal.tenant_for(None)?),
        scopes: principal.scopes.clone(),
        hash: KeyHash::of(&session),
        created_at: now,
        expires_at: Some(now + SESSION),
        session_of: principal.key.clone(),
        redirect_uris: Vec::new(),
        grant: None,
    };
    ports.store.add_key(&record).await?;
    Ok(Outcome::SessionOpened(session))
}

/// Whether the principal may do this at all; whose things it may do it to is [`Principal::tenant_for`]'s.
pub fn authorise(principal: &Principal, operation: &Operation) -> Result<(), Error> {
    let Some((needs, of_tenant)) = needs(operation) else { return Ok(()) };
    if !principal.covers(needs) {
        return Err(Error::Forbidden(match needs {
            Scope::Admin => "it takes the scope admin",
            Scope::Publish => "it takes the scope publish",
            Scope::Manage => "it takes the scope manage",
            Scope::Read => "it takes the scope manage or read",
            Scope::Write => "it takes the scope manage or write",
        }));
    }
    match (needs, &principal.tenant, of_tenant) {
        (Scope::Admin, Some(own), Some(named)) if own == named => Ok(()),
        (Scope::Admin, Some(_), _) => Err(Error::Forbidden("it takes the operator's key")),
        _ => Ok(()),
    }
}

/// The scope that an operation takes, and the tenant within which a tenant's own admin key suffices; none: anybody may.
fn needs(operation: &Operation) -> Option<(Scope, Option<&TenantId>)> {
    Some(match operation {
        // What tokens open is judged by what is offered for them.
        Operation::CheckHealth
        | Operation::Describe(_)
        | Operation::ListPublicKeys(..)
        | Operation::AskConsent(_)
        | Operation::SettleConsent(..)
        | Operation::IssueTokens(_) => return None,
        Operation::CreateTenant { .. }
        | Operation::ListTenants(_)
        | Operation::DeleteTenant(_)
        | Operation::PutTopic(_)
        | Operation::DeleteTopic(_) => (Scope::Admin, None),
        Operation::GetTenant(tenant)
        | Operation::CreateKey { tenant, .. }
        | Operation::ListKeys(tenant, _)
        | Operation::DeleteKey(tenant, _) => (Scope::Admin, Some(tenant)),
        Operation::Publish(_) => (Scope::Publish, None),
        Operation::Identify
        | Operation::OpenSession
        | Operation::ListTopics(_)
        | Operation::GetTopic(_)
        | Operation::ListWebhooks(..)
        | Operation::GetWebhook(..)
        | Operation::CountParked(..)
        | Operation::GetHealth(..)
        | Operation::TryFilter(..)
        | Operation::ListDeliveries(..)
        | Operation::ListUndelivered(..)
        | Operation::GetStats(..)
        | Operation::GetDelivery(..)
        | Operation::GetReplay(..)
        | Operation::ListReplays(..) => (Scope::Read, None),
        Operation::CreateWebhook(..)
        | Operation::SwitchWebhooks(..)
        | Operation::UpdateWebhook(..)
        | Operation::DeleteWebhook(..)
        | Operation::RotateSecret(..)
        | Operation::SendTest(..)
        | Operation::Discard(..)
        | Operation::RetryDelivery(..)
        | Operation::GiveUp(..)
        // It says of what was handed out before that it was received.
        | Operation::Poll(..)
        | Operation::StartReplay(..)
        | Operation::CancelReplay(..)
        | Operation::GrantCredentials { .. } => (Scope::Write, None),
    })
}

/// Makes a key: `prk_`, a public half that finds its record, and 160 random bits.
pub fn new_key(
    dice: &dyn Dice,
    tenant: Option<TenantId>,
    scopes: Vec<Scope>,
    now: Timestamp,
    expires_at: Option<Timestamp>,
) -> Result<(KeyRecord, Secret), Error> {
    let key = Secret::new(format!("{PREFIX}{}_{}", dice.letters(16), dice.letters(32)));
    Ok((key_record(&key, tenant, scopes, now, expires_at)?, key))
}

/// What is kept of a key that somebody chose.
pub fn key_record(
    key: &Secret,
    tenant: Option<TenantId>,
    scopes: Vec<Scope>,
    now: Timestamp,
    expires_at: Option<Timestamp>,
) -> Result<KeyRecord, Error> {
    let id = key_id(key).ok_or_else(|| {
        Error::invalid("key", "must be prk_, 16 of a-z and 0-9, _, and 32 letters or digits")
    })?;
    Ok(KeyRecord {
        id,
        tenant,
        scopes,
        hash: KeyHash::of(key),
        created_at: now,
        expires_at,
        session_of: None,
        redirect_uris: Vec::new(),
        grant: None,
    })
}

/// A token: 64 hexadecimal digits, of which the first 16 find its record.
pub(crate) fn new_token(dice: &dyn Dice) -> Result<(KeyId, Secret), Error> {
    let token = random_token(dice);
    let id = key_id(&token).ok_or_else(|| Error::Internal("a token without an id".into()))?;
    Ok((id, token))
}

/// Another token for the same record: 192 of its bits are new.
pub(crate) fn next_token(dice: &dyn Dice, id: &KeyId) -> Secret {
    Secret::new(format!("{id}{}", &random_token(dice).reveal()[id.as_str().len()..]))
}

fn random_token(dice: &dyn Dice) -> Secret {
    let mut random = zeroize::Zeroizing::new([0; 32]);
    dice.fill(&mut *random);
    let (first, second) = random.split_at(16);
    let number = |half: &[u8]| half.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    Secret::new(format!("{:032x}{:032x}", number(first), number(second)))
}

/// The part of a key, a session's secret, a token or a code that finds its record.
pub(crate) fn key_id(key: &Secret) -> Option<KeyId> {
    let text = key.reveal();
    if matches!(text.len(), 32 | 64) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
        return text[..16].parse().ok();
    }
    let (id, secret) = key.reveal().strip_prefix(PREFIX)?.split_once('_')?;
    (secret.len() == 32 && secret.bytes().all(|b| b.is_ascii_alphanumeric())).then(|| id.parse().ok())?
}

/// A key of its two halves; the first may have the prefix.
pub(crate) fn whole(id: &str, secret: &str) -> Secret {
    Secret::new(format!("{PREFIX}{}_{secret}", id.strip_prefix(PREFIX).unwrap_or(id)))
}

/// The key in `Authorization: Bearer`.
pub fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(token.trim()))
}

/// The key in `Authorization: Basic`: as the password, as the user name, or in two halves.
pub fn basic(headers: &HeaderMap) -> Option<Secret> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, pair) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = zeroize::Zeroizing::new(String::from_utf8(STANDARD.decode(pair.trim()).ok()?).ok()?);
    let (user, password) = pair.split_once(':')?;
    Some(match (user.strip_prefix(PREFIX), password.strip_prefix(PREFIX)) {
        (_, Some(_)) => Secret::new(password),
        (Some(_), None) => Secret::new(user),
        (None, None) => Secret::new(format!("{PREFIX}{user}_{password}")),
    })
}

#[cfg(test)]
impl Principal {
    /// The same with these scopes.
    pub(crate) fn with(self, scopes: &[Scope]) -> Self {
        Self { scopes: scopes.to_vec(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "prk_test0000000000ab_0123456789abcdefghijklmnopqrstuv";

    #[test]
    fn a_key_is_found_in_each_way_of_sending_it() {
        let with = |value: String| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            headers
        };
        let found = Some(Secret::new(KEY));
        assert_eq!(bearer(&with(format!("bearer {KEY}"))), found);
        for pair in [
            format!(":{KEY}"),
            format!("{KEY}:"),
            "test0000000000ab:0123456789abcdefghijklmnopqrstuv".to_owned(),
        ] {
            assert_eq!(basic(&with(format!("Basic {}", STANDARD.encode(pair)))), found);
        }
        for bad in ["", "Basic", "Basic !", "Bearer"] {
            assert_eq!(basic(&with(bad.into())), None);
            assert_eq!(bearer(&with(bad.into())), None);
        }
    }

    #[test]
    fn only_a_whole_key_has_an_id() {
        assert_eq!(key_id(&Secret::new(KEY)).unwrap().as_str(), "test0000000000ab");
        for length in [32, 64] {
            let token = Secret::new("0123456789abcdef".repeat(length / 16));
            assert_eq!(key_id(&token).unwrap().as_str(), "0123456789abcdef");
        }
        for length in [0, 16, 31, 33, 48, 63, 65, 128] {
            assert_eq!(key_id(&Secret::new("a".repeat(length))), None, "{length}");
        }
        assert_eq!(key_id(&Secret::new("A".repeat(64))), None);
        assert_eq!(key_id(&Secret::new("é".repeat(32))), None);
        for bad in ["", "prk_", "prk_a_b", &KEY[..KEY.len() - 1], &KEY.replace('_', "-"), &format!("{KEY}x")]
        {
            assert_eq!(key_id(&Secret::new(bad)), None, "{bad}");
        }
    }

    #[test]
    fn the_next_token_of_a_record_differs_in_what_proves_it() {
        struct Counting(std::sync::atomic::AtomicU8);
        impl Dice for Counting {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill_with(|| self.0.fetch_add(7, std::sync::atomic::Ordering::Relaxed));
            }
        }
        let dice = Counting(1.into());
        let (id, first) = new_token(&dice).unwrap();
        let next = next_token(&dice, &id);
        assert_eq!(key_id(&next), Some(id.clone()));
        assert_eq!((first.reveal().len(), next.reveal().len()), (64, 64));
        assert_eq!(first.reveal()[..16], next.reveal()[..16]);
        assert_ne!(first.reveal()[16..], next.reveal()[16..]);
        let own = first.reveal().as_bytes().chunks(2).collect::<std::collections::HashSet<_>>();
        assert_eq!(own.len(), 32, "each byte of the dice is in it");
    }

    #[test]
    fn a_tenants_key_means_its_own_tenant_only() {
        let own: TenantId = "acme".parse().unwrap();
        let other: TenantId = "other".parse().unwrap();
        let admin =
            Principal { key: None, tenant: Some(own.clone()), scopes: vec![Scope::Admin], is_session: false };
        assert_eq!(admin.tenant_for(None), Ok(own.clone()));
        assert!(matches!(admin.tenant_for(Some(&other)), Err(Error::Forbidden(_))));
        assert!(authorise(&admin, &Operation::GetTenant(own)).is_ok());
        assert!(authorise(&admin, &Operation::GetTenant(other.clone())).is_err());
        assert!(authorise(&admin, &Operation::ListTenants(crate::operation::PageRequest::all())).is_err());
        assert!(authorise(&Principal::operator(), &Operation::DeleteTenant(other)).is_ok());
    }
}
