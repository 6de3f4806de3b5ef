//! How a delivery proves to its receiver that it is ours, beside its signature.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use crate::{
    error::Error,
    model::{
        Auth, ClientCertificate, Secret, SigningSecret, TargetUrl, TenantId, TokenSource, Webhook, WebhookId,
    },
    operation::Outcome,
    ports::Ports,
};

/// Judges what an owner gave us, as the operator's policy allows and as of now.
pub(crate) fn admit(
    ports: &Ports,
    auth: Option<&Auth>,
    certificate: Option<&ClientCertificate>,
) -> Result<(), Error> {
    if let Some(Auth::ClientCredentials(source)) = auth {
        let is_local = ports.policy.allow_private_targets;
        let url = TargetUrl::parse(source.url.as_str(), is_local).map_err(Error::field("auth/token_url"))?;
        // RFC 6749, 3.2: what goes there is a password.
        if url.shared().scheme() != "https" && !is_local {
            return Err(Error::invalid("auth/token_url", "must be an https URL"));
        }
    }
    if certificate.is_some_and(|certificate| certificate.ends_at() <= ports.clock.now()) {
        return Err(Error::invalid("client_certificate/certificate", "has expired"));
    }
    Ok(())
}

/// Puts into a message what proves it; or tells where that is to be had.
pub(crate) fn of(webhook: &Webhook, headers: &mut HeaderMap) -> Result<Option<Arc<TokenSource>>, Error> {
    let proof = match &webhook.auth {
        None => return Ok(None),
        Some(Auth::Bearer(token)) => bearer(token.reveal()),
        Some(Auth::Basic(own)) => own.authorization(),
        Some(Auth::ClientCredentials(source)) => {
            headers.remove(AUTHORIZATION);
            return Ok(Some(source.clone()));
        }
    };
    headers.insert(AUTHORIZATION, header(&proof)?);
    Ok(None)
}

pub(crate) fn bearer(token: &str) -> Secret {
    Secret::new(format!("Bearer {token}"))
}

/// A header that no log of a library's shows.
pub(crate) fn header(secret: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(secret.reveal())
        .map_err(|_| Error::Internal("credentials that cannot be sent".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What a webhook's signatures are verified with: nothing of one that is not there.
pub(crate) async fn public_keys(
    ports: &Ports,
    webhook: Option<(TenantId, WebhookId)>,
) -> Result<Outcome, Error> {
    let now = ports.clock.now();
    let found = match webhook {
        Some((tenant, id)) => ports.store.target(&tenant, id).await?,
        None => None,
    };
    let pairs = found.iter().flat_map(|target| &target.webhook.key_pairs);
    let keys = pairs.filter(|pair| pair.signs_at(now)).filter_map(SigningSecret::public_key);
    Ok(Outcome::PublicKeys(keys.collect()))
}
