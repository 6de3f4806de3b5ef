//! Webhooks: added, found, changed and removed.

use futures::future::try_join_all;
use postrider::{
    model::{Attributes, SigningSecret, State, TargetUrl, Webhook},
    ports::Added,
};

use super::{
    World, on_every_engine,
    samples::{
        MANY, TIKI, V1, added, all, auths, certificate, kept_tenant, kept_webhook, patterns, secs,
        some_webhook, subscribers, tenant_id, topic, webhook,
    },
};

on_every_engine!(
    a_webhook_is_found_as_it_was_added,
    a_webhook_may_have_hardly_anything,
    a_webhook_needs_a_tenant,
    what_is_sealed_of_a_webhook_comes_back,
    a_webhook_is_found_by_its_number,
    numbers_increase_and_none_is_given_twice,
    webhooks_added_at_once_have_numbers_of_their_own,
    the_quota_holds,
    the_quota_holds_for_those_that_come_at_once,
    an_exclusive_topic_has_one_holder,
    of_many_that_want_a_topic_one_gets_it,
    a_webhook_that_is_refused_holds_nothing,
    an_exclusive_webhook_may_hold_many_topics,
    a_changed_webhook_is_as_it_was_changed,
    of_two_changes_of_the_same_webhook_one_is_made,
    a_holder_that_is_changed_holds_on,
    a_removed_webhook_is_gone_at_once,
    a_webhook_can_have_a_hundred_topics,
);

async fn a_webhook_is_found_as_it_was_added(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let asked = webhook(&tenant, V1, &["order.created", "*"]);
    let made = added(store.add_webhook(&asked, false, MANY).await.unwrap());
    assert_eq!(made, Webhook { number: 1, ..asked });
    assert_eq!(store.webhook(&tenant, made.id).await.unwrap(), Some(made.clone()));
    assert_eq!(store.webhooks(&tenant, None, &all()).await.unwrap().items[..], *std::slice::from_ref(&made));
    assert_eq!(store.target(&tenant, made.id).await.unwrap().unwrap().webhook, made);
    // Its secrets can be opened by others too.
    let other = world.next_process();
    assert_eq!(other.store.webhook(&tenant, made.id).await.unwrap(), Some(made.clone()));
    assert_eq!(other.store.target(&tenant, made.id).await.unwrap().unwrap().webhook, made);
    assert_eq!(store.state(&tenant, made.id).await.unwrap(), Some(made.state));
    assert_eq!(store.state(&tenant_id(), made.id).await.unwrap(), None);
    assert_eq!(store.webhook(&tenant, some_webhook()).await.unwrap(), None);
    assert_eq!(store.target(&tenant, some_webhook()).await.unwrap(), None);
}

async fn a_webhook_is_found_by_its_number(world: &World) {
    let store = &*world.store;
    let (tenant, other) = (kept_tenant(store).await, kept_tenant(store).await);
    let first = kept_webhook(store, &tenant, &["order.created"]).await;
    let second = kept_webhook(store, &tenant, &["order.created"]).await;
    assert_eq!(store.numbered(&tenant, first.number).await.unwrap(), Some(first.clone()));
    assert_eq!(store.numbered(&other, first.number).await.unwrap(), None);
    assert_eq!(store.numbered(&tenant, 99).await.unwrap(), None);
    assert_eq!(store.numbered(&tenant, u64::MAX).await.unwrap(), None);

    let new = changed(&second, &["order.updated"]);
    assert!(store.replace_webhook(&second, &new).await.unwrap());
    assert_eq!(store.numbered(&tenant, new.number).await.unwrap(), Some(new));
    assert!(store.remove_webhook(&tenant, first.id).await.unwrap());
    assert_eq!(store.numbered(&tenant, first.number).await.unwrap(), None);
}

async fn a_webhook_may_have_hardly_anything(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    for state in [State::Active, State::Paused, State::Polled] {
        let plain = Webhook {
            name: None,
            headers: Vec::new(),
            attributes: Attributes::new(),
            auth: None,
            certificate: None,
            secrets: Vec::new(),
            key_pairs: Vec::new(),
            state,
            ..webhook(&tenant, V1, &["order.created"])
        };
        let made = added(store.add_webhook(&plain, false, MANY).await.unwrap());
        assert_eq!(
            store.webhook(&tenant, made.id).await.unwrap(),
            Some(Webhook { number: made.number, ..plain })
        );
    }
}

async fn what_is_sealed_of_a_webhook_comes_back(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let mut old = kept_webhook(store, &tenant, &["order.created"]).await;
    for (auth, certificate) in
        auths().into_iter().map(Some).chain([None]).zip([Some(certificate()), None].into_iter().cycle())
    {
        let key_pairs = if certificate.is_some() { Vec::new() } else { old.key_pairs.clone() };
        let updated_at = old.updated_at + secs(1);
        let new = Webhook { auth, certificate, key_pairs, updated_at, ..old.clone() };
        assert!(store.replace_webhook(&old, &new).await.unwrap());
        assert_eq!(store.webhook(&tenant, old.id).await.unwrap(), Some(new.clone()));
        assert_eq!(store.target(&tenant, old.id).await.unwrap().unwrap().webhook, new);
        old = new;
    }
}

async fn a_webhook_needs_a_tenant(world: &World) {
    let tenant = tenant_id();
    let asked = webhook(&tenant, V1, &["order.created"]);
    for exclusive in [false, true] {
        assert_eq!(world.store.add_webhook(&asked, exclusive, MANY).await.unwrap(), Added::NoTenant);
    }
    assert_eq!(world.store.webhook(&tenant, asked.id).await.unwrap(), None);
}

async fn numbers_increase_and_none_is_given_twice(world: &World) {
    let store = &*world.store;
    let (tenant, other) = (kept_tenant(store).await, kept_tenant(store).await);
    for number in 1..=3 {
        let made = kept_webhook(store, &tenant, &["order.created"]).await;
        assert_eq!(made.number, number);
        assert!(store.remove_webhook(&tenant, made.id).await.unwrap());
    }
    assert_eq!(
        kept_webhook(store, &other, &["order.created"]).await.number,
        1,
        "each tenant counts for itself"
    );
}

async fn webhooks_added_at_once_have_numbers_of_their_own(world: &World) {
    let tenant = kept_tenant(&*world.store).await;
    let asked: Vec<_> = (0..10).map(|_| webhook(&tenant, V1, &["order.created"])).collect();
    let made =
        try_join_all(asked.iter().map(|asked| world.store.add_webhook(asked, false, MANY))).await.unwrap();
    let mut numbers: Vec<_> = made.into_iter().map(|made| added(made).number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
}

async fn the_quota_holds(world: &World) {
    let store = &*world.store;
    let (tenant, other) = (kept_tenant(store).await, kept_tenant(store).await);
    let add =
        async |tenant| store.add_webhook(&webhook(tenant, V1, &["order.created"]), false, 2).await.unwrap();
    let first = added(add(&tenant).await);
    added(add(&tenant).await);
    assert_eq!(add(&tenant).await, Added::OverQuota);
    added(add(&other).await);
    assert!(store.remove_webhook(&tenant, first.id).await.unwrap());
    added(add(&tenant).await);
    assert_eq!(add(&tenant).await, Added::OverQuota);
    assert_eq!(store.webhooks(&tenant, None, &all()).await.unwrap().items.len(), 2);
}

async fn the_quota_holds_for_those_that_come_at_once(world: &World) {
    let tenant = kept_tenant(&*world.store).await;
    let asked: Vec<_> = (0..10).map(|_| webhook(&tenant, V1, &["order.created"])).collect();
    let made =
        try_join_all(asked.iter().map(|asked| world.store.add_webhook(asked, false, 4))).await.unwrap();
    assert_eq!(made.iter().filter(|made| matches!(made, Added::Webhook(_))).count(), 4);
    assert_eq!(made.iter().filter(|made| **made == Added::OverQuota).count(), 6);
    assert_eq!(world.store.webhooks(&tenant, None, &all()).await.unwrap().items.len(), 4);
}

async fn an_exclusive_topic_has_one_holder(world: &World) {
    let store = &*world.store;
    let (tenant, other) = (kept_tenant(store).await, kept_tenant(store).await);
    let created = topic("order.created");
    assert_eq!(store.holder(&tenant, TIKI, &created).await.unwrap(), None);
    let add = async |tenant, dialect, topics: &[&str]| {
        store.add_webhook(&webhook(tenant, dialect, topics), true, MANY).await.unwrap()
    };
    let holder = added(add(&tenant, TIKI, &["order.created"]).await);
    assert_eq!(store.holder(&tenant, TIKI, &created).await.unwrap(), Some(holder.clone()));
    assert_eq!(add(&tenant, TIKI, &["order.created"]).await, Added::TopicTaken);
    // Another topic, another dialect, another tenant, and one that is not exclusive.
    added(add(&tenant, TIKI, &["order.updated"]).await);
    added(add(&tenant, V1, &["order.created"]).await);
    added(add(&other, TIKI, &["order.created"]).await);
    kept_webhook(store, &tenant, &["order.created"]).await;
    assert_eq!(store.holder(&tenant, TIKI, &created).await.unwrap(), Some(holder.clone()));

    assert!(store.remove_webhook(&tenant, holder.id).await.unwrap());
    assert_eq!(store.holder(&tenant, TIKI, &created).await.unwrap(), None);
    let next = added(add(&tenant, TIKI, &["order.created"]).await);
    assert_eq!(store.holder(&tenant, TIKI, &created).await.unwrap(), Some(next));
}

async fn of_many_that_want_a_topic_one_gets_it(world: &World) {
    let tenant = kept_tenant(&*world.store).await;
    let asked: Vec<_> = (0..10).map(|_| webhook(&tenant, TIKI, &["order.created"])).collect();
    let made =
        try_join_all(asked.iter().map(|asked| world.store.add_webhook(asked, true, MANY))).await.unwrap();
    assert_eq!(made.iter().filter(|made| **made == Added::TopicTaken).count(), 9);
    let made = added(made.into_iter().find(|made| matches!(made, Added::Webhook(_))).unwrap());
    assert_eq!(world.store.holder(&tenant, TIKI, &topic("order.created")).await.unwrap(), Some(made));
}

async fn a_webhook_that_is_refused_holds_nothing(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let add = async |topics: &[&str], quota| {
        store.add_webhook(&webhook(&tenant, TIKI, topics), true, quota).await.unwrap()
    };
    added(add(&["b.taken"], MANY).await);
    assert_eq!(add(&["a.free", "b.taken", "c.free"], MANY).await, Added::TopicTaken);
    assert_eq!(add(&["a.free"], 1).await, Added::OverQuota);
    for free in ["a.free", "c.free"] {
        assert_eq!(store.holder(&tenant, TIKI, &topic(free)).await.unwrap(), None);
        assert_eq!(subscribers(store, &tenant, free).await.as_deref(), Some(&[][..]));
    }
    assert_eq!(added(add(&["a.free", "c.free"], MANY).await).number, 2, "who is refused gets no number");
}

async fn an_exclusive_webhook_may_hold_many_topics(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let names: Vec<_> = (0..40).map(|n| format!("order.n{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let made = added(store.add_webhook(&webhook(&tenant, TIKI, &names), true, MANY).await.unwrap());
    for name in &names {
        assert_eq!(
            store.holder(&tenant, TIKI, &topic(name)).await.unwrap().map(|held| held.id),
            Some(made.id)
        );
    }
    let taken = store.add_webhook(&webhook(&tenant, TIKI, &names[39..]), true, MANY).await.unwrap();
    assert_eq!(taken, Added::TopicTaken);
    assert!(store.remove_webhook(&tenant, made.id).await.unwrap());
    added(store.add_webhook(&webhook(&tenant, TIKI, &names), true, MANY).await.unwrap());
}

/// As `old`, but for everything that can change.
fn changed(old: &Webhook, topics: &[&str]) -> Webhook {
    Webhook {
        name: None,
        url: Some(TargetUrl::parse("http://93.184.216.34:8080/", false).unwrap()),
        topics: patterns(topics),
        headers: Vec::new(),
        state: State::Active,
        secrets: vec![SigningSecret::generate(&[9; 24])],
        updated_at: old.updated_at + secs(1),
        ..old.clone()
    }
}

async fn a_changed_webhook_is_as_it_was_changed(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let old = kept_webhook(store, &tenant, &["order.created", "order.updated"]).await;
    assert_eq!(store.target(&tenant, old.id).await.unwrap().unwrap().webhook, old);
    let new = changed(&old, &["order.updated", "order.deleted"]);
    assert!(store.replace_webhook(&old, &new).await.unwrap());
    assert_eq!(store.webhook(&tenant, old.id).await.unwrap(), Some(new.clone()));
    assert_eq!(store.target(&tenant, old.id).await.unwrap().unwrap().webhook, new);
    assert_eq!(store.webhooks(&tenant, None, &all()).await.unwrap().items, [new]);
}

async fn of_two_changes_of_the_same_webhook_one_is_made(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let old = kept_webhook(store, &tenant, &["order.created"]).await;
    let first = changed(&old, &["order.updated"]);
    let second = Webhook { updated_at: old.updated_at + secs(2), ..changed(&old, &["order.deleted"]) };
    assert!(store.replace_webhook(&old, &first).await.unwrap());
    assert!(!store.replace_webhook(&old, &second).await.unwrap());
    assert_eq!(store.webhook(&tenant, old.id).await.unwrap(), Some(first.clone()));
    assert_eq!(subscribers(store, &tenant, "order.deleted").await.as_deref(), Some(&[][..]));

    let changes: Vec<_> = (1..=10)
        .map(|n| Webhook { updated_at: first.updated_at + secs(n), ..changed(&first, &["order.deleted"]) })
        .collect();
    let made =
        try_join_all(changes.iter().map(|change| store.replace_webhook(&first, change))).await.unwrap();
    assert_eq!(made.iter().filter(|made| **made).count(), 1);

    assert!(store.remove_webhook(&tenant, old.id).await.unwrap());
    assert!(!store.replace_webhook(&first, &second).await.unwrap(), "a removed one does not come back");
    assert_eq!(store.webhook(&tenant, old.id).await.unwrap(), None);
    assert_eq!(subscribers(store, &tenant, "order.deleted").await.as_deref(), Some(&[][..]));
}

async fn a_holder_that_is_changed_holds_on(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let asked = webhook(&tenant, TIKI, &["order.created"]);
    let old = added(store.add_webhook(&asked, true, MANY).await.unwrap());
    let new = changed(&old, &["order.created"]);
    assert!(store.replace_webhook(&old, &new).await.unwrap());
    assert_eq!(store.holder(&tenant, TIKI, &topic("order.created")).await.unwrap(), Some(new));
    let again = webhook(&tenant, TIKI, &["order.created"]);
    assert_eq!(store.add_webhook(&again, true, MANY).await.unwrap(), Added::TopicTaken);
}

async fn a_removed_webhook_is_gone_at_once(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let (gone, stays) = (
        kept_webhook(store, &tenant, &["order.created", "*"]).await,
        kept_webhook(store, &tenant, &["*"]).await,
    );
    assert!(store.target(&tenant, gone.id).await.unwrap().is_some());
    assert_eq!(subscribers(store, &tenant, "order.created").await.unwrap().len(), 2);
    assert!(store.remove_webhook(&tenant, gone.id).await.unwrap());
    assert_eq!(store.webhook(&tenant, gone.id).await.unwrap(), None);
    assert_eq!(store.target(&tenant, gone.id).await.unwrap(), None);
    let found = subscribers(store, &tenant, "order.created").await;
    assert_eq!(found.as_deref(), Some(&[stays.id][..]));
    assert_eq!(store.webhooks(&tenant, None, &all()).await.unwrap().items, [stays]);
    assert!(!store.remove_webhook(&tenant, gone.id).await.unwrap());
    assert!(!store.remove_webhook(&tenant_id(), gone.id).await.unwrap());
}

async fn a_webhook_can_have_a_hundred_topics(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let names = |word: &str| (0..100).map(|n| format!("{word}.n{n}")).collect::<Vec<_>>();
    let (first, second) = (names("order"), names("stock"));
    let matched = async |names: &[String], expected: &[_]| {
        for name in names {
            let found = subscribers(store, &tenant, name).await;
            assert_eq!(found.as_deref(), Some(expected), "{name}");
        }
    };
    let refs: Vec<_> = first.iter().map(String::as_str).collect();
    let made = kept_webhook(store, &tenant, &refs).await;
    assert_eq!(made.topics.len(), 100);
    matched(&first, &[made.id]).await;

    // All of them change at once, and then all go.
    let refs: Vec<_> = second.iter().map(String::as_str).collect();
    assert!(store.replace_webhook(&made, &changed(&made, &refs)).await.unwrap());
    matched(&first, &[]).await;
    matched(&second, &[made.id]).await;
    assert!(store.remove_webhook(&tenant, made.id).await.unwrap());
    matched(&second, &[]).await;
}
