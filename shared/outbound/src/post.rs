//! One POST: one deadline over all of it, no redirects, and no more of the answer than is kept.

use std::{
    borrow::Cow,
    error::Error as _,
    net::SocketAddr,
    num::NonZeroUsize,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, join};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, Uri,
    header::{ACCEPT, AUTHORIZATION, HOST, USER_AGENT},
};
use http_body_util::Full;
use hyper::body::Incoming;
use postrider::{
    error::Error,
    model::{Failure, KeptHeaders, Phases, Reply, TargetUrl, TokenSource, Webhook},
    ports::{LATE, Outgoing, Post, Room},
    token::{self, Token},
    verdict::{Answer, Broken, Exchange},
};
use tokio::time::{Instant, error::Elapsed, timeout, timeout_at};
use url::Position;

use crate::{
    connection::Connection,
    connector::{Connector, DialError, micros},
    crowd::Crowd,
    pool::Pool,
    resolve::{LocalName, Resolver},
    tokens::Tokens,
    trust::Authorities,
};

/// How much of an answer's body is kept.
const KEPT: usize = 16 * 1024;

/// How often it is looked at an exchange that goes on.
const LOOK: Duration = Duration::from_millis(100);

/// From what length on a header's value is taken for a secret: what is shorter may be in any text.
const SECRET: usize = 8;

/// What the operator decided about the way out.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Whether private addresses may be dialled. Only for local work.
    pub allow_private: bool,
    /// Names that resolve as told.
    pub local_names: Vec<LocalName>,
    /// Who is asked for all other names, in the place of the system's name servers.
    pub name_servers: Vec<SocketAddr>,
    /// Who may vouch for a receiver, beside the public authorities.
    pub authorities: Authorities,
    /// Deliveries that may be under way to one host name at once, whosever they are; none: any number.
    pub per_host: Option<NonZeroUsize>,
}

/// Sends messages out.
pub struct Outbound {
    connector: Connector,
    crowd: Crowd,
    pool: Arc<Pool>,
    tokens: Tokens,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outbound")
    }
}

/// What is known of an exchange, however it ends.
#[derive(Default)]
struct Seen {
    phases: Phases,
    address: Option<SocketAddr>,
}

/// An exchange that broke off.
struct Lost {
    broken: Broken,
    /// It broke off before a byte of an answer came back. Over a kept connection that is no more than the end of a
    /// connection that the receiver had done with. A receiver that did get the message knows its repetition by
    /// `webhook-id`.
    unanswered: bool,
}

impl Outbound {
    /// Makes the client. Nothing is dialled yet.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let resolver = Resolver::new(settings.local_names, &settings.name_servers, settings.allow_private);
        let no_tls = |error| Error::Internal(format!("setting up TLS: {error}"));
        let roots = settings.authorities.with_public().map_err(no_tls)?;
        let connector = Connector::new(resolver, roots).map_err(no_tls)?;
        let crowd = Crowd::new(settings.per_host.map(NonZeroUsize::get));
        Ok(Self { connector, crowd, pool: Arc::default(), tokens: Tokens::default() })
    }

    async fn authenticated(&self, message: &mut Outgoing, seen: &mut Seen) -> Result<Answer, Broken> {
        match message.token.clone() {
            None => self.exchange(message, seen).await,
            // It may take four exchanges: an ordinary one is not to be as large.
            Some(source) => Box::pin(self.with_token(&source, message, seen)).await,
        }
    }

    /// With a token; should the receiver not know it any more, with another.
    async fn with_token(
        &self,
        source: &TokenSource,
        message: &mut Outgoing,
        seen: &mut Seen,
    ) -> Result<Answer, Broken> {
        let token = self.tokens.get(source, Box::pin(self.fetch(source, message))).await?;
        message.headers.insert(AUTHORIZATION, token.authorization().clone());
        let answer = self.exchange(message, seen).await?;
        if answer.reply.status != 401 {
            return Ok(answer);
        }
        self.tokens.forget(source, &token);
        let token = self.tokens.get(source, Box::pin(self.fetch(source, message))).await?;
        message.headers.insert(AUTHORIZATION, token.authorization().clone());
        self.exchange(message, seen).await
    }

    /// Gets a token, by the same guarded way. It may take half of the message's time.
    async fn fetch(&self, source: &TokenSource, message: &Outgoing) -> Result<Token, Broken> {
        let within = message.timeout / 2;
        let broken =
            |detail| Broken { failure: Failure::Token, detail: format!("no access token: {detail}") };
        let asked = token::request(source, within, message.connect_timeout);
        let mut asked = asked.map_err(|error| broken(error.to_string()))?;
        complete(&mut asked)?;
        let answer = timeout(within, self.exchange(&asked, &mut Seen::default())).await;
        let late = |_| broken(format!("no whole answer from the token endpoint within {within:?}"));
        let answer = answer.map_err(late)?.map_err(|why| broken(why.detail))?;
        token::read(&answer.reply).map_err(broken)
    }

    async fn exchange(&self, message: &Outgoing, seen: &mut Seen) -> Result<Answer, Broken> {
        let place = place(message);
        let (mut kept, mut opening) = (self.pool.take(&place), None);
        if kept.is_none() {
            // Meanwhile another exchange may be done with its connection.
            opening = self.crowd.opening(&place).await;
            kept = self.pool.take(&place);
        }
        if let Some(kept) = kept {
            match self.send(kept, message, seen).await {
                Err(Lost { unanswered: true, .. }) => {}
                Err(Lost { broken, .. }) => return Err(broken),
                Ok(answer) => return Ok(answer),
            }
        }
        let (certificate, within) = (message.certificate.as_ref(), message.connect_timeout);
        // Most exchanges find an open one: theirs are not to be as large.
        let opened = Box::pin(self.connector.open(&message.url, certificate, within, &mut seen.phases)).await;
        let opened = opened.map_err(|DialError { failure, detail }| Broken { failure, detail })?;
        drop(opening);
        self.send(opened, message, seen).await.map_err(|lost| lost.broken)
    }

    async fn send(
        &self,
        mut connection: Connection,
        message: &Outgoing,
        seen: &mut Seen,
    ) -> Result<Answer, Lost> {
        seen.address = Some(connection.address);
        let request = request(message).map_err(|broken| Lost { broken, unanswered: false })?;
        let began = Instant::now();
        let response = connection
            .send(request)
            .await
            .map_err(|error| Lost { unanswered: !error.is_parse(), broken: broken(&error) })?;
        seen.phases.first_byte_us = Some(micros(began.elapsed()));
        let answer = read(&mut connection, response).await;
        let answer = answer.map_err(|broken| Lost { broken, unanswered: false })?;
        // A body that goes on is left unread, and its connection with it.
        if !answer.reply.truncated {
            self.pool.keep(&place(message), connection);
        }
        Ok(answer)
    }
}

/// Scheme, host and port, and whose certificate was shown: for what a connection may be used again.
fn place(message: &Outgoing) -> Cow<'_, str> {
    let origin = &message.url[..Position::BeforePath];
    match &message.certificate {
        None => origin.into(),
        Some(shown) => format!("{origin}#{:x?}", shown.fingerprint()).into(),
    }
}

fn unsendable(detail: String) -> Broken {
    Broken { failure: Failure::Message, detail }
}

/// Adds what every message of ours says of itself.
fn complete(message: &mut Outgoing) -> Result<(), Broken> {
    let host = HeaderValue::from_str(&message.url[Position::BeforeHost..Position::BeforePath])
        .map_err(|error| unsendable(format!("the URL's host: {error}")))?;
    let headers = &mut message.headers;
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("Postrider/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    Ok(())
}

fn request(message: &Outgoing) -> Result<Request<Full<Bytes>>, Broken> {
    let uri: Uri = message.url[Position::BeforePath..Position::AfterQuery]
        .parse()
        .map_err(|error| unsendable(format!("the URL: {error}")))?;
    let mut request = Request::new(Full::new(message.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    request.headers_mut().clone_from(&message.headers);
    Ok(request)
}

/// Reads what is kept of an answer.
async fn read(connection: &mut Connection, response: Response<Incoming>) -> Result<Answer, Broken> {
    let (head, mut body) = response.into_parts();
    let status = head.status.as_u16();
    let mut kept: Vec<u8> = Vec::new();
    let mut truncated = false;
    while let Some(frame) = connection.frame(&mut body).await {
        let frame = frame.map_err(|error| Broken {
            failure: Failure::Protocol,
            detail: format!("the receiver broke off in the middle of its answer: {error}"),
        })?;
        let Some(data) = frame.data_ref() else { continue };
        let room = KEPT - kept.len();
        kept.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            truncated = true;
            break;
        }
    }
    let body = String::from_utf8_lossy(&kept).into_owned();
    let reply = Reply { status, body, truncated, headers: KeptHeaders::default() };
    Ok(Answer { reply, headers: head.headers })
}

fn broken(error: &hyper::Error) -> Broken {
    let failure = if error.is_parse_too_large() { Failure::TooLarge } else { Failure::Protocol };
    Broken { failure, detail: words(error) }
}

/// Takes out of an answer what a receiver repeats of that by which we proved ourselves: answers are kept, and shown.
fn forget_secrets(answer: &mut Answer, sent: &HeaderMap) {
    const FORGOTTEN: &str = "[secret]";
    for value in sent.values().filter(|value| value.is_sensitive()).filter_map(|value| value.to_str().ok()) {
        // Of `Authorization` what comes after the scheme.
        let secret = value.split_once(' ').map_or(value, |(_, secret)| secret);
        if secret.len() < SECRET {
            continue;
        }
        if answer.reply.body.contains(secret) {
            answer.reply.body = answer.reply.body.replace(secret, FORGOTTEN);
        }
        for header in answer.headers.values_mut() {
            if header.as_bytes().windows(secret.len()).any(|part| part == secret.as_bytes()) {
                *header = HeaderValue::from_static(FORGOTTEN);
            }
        }
    }
}

fn words(error: &hyper::Error) -> String {
    if error.is_parse_too_large() {
        "the answer's head is longer than 64 KiB, or has more than 100 headers".into()
    } else if error.is_parse() {
        "what came back is not HTTP".into()
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        "the receiver closed the connection without an answer".into()
    } else {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("the exchange broke off{cause}")
    }
}

/// Waits for an exchange until its deadline; when it is [`LATE`], `late` is done meanwhile. A moment at which this process did
/// not come to look at its clock in time is not the receiver's.
async fn within<T>(
    deadline: Instant,
    mut exchange: Pin<&mut impl Future<Output = T>>,
    late: BoxFuture<'_, ()>,
) -> Result<T, Elapsed> {
    let mut waited = Duration::ZERO;
    while waited < LATE {
        let next = Instant::now() + LOOK;
        match timeout_at(next.min(deadline), &mut exchange).await {
            Ok(ended) => return Ok(ended),
            Err(elapsed) if deadline <= next => return Err(elapsed),
            Err(_) if next.elapsed() < LOOK / 2 => waited += LOOK,
            Err(_) => {}
        }
    }
    timeout_at(deadline, join(exchange, late)).await.map(|(ended, ())| ended)
}

#[async_trait]
impl Post for Outbound {
    async fn enter(&self, webhook: &Webhook) -> Option<Room> {
        let url = webhook.url.as_ref().map(TargetUrl::shared);
        self.crowd.enter(webhook.id, url.as_ref().and_then(|url| url.host_str())).await
    }

    async fn post(&self, mut message: Outgoing, late: BoxFuture<'_, ()>) -> Exchange {
        let began = Instant::now();
        let mut seen = Seen::default();
        let deadline = began + message.timeout;
        let exchanged = {
            let exchange = pin!(async {
                complete(&mut message)?;
                self.authenticated(&mut message, &mut seen).await
            });
            within(deadline, exchange, late).await
        };
        let mut result = exchanged.unwrap_or_else(|_| {
            let detail = format!("no whole answer within {} s", message.timeout.as_secs());
            Err(Broken { failure: Failure::Timeout, detail })
        });
        if let Ok(answer) = &mut result {
            forget_secrets(answer, &message.headers);
        }
        let Seen { mut phases, address } = seen;
        phases.total_us = micros(began.elapsed());
        let sent = if address.is_some() { message.headers } else { HeaderMap::new() };
        Exchange { phases, address: address.map(|address| address.to_string()), sent, result }
    }
}
