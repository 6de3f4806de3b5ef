//! Registering webhooks, and keeping them.

use std::sync::atomic::{AtomicBool, Ordering};

use jiff::SignedDuration;

use crate::{
    access::Principal,
    announce::{News, announce},
    authentication,
    dialect::{self, Dialect},
    error::Error,
    in_force,
    model::{
        Header, Signature, SigningSecret, State, Tally, TargetUrl, TenantId, Topic, TopicPattern, Webhook,
        WebhookId,
    },
    operation::{Asked, Change, Draft, Outcome, PageRequest, Selector},
    parked,
    ports::{Added, Ports},
    rotation::{self, Fresh},
};

/// Bytes of all headers together: a `DynamoDB` item is at most 400 KB, and receivers take less.
const MAX_HEADERS: usize = 64 * 1024;
/// How often a change is tried anew when somebody else changes the same webhook.
const TRIES: usize = 5;

/// Registers a webhook.
pub async fn create(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    draft: Draft,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let now = ports.clock.now();
    let mut secrets: Vec<_> =
        draft.secret.into_iter().map(|key| SigningSecret { key, retires_at: None }).collect();
    let (mut key_pairs, fresh) = (Vec::new(), Fresh::new(ports));
    if draft.signed.is_some_and(Signature::is_symmetric) {
        secrets.push(fresh.secret);
    }
    if draft.signed.is_some_and(Signature::is_asymmetric) {
        key_pairs.push(fresh.key_pair);
    }
    authentication::admit(ports, draft.auth.as_ref(), draft.certificate.as_ref())?;
    let (url, state) = match &draft.url {
        None => (None, State::Polled),
        Some(url) if draft.active => (Some(target(ports, url)?), State::Active),
        Some(url) => (Some(target(ports, url)?), State::Paused),
    };
    let webhook = Webhook {
        id: WebhookId(ports.dice.uuid(now)),
        tenant,
        number: 0,
        dialect: draft.dialect.to_owned(),
        name: draft.name,
        url,
        topics: draft.topics,
        filter: draft.filter,
        format: draft.format,
        attributes: draft.attributes,
        headers: distinct(draft.headers)?,
        rules: draft.rules,
        limits: draft.limits,
        ordered: draft.ordered,
        state,
        auth: draft.auth,
        certificate: draft.certificate,
        secrets,
        key_pairs,
        tally: Tally::default(),
        created_at: now,
        updated_at: now,
    };
    refuse_twin(ports, &webhook).await?;
    let quota = ports.policy.webhooks_per_tenant;
    let dialect = dialect::named(draft.dialect)?;
    in_force::check(dialect, &webhook.rules)?;
    let exclusive = dialect.is_exclusive();
    if exclusive && webhook.topics.iter().any(|topic| !matches!(topic, TopicPattern::One(_))) {
        // Who holds a topic is looked up by its name.
        return Err(Error::invalid("topics", "must be single topics: in this API they are a webhook's name"));
    }
    match ports.store.add_webhook(&webhook, exclusive, quota).await? {
        Added::Webhook(webhook) => Ok(Outcome::WebhookCreated(*webhook)),
        Added::TopicTaken => Err(Error::Conflict("there is a webhook for this topic already".into())),
        Added::OverQuota => Err(Error::Quota(format!("a tenant may have {quota} webhooks"))),
        Added::NoTenant => Err(Error::NotFound("tenant")),
    }
}

/// Refuses a webhook that its dialect would take for the same as another.
async fn refuse_twin(ports: &Ports, webhook: &Webhook) -> Result<(), Error> {
    if !dialect::named(&webhook.dialect)?.refuses_twins() {
        return Ok(());
    }
    let all = ports.store.webhooks(&webhook.tenant, Some(&webhook.dialect), &PageRequest::all()).await?;
    let is_twin = |other: &Webhook| {
        other.id != webhook.id && other.url == webhook.url && other.topics == webhook.topics
    };
    if all.items.iter().any(is_twin) {
        return Err(Error::invalid("url", "for this topic has already been taken"));
    }
    Ok(())
}

/// Lists a tenant's webhooks.
pub async fn list(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    page: &PageRequest,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    if ports.store.tenant(&tenant).await?.is_none() {
        return Err(Error::NotFound("tenant"));
    }
    let mut found = ports.store.webhooks(&tenant, asked.dialect, page).await?;
    tell_tallies(ports, asked, &mut found.items).await?;
    Ok(Outcome::Webhooks(found))
}

/// Reads a webhook.
pub async fn get(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    which: &Selector,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    tallied(ports, asked, find(ports, &tenant, asked, which).await?).await.map(Outcome::Webhook)
}

async fn tallied(ports: &Ports, asked: &Asked, mut webhook: Webhook) -> Result<Webhook, Error> {
    tell_tallies(ports, asked, std::slice::from_mut(&mut webhook)).await?;
    Ok(webhook)
}

/// Puts into webhooks what came of their deliveries, if who asks has words for it.
async fn tell_tallies(ports: &Ports, asked: &Asked, webhooks: &mut [Webhook]) -> Result<(), Error> {
    let shows = asked.dialect.map(dialect::named).transpose()?.is_some_and(Dialect::is_tallied);
    if !shows || webhooks.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = webhooks.iter().map(|webhook| webhook.id).collect();
    let tallies = ports.store.tallies(&ids).await?;
    webhooks.iter_mut().zip(tallies).for_each(|(webhook, tally)| webhook.tally = tally);
    Ok(())
}

/// Changes a webhook.
pub async fn update(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    which: &Selector,
    change: Change,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let url = change.url.as_deref().map(|url| target(ports, url)).transpose()?;
    let headers = change.headers.clone().map(distinct).transpose()?;
    if let Some(rules) = &change.rules {
        let webhook = find(ports, &tenant, asked, which).await?;
        in_force::check(dialect::named(&webhook.dialect)?, rules)?;
    }
    let (auth, certificate) = (change.auth.as_ref(), change.certificate.as_ref());
    authentication::admit(ports, auth.and_then(Option::as_ref), certificate.and_then(Option::as_ref))?;
    let (now, fresh) = (ports.clock.now(), Fresh::new(ports));
    if change.topics.is_some() || url.is_some() || headers.is_some() || change.active.is_some() {
        let mut webhook = find(ports, &tenant, asked, which).await?;
        refuse_to_send(&webhook, &change)?;
        if change.topics.is_some() && dialect::named(&webhook.dialect)?.is_exclusive() {
            return Err(Error::invalid("topics", "cannot change: in this webhook's API they are its name"));
        }
        if let Some(topics) = &change.topics {
            topics.apply(&mut webhook.topics);
        }
        if let Some(url) = &url {
            webhook.url = Some(url.clone());
        }
        refuse_twin(ports, &webhook).await?;
    }
    let changed = edit(ports, &tenant, asked, which, |webhook| {
        if let Some(name) = &change.name {
            webhook.name.clone_from(name);
        }
        if let Some(url) = &url {
            // What was said of the old URL does not hold for a new one.
            if webhook.url.as_ref() != Some(url) && matches!(webhook.state, State::Disabled { .. }) {
                webhook.state = State::Active;
            }
            webhook.url = Some(url.clone());
        }
        if let Some(topics) = &change.topics {
            topics.apply(&mut webhook.topics);
        }
        if let Some(filter) = &change.filter {
            webhook.filter.clone_from(filter);
        }
        if let Some(format) = change.format {
            webhook.format = format;
        }
        webhook.attributes.extend(change.attributes.clone());
        if let Some(headers) = &headers {
            webhook.headers.clone_from(headers);
        }
        if let Some(rules) = &change.rules {
            webhook.rules.clone_from(rules);
        }
        if let Some(rate) = change.max_per_second {
            webhook.limits.max_per_second = rate;
        }
        if let Some(most) = change.max_in_flight {
            webhook.limits.max_in_flight = most;
        }
        if let Some(auth) = auth {
            webhook.auth.clone_from(auth);
        }
        if let Some(certificate) = certificate {
            webhook.certificate.clone_from(certificate);
        }
        if let Some(signature) = change.signature {
            rotation::turn_to(webhook, signature, &fresh, now);
        }
        if let Some(active) = change.active {
            turn(webhook, active);
        }
    });
    let changed = tallied(ports, asked, changed.await?).await?;
    // A secret that is new is shown, for there is no other time.
    let is_new = changed.secrets.first() == Some(&fresh.secret);
    Ok(if is_new { Outcome::SecretRotated(changed) } else { Outcome::Webhook(changed) })
}

/// Resumes or pauses the webhooks of a topic, or all.
pub async fn switch(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    topic: Option<&Topic>,
    active: bool,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let all = ports.store.webhooks(&tenant, asked.dialect, &PageRequest::all()).await?.items;
    let of_topic = |webhook: &&Webhook| {
        topic.is_none_or(|topic| webhook.topics.contains(&TopicPattern::One(topic.clone())))
    };
    let mut switched = 0;
    for webhook in all.iter().filter(of_topic) {
        let which = Selector::Id(webhook.id);
        match edit(ports, &tenant, asked, &which, |webhook| turn(webhook, active)).await {
            Ok(_) => switched += 1,
            // Somebody deleted it meanwhile.
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if switched == 0 { Err(Error::NotFound("webhook")) } else { Ok(Outcome::Switched(switched)) }
}

/// Refuses a change of how a webhook is sent to, of one that is sent nothing.
fn refuse_to_send(webhook: &Webhook, change: &Change) -> Result<(), Error> {
    let changes = [
        ("url", change.url.is_some()),
        ("headers", change.headers.is_some()),
        ("active", change.active.is_some()),
    ];
    match changes.iter().find(|(_, changes)| *changes && webhook.state == State::Polled) {
        Some((field, _)) => {
            Err(Error::invalid(*field, "cannot be set: this webhook is polled, and sent nothing"))
        }
        None => Ok(()),
    }
}

fn turn(webhook: &mut Webhook, active: bool) {
    if webhook.state == State::Polled {
        return;
    }
    if active {
        webhook.state = State::Active;
    } else if webhook.state == State::Active {
        webhook.state = State::Paused;
    }
}

/// Deletes a webhook.
pub async fn delete(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    which: &Selector,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let webhook = find(ports, &tenant, asked, which).await?;
    if ports.store.remove_webhook(&tenant, webhook.id).await? {
        Ok(Outcome::Deleted)
    } else {
        Err(Error::NotFound("webhook"))
    }
}

/// Gives a webhook a new signing secret, or a key pair, or of each what it has; the one it had signs beside it for a day.
pub async fn rotate(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    which: &Selector,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let (now, fresh) = (ports.clock.now(), Fresh::new(ports));
    let rotated = edit(ports, &tenant, asked, which, |webhook| rotation::rotate(webhook, &fresh, now));
    rotated.await.map(Outcome::SecretRotated)
}

/// Stops a webhook whose receiver said that it is gone. `said` is the webhook as it was asked: of another URL it said
/// nothing.
pub async fn disable(ports: &Ports, said: &Webhook, reason: &str) -> Result<(), Error> {
    let (any, which) = (Asked::default(), Selector::Id(said.id));
    let is_news = AtomicBool::new(false);
    let disabled = edit(ports, &said.tenant, &any, &which, |webhook| {
        let is_said_of_it = webhook.url == said.url && !matches!(webhook.state, State::Disabled { .. });
        is_news.store(is_said_of_it, Ordering::Relaxed);
        if is_said_of_it {
            webhook.state = State::Disabled { reason: reason.to_owned() };
        }
    });
    match disabled.await {
        Ok(webhook) if is_news.load(Ordering::Relaxed) => {
            announce(ports, &webhook, News::Disabled(reason)).await;
            Ok(())
        }
        Ok(_) | Err(Error::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn edit(
    ports: &Ports,
    tenant: &TenantId,
    asked: &Asked,
    which: &Selector,
    change: impl Fn(&mut Webhook),
) -> Result<Webhook, Error> {
    for _ in 0..TRIES {
        let old = find(ports, tenant, asked, which).await?;
        let mut new = old.clone();
        change(&mut new);
        // A change within one tick of the clock must still be seen as a change.
        new.updated_at = ports.clock.now().max(old.updated_at + SignedDuration::from_micros(1));
        let resumed = new.state == State::Active && old.state != State::Active;
        if resumed {
            parked::note(ports, tenant, new.id).await?;
        }
        if ports.store.replace_webhook(&old, &new).await? {
            if resumed {
                parked::begin(ports, tenant, new.id).await;
            }
            return Ok(new);
        }
    }
    Err(Error::Conflict("somebody else is changing this webhook; try again".into()))
}

/// The webhook that a request names.
pub(crate) async fn find(
    ports: &Ports,
    tenant: &TenantId,
    asked: &Asked,
    which: &Selector,
) -> Result<Webhook, Error> {
    let found = match (which, asked.dialect) {
        (Selector::Id(id), _) => ports.store.webhook(tenant, *id).await?,
        (Selector::Number(number), _) => ports.store.numbered(tenant, *number).await?,
        (Selector::Topic(topic), Some(dialect)) => ports.store.holder(tenant, dialect, topic).await?,
        (Selector::Topic(_), None) => None,
    };
    let in_it = |webhook: &Webhook| asked.dialect.is_none_or(|dialect| webhook.dialect == dialect);
    found.filter(in_it).ok_or(Error::NotFound("webhook"))
}

/// A URL to deliver to, as the operator's policy allows.
pub(crate) fn target(ports: &Ports, url: &str) -> Result<TargetUrl, Error> {
    TargetUrl::parse(url, ports.policy.allow_private_targets).map_err(Error::field("url"))
}

fn distinct(headers: Vec<Header>) -> Result<Vec<Header>, Error> {
    let twice = headers.iter().enumerate().any(|(i, a)| headers[..i].iter().any(|b| a.name == b.name));
    let length: usize = headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    match (twice, length) {
        (true, _) => Err(Error::invalid("headers", "names a header twice")),
        (_, length) if length > MAX_HEADERS => {
            Err(Error::invalid("headers", "must be at most 64 KiB long together"))
        }
        _ => Ok(headers),
    }
}
