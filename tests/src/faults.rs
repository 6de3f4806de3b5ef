//! A proxy before what stands in for AWS: it answers in the place of a server, or keeps what the server answered to
//! itself, as a plan says.
//!
//! What it answers is what AWS does: `DynamoDB`, SQS and KMS speak AWS JSON, in which an error is a status and a body
//! whose `__type` names it.

use std::{
    collections::{BTreeMap, HashSet},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_config::{SdkConfig, retry::RetryConfig};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

use crate::{rng::Rng, servers::Servers};

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is refused, for there are too many.
    Throttled,
    /// The server fails before it does anything.
    Broken,
    /// The server does it; its answer is a 500.
    AnswerLost,
    /// The server does it; the connection is cut.
    CutOff,
    /// The server does it, and its answer comes after so many milliseconds.
    Late(u64),
    /// Of a batch, all but the last is done.
    Partial,
    /// Another transaction is under way on one of its items.
    Conflict,
}

/// A call to one of the services.
#[derive(Debug)]
pub struct Call {
    /// What it asks for, as the service calls it: `PutItem`.
    pub operation: String,
    /// Which try of the SDK's it is, from 1 on.
    pub attempt: u32,
    /// What it says.
    pub body: Value,
    is_dynamodb: bool,
}

impl Call {
    fn read(headers: &HeaderMap, body: &Bytes) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (service, operation) = text("x-amz-target").split_once('.').unwrap_or_default();
        // `attempt=2; max=3`
        let attempt =
            text("amz-sdk-request").split(';').find_map(|part| part.trim().strip_prefix("attempt="));
        Self {
            operation: operation.to_owned(),
            attempt: attempt.and_then(|number| number.parse().ok()).unwrap_or(1),
            body: serde_json::from_slice(body).unwrap_or_default(),
            is_dynamodb: service.starts_with("DynamoDB"),
        }
    }

    /// Whether it changes anything.
    pub fn writes(&self) -> bool {
        let reads = ["GetItem", "BatchGetItem", "Query", "ReceiveMessage", "Decrypt", "GenerateDataKey"];
        !reads.contains(&self.operation.as_str())
    }

    /// Whether it is a transaction.
    pub fn is_transaction(&self) -> bool {
        self.operation == "TransactWriteItems"
    }

    /// Whether it asks for several things, of which some may be done and others not.
    pub fn is_batch(&self) -> bool {
        self.last_of_batch().is_some()
    }

    /// The same without the last thing that it asks for, and that.
    fn last_of_batch(&self) -> Option<(Value, Value)> {
        let mut rest = self.body.clone();
        let entries = match &*self.operation {
            "SendMessageBatch" | "DeleteMessageBatch" => &mut rest["Entries"],
            "BatchWriteItem" => rest["RequestItems"].as_object_mut()?.values_mut().next()?,
            "BatchGetItem" => &mut rest["RequestItems"].as_object_mut()?.values_mut().next()?["Keys"],
            _ => return None,
        };
        let entries = entries.as_array_mut().filter(|entries| entries.len() > 1)?;
        let last = entries.pop()?;
        Some((rest, last))
    }

    /// The answer to a batch as it is when its last part was not done.
    fn without(&self, answer: &mut Value, last: &Value) {
        match &*self.operation {
            "BatchGetItem" | "BatchWriteItem" => {
                let is_read = self.operation == "BatchGetItem";
                let mut left = self.body["RequestItems"].clone();
                for of_table in left.as_object_mut().into_iter().flat_map(|tables| tables.values_mut()) {
                    *(if is_read { &mut of_table["Keys"] } else { of_table }) = json!([last]);
                }
                answer[if is_read { "UnprocessedKeys" } else { "UnprocessedItems" }] = left;
            }
            _ => {
                let failed =
                    json!({ "Id": last["Id"], "SenderFault": false, "Code": "InternalError", "Message": "" });
                match answer["Failed"].as_array_mut() {
                    Some(others) => others.push(failed),
                    None => answer["Failed"] = json!([failed]),
                }
            }
        }
    }

    fn error(&self, fault: Fault) -> Answer {
        let (status, code) = match fault {
            Fault::Throttled if self.is_dynamodb => (400, "ProvisionedThroughputExceededException"),
            Fault::Throttled if self.operation.contains("Message") => (400, "RequestThrottled"),
            Fault::Throttled => (400, "ThrottlingException"),
            Fault::Conflict if self.is_transaction() => (400, "TransactionCanceledException"),
            Fault::Conflict => (400, "TransactionConflictException"),
            _ => (500, "InternalServerError"),
        };
        let mut body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "so the plan says" });
        if let Some(items) = self.body["TransactItems"].as_array() {
            let mut reasons = vec![json!({ "Code": "None" }); items.len()];
            reasons[0] = json!({ "Code": "TransactionConflict", "Message": "so the plan says" });
            body["CancellationReasons"] = json!(reasons);
        }
        let answer =
            Response::builder().status(status).header(header::CONTENT_TYPE, "application/x-amz-json-1.0");
        answer.body(Full::from(body.to_string())).expect("an answer that can be sent")
    }
}

type Answer = Response<Full<Bytes>>;
type Plan = Box<dyn FnMut(&Call) -> Option<Fault> + Send>;

/// The harshest plan that a client which does everything right does not feel, for it tries again: no call gets through at
/// its first try. What writes has written, but nobody hears of it; but for messages, which would come twice.
pub fn every_first_try() -> Plan {
    let (mut conflicts, mut turn) = (HashSet::new(), 0_usize);
    Box::new(move |call| {
        if call.attempt > 1 {
            return None;
        }
        turn += 1;
        if call.is_transaction() && conflicts.insert(call.body["TransactItems"].to_string()) {
            return Some(Fault::Conflict);
        }
        let kinds: &[Fault] = match call.writes() {
            _ if call.is_batch() && !turn.is_multiple_of(3) => &[Fault::Partial],
            true if call.operation != "SendMessageBatch" => &[Fault::AnswerLost, Fault::CutOff],
            _ => &[Fault::Throttled, Fault::Broken],
        };
        Some(kinds[turn % kinds.len()])
    })
}

/// So many of a hundred calls go wrong, in one way or another.
pub fn now_and_then(seed: u64, percent: u64) -> Plan {
    const KINDS: [Fault; 6] =
        [Fault::Throttled, Fault::Broken, Fault::AnswerLost, Fault::CutOff, Fault::Partial, Fault::Conflict];
    let mut rng = Rng::new(seed);
    Box::new(move |_| (rng.below(100) < percent).then(|| *rng.pick(&KINDS)))
}

/// Every call goes wrong in the same way.
pub fn always(fault: Fault) -> Plan {
    whenever(|_| true, fault)
}

/// Every call of a kind goes wrong in the same way.
pub fn whenever(of_kind: impl Fn(&Call) -> bool + Send + 'static, fault: Fault) -> Plan {
    Box::new(move |call| of_kind(call).then_some(fault))
}

/// Nothing goes wrong.
pub fn never() -> Plan {
    Box::new(|_| None)
}

/// A proxy that ends with the test.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    serving: AbortHandle,
}

struct State {
    servers: &'static Servers,
    client: reqwest::Client,
    plan: Mutex<Plan>,
    injected: Mutex<BTreeMap<(String, Fault), usize>>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Before the servers that all tests share.
    pub async fn start(plan: Plan) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port for the proxy");
        let address = listener.local_addr().expect("the proxy's address");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let state = Arc::new(State {
            servers: Servers::shared(),
            client,
            plan: Mutex::new(plan),
            injected: Mutex::default(),
        });
        let shared = state.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                let state = shared.clone();
                let service = service_fn(move |request| {
                    let state = state.clone();
                    async move { state.answer(request).await }
                });
                tokio::spawn(async move {
                    // A connection that the plan cuts ends with an error, which is what its client is to see.
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
        });
        Self { address, state, serving: serving.abort_handle() }
    }

    /// AWS's configuration that leads to it. What goes wrong is tried again at once.
    pub fn config(&self) -> SdkConfig {
        let retry = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
        let config = Servers::config_at(&format!("http://{}", self.address));
        config.into_builder().retry_config(retry).build()
    }

    /// From here on another plan.
    pub fn follow(&self, plan: Plan) {
        *lock(&self.state.plan) = plan;
    }

    /// How often what went wrong, by operation.
    pub fn injected(&self) -> BTreeMap<(String, Fault), usize> {
        lock(&self.state.injected).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a connection is cut.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("so the plan says")
    }
}

impl std::error::Error for Cut {}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Cut> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        let call = Call::read(&parts.headers, &body);
        let fault = lock(&self.plan)(&call);
        // What is no batch can be done in part no more than half a write conflicts with a transaction.
        let fault = fault.filter(|fault| match fault {
            Fault::Partial => call.is_batch(),
            Fault::Conflict => call.is_dynamodb && call.writes() && !call.operation.starts_with("Batch"),
            _ => true,
        });
        let Some(fault) = fault else { return self.forward(&call, parts.headers, body).await };
        *lock(&self.injected).entry((call.operation.clone(), fault)).or_default() += 1;
        match fault {
            Fault::Throttled | Fault::Broken | Fault::Conflict => Ok(call.error(fault)),
            Fault::AnswerLost => {
                self.forward(&call, parts.headers, body).await?;
                Ok(call.error(fault))
            }
            Fault::CutOff => {
                self.forward(&call, parts.headers, body).await?;
                Err(Cut)
            }
            Fault::Late(millis) => {
                let answer = self.forward(&call, parts.headers, body).await;
                tokio::time::sleep(Duration::from_millis(millis)).await;
                answer
            }
            Fault::Partial => self.forward_in_part(&call, parts.headers).await,
        }
    }

    async fn forward(&self, call: &Call, mut headers: HeaderMap, body: Bytes) -> Result<Answer, Cut> {
        headers.remove(header::HOST);
        headers.remove(header::CONTENT_LENGTH);
        let to = if call.is_dynamodb { self.servers.dynamodb() } else { self.servers.others() };
        let answer = self.client.post(to).headers(headers).body(body).send().await.map_err(|_| Cut)?;
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.map_err(|_| Cut)?;
        headers.remove(header::TRANSFER_ENCODING);
        headers.remove(header::CONNECTION);
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    async fn forward_in_part(&self, call: &Call, headers: HeaderMap) -> Result<Answer, Cut> {
        let (rest, last) = call.last_of_batch().ok_or(Cut)?;
        let answer = self.forward(call, headers, rest.to_string().into()).await?;
        let (mut parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        if parts.status != StatusCode::OK {
            return Ok(Response::from_parts(parts, Full::from(body)));
        }
        let mut told: Value = serde_json::from_slice(&body).map_err(|_| Cut)?;
        call.without(&mut told, &last);
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove("x-amz-crc32");
        Ok(Response::from_parts(parts, Full::from(told.to_string())))
    }
}
