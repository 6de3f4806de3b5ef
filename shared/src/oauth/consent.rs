//! Somebody is asked whether a client may do something, and answers.

use jiff::SignedDuration;

use super::{Again, Asking, ConsentRequest, Decision, Question, Refusal, SentBack};
use crate::{
    access::{self, Principal},
    error::Error,
    model::{Code, Grant, KeyHash, KeyRecord, RedirectUri, Secret, Tenant, TenantId},
    operation::Outcome,
    ports::Ports,
};

/// How long a code can be redeemed (RFC 6749, 4.1.2: at most 10 minutes).
const CODE: SignedDuration = SignedDuration::from_mins(10);

/// A client that may be answered.
struct Client {
    record: KeyRecord,
    tenant: Tenant,
    redirect_uri: RedirectUri,
}

/// Puts the question, if there is such a client.
pub async fn ask(ports: &Ports, request: &ConsentRequest) -> Result<Outcome, Error> {
    let client = client(ports, request).await?;
    Ok(match &request.asked {
        Ok(asked) => question(&client, asked, None),
        Err(refusal) => sent_back(client, request, Err(*refusal)),
    })
}

/// Takes the answer: a code is sent back, or why there is none.
pub async fn settle(ports: &Ports, request: &ConsentRequest, decision: Decision) -> Result<Outcome, Error> {
    let client = client(ports, request).await?;
    let asked = match &request.asked {
        Ok(asked) => asked,
        Err(refusal) => return Ok(sent_back(client, request, Err(*refusal))),
    };
    if !decision.allows {
        return Ok(sent_back(client, request, Err(Refusal::AccessDenied)));
    }
    let keys: Vec<_> = decision.key.into_iter().collect();
    let holder = match access::authenticate(ports, &keys).await {
        // A token that was lent to a client is not there to allow others something.
        Ok(holder) if !holder.is_session() => holder,
        Ok(_) | Err(Error::Unauthenticated) => {
            return Ok(question(&client, asked, Some(Again::WrongKey)));
        }
        Err(error) => return Err(error),
    };
    let Ok(tenant) = holder.tenant_for(None) else {
        return Ok(question(&client, asked, Some(Again::NoTenant)));
    };
    let Some((record, code)) = grant(ports, &client, request, asked, &holder, tenant)? else {
        return Ok(question(&client, asked, Some(Again::TooLittle)));
    };
    ports.store.add_key(&record).await?;
    Ok(sent_back(client, request, Ok(code)))
}

/// RFC 6749, 4.1.2.1: nobody is sent anywhere before the client and its redirect URI are known to be right.
async fn client(ports: &Ports, request: &ConsentRequest) -> Result<Client, Error> {
    let nobody = || Error::invalid("client_id", "is no client's");
    let found = ports.store.key(&request.client).await?;
    let is_client = |key: &KeyRecord| {
        key.session_of.is_none() && key.expires_at.is_none_or(|end| ports.clock.now() < end)
    };
    let record = found.filter(is_client).ok_or_else(nobody)?;
    let tenant = record.tenant.as_ref().ok_or_else(nobody)?;
    let tenant = ports.store.tenant(tenant).await?.ok_or_else(nobody)?;
    let redirect_uri = record.redirect_uris.iter().find(|uri| uri.as_str() == request.redirect_uri);
    let redirect_uri = redirect_uri.cloned().ok_or_else(|| {
        Error::invalid("redirect_uri", "is not one of those that the client's key was made with")
    })?;
    Ok(Client { record, tenant, redirect_uri })
}

fn question(client: &Client, asked: &Asking, again: Option<Again>) -> Outcome {
    Outcome::ConsentAsked(Box::new(Question {
        client: client.record.id.clone(),
        name: client.tenant.name.clone(),
        wish: asked.wish.clone(),
        again,
    }))
}

fn sent_back(client: Client, request: &ConsentRequest, result: Result<Secret, Refusal>) -> Outcome {
    Outcome::SentBack(Box::new(SentBack {
        redirect_uri: client.redirect_uri,
        state: request.state.clone(),
        result,
    }))
}

/// The grant and its code; none: the holder's key may do less than is asked.
fn grant(
    ports: &Ports,
    client: &Client,
    request: &ConsentRequest,
    asked: &Asking,
    holder: &Principal,
    tenant: TenantId,
) -> Result<Option<(KeyRecord, Secret)>, Error> {
    let Some(wish) = asked.wish.within(holder) else { return Ok(None) };
    let (id, code) = access::new_token(&*ports.dice)?;
    let now = ports.clock.now();
    let grant = Grant {
        client: client.record.id.clone(),
        dialect: request.terms.dialect.to_owned(),
        scope: wish.text(),
        code: Some(Code { redirect_uri: request.redirect_uri.clone(), challenge: asked.challenge.clone() }),
        access: None,
    };
    let record = KeyRecord {
        id,
        tenant: Some(tenant),
        scopes: wish.scopes(),
        hash: KeyHash::of(&code),
        created_at: now,
        expires_at: Some(now + CODE),
        session_of: holder.key.clone(),
        redirect_uris: Vec::new(),
        grant: Some(Box::new(grant)),
    };
    Ok(Some((record, code)))
}
