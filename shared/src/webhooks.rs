//! Registering webhooks, and keeping them.

use jiff::SignedDuration;

use crate::{
    access::Principal,
    dialect::{self, Dialect},
    error::Error,
    model::{
        Header, SigningSecret, State, Tally, TargetUrl, TenantId, Topic, TopicPattern, Webhook, WebhookId,
    },
    operation::{Asked, Change, Draft, Outcome, PageRequest, Selector},
    parked,
    ports::{Added, Ports},
};

/// How long a rotated secret signs beside its successor.
const OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// Random bytes of a signing secret (Standard Webhooks: 24 to 64).
const SECRET_LENGTH: usize = 32;
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
    if draft.signed {
        secrets.push(new_secret(ports));
    }
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
        ordered: draft.ordered,
        state,
        secrets,
        tally: Tally::default(),
        created_at: now,
        updated_at: now,
    };
    refuse_twin(ports, &webhook).await?;
    let quota = ports.policy.webhooks_per_tenant;
    let exclusive = dialect::named(draft.dialect)?.is_exclusive();
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
        if let Some(active) = change.active {
            turn(webhook, active);
        }
    });
    tallied(ports, asked, changed.await?).await.map(Outcome::Webhook)
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

/// Gives a webhook a new signing secret; the one it had signs beside it for a day.
pub async fn rotate(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    which: &Selector,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let now = ports.clock.now();
    let secret = new_secret(ports);
    let rotated = edit(ports, &tenant, asked, which, |webhook| {
        // The newest predecessor alone overlaps: a receiver knows two secrets at most.
        webhook.secrets.truncate(1);
        for old in &mut webhook.secrets {
            old.retires_at = Some(now + OVERLAP);
        }
        webhook.secrets.insert(0, secret.clone());
    });
    rotated.await.map(Outcome::SecretRotated)
}

/// Stops a webhook whose receiver said that it is gone. `said` is the webhook as it was asked: of another URL it said
/// nothing.
pub async fn disable(ports: &Ports, said: &Webhook, reason: &str) -> Result<(), Error> {
    let (any, which) = (Asked::default(), Selector::Id(said.id));
    let disabled = edit(ports, &said.tenant, &any, &which, |webhook| {
        if webhook.url == said.url {
            webhook.state = State::Disabled { reason: reason.to_owned() };
        }
    });
    match disabled.await {
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
    if twice { Err(Error::invalid("headers", "names a header twice")) } else { Ok(headers) }
}

fn new_secret(ports: &Ports) -> SigningSecret {
    let mut random = zeroize::Zeroizing::new([0; SECRET_LENGTH]);
    ports.dice.fill(&mut *random);
    SigningSecret::generate(&*random)
}
