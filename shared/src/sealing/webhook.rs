//! What of a webhook is sealed: all that may be a secret.

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    model::{
        Attributes, Auth, AuthStyle, ClientCertificate, Credentials, Header, Secret, SigningSecret,
        TargetUrl, TokenSource, Webhook,
    },
};

#[derive(Serialize, Deserialize)]
pub(super) struct PlainWebhook<'a> {
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<PlainSecret<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    key_pairs: Vec<PlainSecret<'a>>,
    #[serde(default, skip_serializing_if = "<[Header]>::is_empty")]
    headers: Cow<'a, [Header]>,
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    attributes: Cow<'a, Attributes>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    auth: Option<PlainAuth<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    certificate: Option<PlainCertificate<'a>>,
}

#[derive(Serialize, Deserialize)]
struct PlainSecret<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PlainAuth<'a> {
    #[serde(borrow)]
    Bearer(Cow<'a, str>),
    Basic {
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(borrow)]
        secret: Cow<'a, str>,
    },
    #[serde(borrow)]
    ClientCredentials(PlainSource<'a>),
}

#[derive(Serialize, Deserialize)]
struct PlainSource<'a> {
    url: TargetUrl,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    secret: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audience: Option<String>,
    in_body: bool,
}

#[derive(Serialize, Deserialize)]
struct PlainCertificate<'a> {
    #[serde(borrow)]
    chain: Cow<'a, str>,
    #[serde(borrow)]
    key: Cow<'a, str>,
}

impl<'a> PlainWebhook<'a> {
    pub(super) fn of(webhook: &'a Webhook) -> Self {
        let plain = |secrets: &'a [SigningSecret]| secrets.iter().map(PlainSecret::of).collect();
        Self {
            secrets: plain(&webhook.secrets),
            key_pairs: plain(&webhook.key_pairs),
            headers: Cow::Borrowed(&webhook.headers),
            attributes: Cow::Borrowed(&webhook.attributes),
            auth: webhook.auth.as_ref().map(PlainAuth::of),
            certificate: webhook.certificate.as_ref().map(|certificate| PlainCertificate {
                chain: certificate.chain().into(),
                key: certificate.key().reveal().into(),
            }),
        }
    }

    pub(super) fn put_into(self, webhook: &mut Webhook) -> Result<(), Error> {
        let opened = |secrets: Vec<PlainSecret<'_>>| secrets.into_iter().map(PlainSecret::open).collect();
        webhook.secrets = opened(self.secrets);
        webhook.key_pairs = opened(self.key_pairs);
        webhook.headers = self.headers.into_owned();
        webhook.attributes = self.attributes.into_owned();
        webhook.auth = self.auth.map(PlainAuth::open);
        let parse = |kept: PlainCertificate<'_>| {
            ClientCertificate::parse(&kept.chain, Secret::new(kept.key))
                .map_err(|_| Error::Internal("a kept certificate cannot be read".into()))
        };
        webhook.certificate = self.certificate.map(parse).transpose()?;
        Ok(())
    }
}

impl<'a> PlainSecret<'a> {
    fn of(secret: &'a SigningSecret) -> Self {
        Self { key: secret.key.reveal().into(), until: secret.retires_at }
    }

    fn open(self) -> SigningSecret {
        SigningSecret { key: Secret::new(self.key), retires_at: self.until }
    }
}

impl<'a> PlainAuth<'a> {
    fn of(auth: &'a Auth) -> Self {
        match auth {
            Auth::Bearer(token) => Self::Bearer(token.reveal().into()),
            Auth::Basic(own) => Self::Basic { id: (&*own.id).into(), secret: own.secret.reveal().into() },
            Auth::ClientCredentials(source) => Self::ClientCredentials(PlainSource {
                url: source.url.clone(),
                id: (&*source.client_id).into(),
                secret: source.client_secret.reveal().into(),
                scope: source.scope.clone(),
                audience: source.audience.clone(),
                in_body: source.style == AuthStyle::Body,
            }),
        }
    }

    fn open(self) -> Auth {
        match self {
            Self::Bearer(token) => Auth::Bearer(Secret::new(token)),
            Self::Basic { id, secret } => {
                Auth::Basic(Credentials { id: id.into_owned(), secret: Secret::new(secret) })
            }
            Self::ClientCredentials(source) => Auth::ClientCredentials(Arc::new(TokenSource {
                url: source.url,
                client_id: source.id.into_owned(),
                client_secret: Secret::new(source.secret),
                scope: source.scope,
                audience: source.audience,
                style: if source.in_body { AuthStyle::Body } else { AuthStyle::Basic },
            })),
        }
    }
}
