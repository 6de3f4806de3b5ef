//! How a webhook says how it proves itself to its receiver, and how that is shown: without a secret.

use std::sync::Arc;

use http::{HeaderValue, header::CACHE_CONTROL};
use serde_json::{Value, json};

use super::{
    Request, Response, answer,
    json::{Fields, Query},
};
use crate::{
    error::Error,
    model::{
        Auth, AuthStyle, BadCertificate, ClientCertificate, Credentials, PublicKey, Secret, Signature,
        SigningSecret, TargetUrl, TokenSource, Webhook, sendable,
    },
    operation::Operation,
};

/// An object in a field; none: there is none, or null.
fn object(fields: &mut Fields, name: &str) -> Result<Option<Fields>, Error> {
    match fields.value(name) {
        None => Ok(None),
        Some(Value::Object(inner)) => Ok(Some(Fields::from(inner))),
        Some(_) => Err(Error::invalid(name, "must be an object")),
    }
}

/// The fields of an object within, whose errors have its name before theirs.
fn within<T>(name: &str, read: Result<T, Error>) -> Result<T, Error> {
    read.map_err(|error| match error {
        Error::Invalid { field, reason } => Error::invalid(format!("{name}/{field}"), reason),
        other => other,
    })
}

/// `auth`.
pub(super) fn auth(fields: &mut Fields) -> Result<Option<Auth>, Error> {
    object(fields, "auth")?.map(|inner| within("auth", read(inner))).transpose()
}

fn read(mut fields: Fields) -> Result<Auth, Error> {
    let auth = match fields.required("type")?.as_str() {
        "bearer" => {
            let token = fields.required("token")?;
            if token.len() > 4096 || !token.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(Error::invalid("token", "must be at most 4,096 visible ASCII characters"));
            }
            Auth::Bearer(Secret::new(token))
        }
        "basic" => {
            let id = text(&mut fields, "username")?;
            // RFC 7617, 2: a user-id with a colon cannot be told from its password.
            if id.contains(':') {
                return Err(Error::invalid("username", "must not contain ':'"));
            }
            Auth::Basic(Credentials { id, secret: Secret::new(text(&mut fields, "password")?) })
        }
        "oauth2_client_credentials" => Auth::ClientCredentials(Arc::new(source(&mut fields)?)),
        _ => return Err(Error::invalid("type", "must be bearer, basic or oauth2_client_credentials")),
    };
    fields.end()?;
    Ok(auth)
}

fn source(fields: &mut Fields) -> Result<TokenSource, Error> {
    let url = fields.required("token_url")?;
    // Where it may point is judged by the operator's policy.
    let url = TargetUrl::parse(&url, true).map_err(Error::field("token_url"))?;
    let style = match fields.text("auth_style")?.as_deref() {
        None | Some("basic") => AuthStyle::Basic,
        Some("body") => AuthStyle::Body,
        Some(_) => return Err(Error::invalid("auth_style", "must be basic or body")),
    };
    Ok(TokenSource {
        url,
        client_id: text(fields, "client_id")?,
        client_secret: Secret::new(text(fields, "client_secret")?),
        scope: maybe(fields, "scope")?,
        audience: maybe(fields, "audience")?,
        style,
    })
}

fn text(fields: &mut Fields, name: &'static str) -> Result<String, Error> {
    let text = fields.required(name)?;
    sendable(&text).map_err(Error::field(name))?;
    Ok(text)
}

fn maybe(fields: &mut Fields, name: &'static str) -> Result<Option<String>, Error> {
    let text = fields.text(name)?;
    text.as_deref().map_or(Ok(()), sendable).map_err(Error::field(name))?;
    Ok(text)
}

/// `client_certificate`.
pub(super) fn certificate(fields: &mut Fields) -> Result<Option<ClientCertificate>, Error> {
    let Some(inner) = object(fields, "client_certificate")? else { return Ok(None) };
    let read = |mut inner: Fields| {
        let chain = inner.required("certificate")?;
        let key = Secret::new(inner.required("private_key")?);
        inner.end()?;
        ClientCertificate::parse(&chain, key).map_err(|bad| match bad {
            BadCertificate::Certificate(reason) => Error::invalid("certificate", reason),
            BadCertificate::Key(reason) => Error::invalid("private_key", reason),
        })
    };
    within("client_certificate", read(inner)).map(Some)
}

/// `signature`.
pub(super) fn signature(fields: &mut Fields) -> Result<Option<Signature>, Error> {
    match fields.text("signature")?.as_deref() {
        None => Ok(None),
        Some("hmac") => Ok(Some(Signature::Hmac)),
        Some("ed25519") => Ok(Some(Signature::Ed25519)),
        Some("both") => Ok(Some(Signature::Both)),
        Some(_) => Err(Error::invalid("signature", "must be hmac, ed25519 or both")),
    }
}

/// Puts into a webhook's view what is not secret of all this.
pub(super) fn show(view: &mut Value, webhook: &Webhook) {
    view["auth"] = match &webhook.auth {
        None => Value::Null,
        Some(Auth::Bearer(_)) => json!({ "type": "bearer" }),
        Some(Auth::Basic(own)) => json!({ "type": "basic", "username": own.id }),
        Some(Auth::ClientCredentials(source)) => json!({
            "type": "oauth2_client_credentials", "token_url": source.url, "client_id": source.client_id,
            "scope": source.scope, "audience": source.audience,
            "auth_style": match source.style { AuthStyle::Basic => "basic", AuthStyle::Body => "body" },
        }),
    };
    let certificate = webhook.certificate.as_ref();
    view["client_certificate"] = json!(certificate.map(|certificate| {
        json!({ "subject": certificate.subject(), "expires_at": certificate.ends_at() })
    }));
    let current = |secrets: &[SigningSecret]| secrets.first().is_some_and(SigningSecret::is_current);
    view["signature"] = match (current(&webhook.secrets), current(&webhook.key_pairs)) {
        (false, false) => Value::Null,
        (true, false) => json!("hmac"),
        (false, true) => json!("ed25519"),
        (true, true) => json!("both"),
    };
    let key = webhook.key_pairs.first().filter(|pair| pair.is_current()).and_then(SigningSecret::public_key);
    view["public_key"] = json!(key.map(|key| key.standard()));
    view["jwks"] = json!(
        key.map(|_| { format!("/.well-known/jwks.json?tenant={}&webhook={}", webhook.tenant, webhook.id) })
    );
}

/// `GET /.well-known/jwks.json?tenant=…&webhook=…`. What names no webhook is as good as one that is not there: who asks
/// has no key, and learns of none.
pub(super) fn public_keys(request: &Request) -> Operation {
    let query = Query::of(request);
    let named = |name| query.get(name).unwrap_or_default();
    Operation::ListPublicKeys(named("tenant").parse().ok().zip(named("webhook").parse().ok()))
}

/// A JSON Web Key Set (RFC 7517, 5; RFC 8037, 2). A receiver may keep it for a while that is short beside the day for which
/// an old key signs on.
pub(super) fn key_set(keys: &[PublicKey]) -> Response {
    let key = |key: &PublicKey| {
        json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
            "kid": key.thumbprint(), "x": key.x(),
        })
    };
    let view = json!({ "keys": keys.iter().map(key).collect::<Vec<_>>() });
    let mut response = answer(http::StatusCode::OK, "application/jwk-set+json", &view);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
