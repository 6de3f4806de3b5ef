//! One POST: one deadline over all of it, no redirects, and no more of the answer than is kept.

use std::{error::Error as _, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, Uri,
    header::{ACCEPT, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error as ClientError},
    rt::{TokioExecutor, TokioTimer},
};
use postrider::{
    error::Error,
    model::{Failure, Phases, Reply},
    ports::{Outgoing, Post},
    verdict::{Answer, Broken, Exchange},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    connector::{Connector, DialError, Dialled, micros},
    resolve::{LocalName, Resolver},
    trust::Authorities,
};

/// How much of an answer's body is kept.
const KEPT: usize = 16 * 1024;
/// How long an unused connection is kept: shorter than receivers usually keep theirs, and than a function is
/// left frozen.
const IDLE: Duration = Duration::from_secs(10);
/// Unused connections to one host at most.
const IDLE_PER_HOST: usize = 512;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the operator decided about the way out.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Whether private addresses may be dialled. Only for local work.
    pub allow_private: bool,
    /// Names that resolve as told.
    pub local_names: Vec<LocalName>,
    /// Who may vouch for a receiver, beside the public authorities.
    pub authorities: Authorities,
}

type Http = Client<Connector, Full<Bytes>>;

/// Sends messages out.
pub struct Outbound {
    pooled: Http,
    /// Opens a connection for each message: the second try after a kept connection turned out to be dead.
    fresh: Http,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outbound")
    }
}

impl Outbound {
    /// Makes the client. Nothing is dialled yet.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let resolver = Resolver::new(settings.local_names, settings.allow_private);
        let no_tls = |error| Error::Internal(format!("setting up TLS: {error}"));
        let roots = settings.authorities.with_public().map_err(no_tls)?;
        let connector = Connector::new(resolver, roots, CONNECT_TIMEOUT).map_err(no_tls)?;
        let client = |idle: usize| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(idle)
                .build(connector.clone())
        };
        Ok(Self { pooled: client(IDLE_PER_HOST), fresh: client(0) })
    }

    async fn exchange(&self, message: &Outgoing, phases: &mut Phases) -> Tried {
        let mut tried = try_once(&self.pooled, message, phases).await;
        if matches!(tried, Err(Lost { stale: true, .. })) {
            tried = try_once(&self.fresh, message, phases).await;
        }
        tried.unwrap_or_else(|lost| Tried { address: lost.address, result: Err(lost.broken) })
    }
}

/// What came of a message before the deadline.
struct Tried {
    address: Option<String>,
    result: Result<Answer, Broken>,
}

/// An exchange that broke off.
struct Lost {
    broken: Broken,
    address: Option<String>,
    /// It went over a kept connection, and no byte of an answer came back. A receiver that did get the message
    /// knows its repetition by `webhook-id`.
    stale: bool,
}

fn request(message: &Outgoing) -> Result<Request<Full<Bytes>>, Broken> {
    let unsendable = |detail: String| Broken { failure: Failure::Message, detail };
    let uri: Uri = message.url.as_str().parse().map_err(|e| unsendable(format!("the URL: {e}")))?;
    let mut request = Request::new(Full::new(message.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = message.headers.clone();
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("Postrider/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    Ok(request)
}

async fn try_once(client: &Http, message: &Outgoing, phases: &mut Phases) -> Result<Tried, Lost> {
    let request = request(message).map_err(|broken| Lost { broken, address: None, stale: false })?;
    let began = Instant::now();
    let response = match client.request(request).await {
        Ok(response) => response,
        Err(error) => {
            let dialled = dialled(&error);
            let reused = dialled.as_ref().is_some_and(|dialled| {
                let before = *phases;
                dialled.tell(phases);
                *phases == before
            });
            let address = dialled.map(|dialled| dialled.address.to_string());
            let broken = broken(&error);
            let stale = reused && broken.failure == Failure::Protocol;
            return Err(Lost { broken, address, stale });
        }
    };
    let mut address = None;
    if let Some(dialled) = response.extensions().get::<Dialled>() {
        dialled.tell(phases);
        address = Some(dialled.address.to_string());
    }
    phases.first_byte_us = Some(micros(began.elapsed()).saturating_sub(Dialled::time(phases)));
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let result = match read(response).await {
        Ok(reply) => Ok(Answer { reply, retry_after }),
        Err(broken) => Err(broken),
    };
    Ok(Tried { address, result })
}

/// The connection that an exchange broke off on, if it came to have one.
fn dialled(error: &ClientError) -> Option<Dialled> {
    let mut extensions = http::Extensions::new();
    error.connect_info()?.get_extras(&mut extensions);
    extensions.remove::<Dialled>()
}

/// Reads what is kept. A body that goes on is left unread, and its connection with it.
async fn read(response: Response<Incoming>) -> Result<Reply, Broken> {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut kept: Vec<u8> = Vec::new();
    let mut truncated = false;
    while let Some(frame) = body.frame().await {
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
    Ok(Reply { status, body: String::from_utf8_lossy(&kept).into_owned(), truncated })
}

fn broken(error: &ClientError) -> Broken {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(dial) = cause.downcast_ref::<DialError>() {
            return Broken { failure: dial.failure, detail: dial.detail.clone() };
        }
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
            return Broken { failure: Failure::Protocol, detail: words(hyper) };
        }
        source = cause.source();
    }
    Broken { failure: Failure::Protocol, detail: "the exchange broke off".into() }
}

fn words(error: &hyper::Error) -> String {
    if error.is_parse() {
        "what came back is not HTTP".into()
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        "the receiver closed the connection without an answer".into()
    } else {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("the exchange broke off{cause}")
    }
}

#[async_trait]
impl Post for Outbound {
    async fn post(&self, message: Outgoing) -> Exchange {
        let began = Instant::now();
        let mut phases = Phases::default();
        let tried = timeout_at(began + message.timeout, self.exchange(&message, &mut phases)).await;
        let tried = tried.unwrap_or_else(|_| {
            let detail = format!("no whole answer within {} s", message.timeout.as_secs());
            Tried { address: None, result: Err(Broken { failure: Failure::Timeout, detail }) }
        });
        phases.total_us = micros(began.elapsed());
        Exchange { phases, address: tried.address, result: tried.result }
    }
}
