//! One way through: decode, authenticate, authorise, perform, encode.

use std::sync::{Arc, LazyLock};

use http::{
    HeaderValue, Method, StatusCode,
    header::{ALLOW, WWW_AUTHENTICATE},
};

use crate::{
    access::{self, Principal},
    again, authentication,
    bucket::Poured,
    catalogue::Catalogue,
    credentials, description,
    dialect::{self, Call, Context, Dialect, Request, Response},
    error::Error,
    filters, health, history, lines, oauth,
    operation::{Operation, Outcome},
    parked, polling,
    ports::{Ports, Post},
    publish, replay, stats, tenants, testing, topics, undelivered, webhooks,
};

/// Which operations a function does: each has the rights that these need, and no others.
#[derive(Clone, Copy)]
pub enum Desk<'a> {
    /// Tenants, keys, webhooks, and the record of deliveries.
    Registration,
    /// What receivers authenticate us by.
    Credentials,
    /// Events.
    Publish,
    /// Test events: the one desk with a way out.
    Testing(&'a dyn Post),
}

impl Desk<'_> {
    fn does(self, operation: &Operation) -> bool {
        match operation {
            Operation::GrantCredentials { .. } => matches!(self, Desk::Credentials),
            Operation::Publish(_) => matches!(self, Desk::Publish),
            Operation::SendTest(..) => matches!(self, Desk::Testing(_)),
            _ => matches!(self, Desk::Registration),
        }
    }
}

static NOTHING_ADDED: LazyLock<Catalogue> = LazyLock::new(Catalogue::default);

/// Answers a request, whatever it is.
#[tracing::instrument(name = "request", skip_all, fields(method = %request.method(), path = request.uri().path()))]
pub async fn answer(ports: &Ports, desk: Desk<'_>, request: &Request) -> Response {
    let head = with_head_as_get(request);
    let request = head.as_ref().unwrap_or(request);
    let dialect = dialect::of(request);
    let incident = ports.dice.uuid(ports.clock.now());
    let known = ports.store.catalogue().await;
    let catalogue = known.as_deref().unwrap_or(&NOTHING_ADDED);
    let calls = dialect.decode(request, catalogue);
    let mut results = Vec::with_capacity(calls.len());
    let mut level = None;
    for call in calls {
        let result = one(ports, desk, dialect, call, &known, &mut level).await;
        if let Some(fault) = result.as_ref().err().and_then(Error::fault) {
            let path = request.uri().path();
            tracing::error!(%incident, dialect = dialect.name(), method = %request.method(), path, fault);
        }
        results.push(result);
    }
    let mut response = dialect.encode(Context { request, catalogue, incident, level }, results);
    complete(&mut response, request, catalogue);
    response
}

/// What HTTP asks of an answer whatever the dialect (RFC 9110, 15.5.2 and 15.5.6).
fn complete(response: &mut Response, request: &Request, catalogue: &Catalogue) {
    match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => {
            if let Ok(methods) = HeaderValue::from_str(&dialect::allowed(request.uri(), catalogue)) {
                response.headers_mut().insert(ALLOW, methods);
            }
        }
        StatusCode::UNAUTHORIZED => {
            let challenge = HeaderValue::from_static("Bearer realm=\"postrider\"");
            response.headers_mut().entry(WWW_AUTHENTICATE).or_insert(challenge);
        }
        _ => {}
    }
}

/// RFC 9110, 9.3.2: HEAD is GET, and the server that speaks HTTP leaves the body out.
fn with_head_as_get(request: &Request) -> Option<Request> {
    (request.method() == Method::HEAD).then(|| {
        let mut request = request.clone();
        *request.method_mut() = Method::GET;
        request
    })
}

async fn one(
    ports: &Ports,
    desk: Desk<'_>,
    dialect: &dyn Dialect,
    call: Call,
    known: &Result<Arc<Catalogue>, Error>,
    level: &mut Option<u32>,
) -> Result<Outcome, Error> {
    match &call.operation {
        Ok(Operation::CheckHealth) => return Ok(Outcome::Healthy),
        // Whether a path exists is no secret, and a key would not change the answer.
        Err(error @ (Error::NotFound("path") | Error::MethodNotAllowed)) => return Err(error.clone()),
        _ => {}
    }
    // Without the operators' topics it may have been misread.
    if let Err(error) = known {
        return Err(error.clone());
    }
    let principal = match &call.operation {
        Ok(operation) if operation.is_open() => Principal::nobody(),
        _ => access::authenticate(ports, &call.credentials).await?,
    };
    // The operator's first key is in no store, and in nobody's hands but his.
    if let (Some(bucket), Some(key)) = (dialect.bucket(), &principal.key) {
        match ports.store.pour(key.as_str(), bucket, ports.clock.now()).await? {
            Poured::In { level: now, .. } => *level = Some(now),
            Poured::Full { wait } => {
                *level = Some(bucket.capacity);
                return Err(Error::throttled(wait));
            }
        }
    }
    let operation = call.operation?;
    access::authorise(&principal, &operation)?;
    if !desk.does(&operation) {
        return Err(Error::NotFound("path"));
    }
    match (operation, desk) {
        (Operation::SendTest(asked, which, test), Desk::Testing(post)) => {
            testing::send(ports, post, &principal, &asked, &which, test).await
        }
        (operation, _) => perform(ports, &principal, operation).await,
    }
}

async fn perform(ports: &Ports, principal: &Principal, operation: Operation) -> Result<Outcome, Error> {
    match operation {
        Operation::CheckHealth => Ok(Outcome::Healthy),
        Operation::Describe(document) => {
            let catalogue = ports.store.catalogue().await?;
            description::of(document, &catalogue).map(Outcome::Described)
        }
        Operation::CreateTenant { id, name } => tenants::create(ports, id, name).await,
        Operation::ListTenants(page) => tenants::list(ports, &page).await,
        Operation::GetTenant(id) => tenants::get(ports, &id).await,
        Operation::DeleteTenant(id) => tenants::delete(ports, &id).await,
        Operation::CreateKey { tenant, scopes, expires_at, redirect_uris } => {
            tenants::create_key(ports, tenant, scopes, expires_at, redirect_uris).await
        }
        Operation::ListKeys(tenant, page) => tenants::list_keys(ports, &tenant, &page).await,
        Operation::DeleteKey(tenant, id) => tenants::delete_key(ports, &tenant, &id).await,
        Operation::Identify => tenants::identify(ports, principal).await,
        Operation::OpenSession => access::open_session(ports, principal).await,
        Operation::AskConsent(request) => oauth::ask(ports, &request).await,
        Operation::SettleConsent(request, decision) => oauth::settle(ports, &request, decision).await,
        Operation::IssueTokens(request) => oauth::issue(ports, principal, *request).await,
        Operation::SwitchWebhooks(asked, topic, active) => {
            webhooks::switch(ports, principal, &asked, topic.as_ref(), active).await
        }
        Operation::ListTopics(page) => topics::list(ports, &page).await,
        Operation::GetTopic(topic) => topics::get(ports, &topic).await,
        Operation::PutTopic(draft) => topics::put(ports, draft).await,
        Operation::DeleteTopic(topic) => topics::delete(ports, &topic).await,
        Operation::CreateWebhook(asked, draft) => webhooks::create(ports, principal, &asked, draft).await,
        Operation::ListWebhooks(asked, page) => webhooks::list(ports, principal, &asked, &page).await,
        Operation::GetWebhook(asked, which) => webhooks::get(ports, principal, &asked, &which).await,
        Operation::UpdateWebhook(asked, which, change) => {
            webhooks::update(ports, principal, &asked, &which, change).await
        }
        Operation::TryFilter(asked, tried, sample) => {
            filters::try_on(ports, principal, &asked, &tried, *sample).await
        }
        Operation::DeleteWebhook(asked, which) => webhooks::delete(ports, principal, &asked, &which).await,
        Operation::GetHealth(asked, which) => health::get(ports, principal, &asked, &which).await,
        Operation::CountParked(asked, which) => parked::count(ports, principal, &asked, &which).await,
        Operation::Discard(asked, which) => parked::discard(ports, principal, &asked, &which).await,
        Operation::Poll(asked, which, request) => {
            polling::poll(ports, principal, &asked, &which, request).await
        }
        Operation::GiveUp(asked, id) => lines::give_up(ports, principal, &asked, id).await,
        Operation::RotateSecret(asked, which) => webhooks::rotate(ports, principal, &asked, &which).await,
        Operation::ListPublicKeys(webhook) => authentication::public_keys(ports, webhook).await,
        Operation::GrantCredentials { asked, id, secret } => {
            credentials::grant(ports, principal, &asked, id, secret).await
        }
        Operation::Publish(events) => {
            Ok(Outcome::Published(publish::publish(ports, principal, events).await))
        }
        Operation::ListDeliveries(asked, webhook, sought, page) => {
            history::list(ports, principal, &asked, webhook, &sought, &page).await
        }
        Operation::ListUndelivered(asked, narrowed, page) => {
            undelivered::list(ports, principal, &asked, narrowed, &page).await
        }
        Operation::GetStats(asked, which, hours) => stats::of(ports, principal, &asked, &which, hours).await,
        Operation::GetDelivery(asked, id) => history::get(ports, principal, &asked, id).await,
        Operation::RetryDelivery(asked, id) => again::retry(ports, principal, &asked, id).await,
        Operation::StartReplay(asked, draft) => replay::start(ports, principal, &asked, *draft).await,
        Operation::GetReplay(asked, id) => replay::get(ports, principal, &asked, id).await,
        Operation::ListReplays(asked, page) => replay::list(ports, principal, &asked, &page).await,
        Operation::CancelReplay(asked, id) => replay::cancel(ports, principal, &asked, id).await,
        Operation::SendTest(..) => Err(Error::NotFound("path")),
    }
}
