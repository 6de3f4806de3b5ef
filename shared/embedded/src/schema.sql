-- The embedded engine's one file. Times are microseconds since 1970; identifiers that are UUIDs are 16 bytes.

CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS tenants (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    last_number INTEGER NOT NULL DEFAULT 0,
    credentials TEXT
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS keys (
    id            TEXT PRIMARY KEY,
    tenant        TEXT,
    scopes        TEXT NOT NULL,
    hash          TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    session_of    TEXT,
    redirect_uris TEXT NOT NULL,
    allows        TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS keys_of_tenant ON keys (tenant, id);

-- What operators say of topics.
CREATE TABLE IF NOT EXISTS topics (topic TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS webhooks (
    tenant  TEXT NOT NULL,
    id      BLOB NOT NULL,
    dialect TEXT NOT NULL,
    body    TEXT NOT NULL,
    secrets TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;

CREATE UNIQUE INDEX IF NOT EXISTS webhooks_by_number ON webhooks (tenant, body ->> 'number');

CREATE TABLE IF NOT EXISTS subscriptions (
    tenant  TEXT NOT NULL,
    topic   TEXT NOT NULL,
    webhook BLOB NOT NULL,
    PRIMARY KEY (tenant, topic, webhook)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS holders (
    tenant  TEXT NOT NULL,
    dialect TEXT NOT NULL,
    topic   TEXT NOT NULL,
    webhook BLOB NOT NULL,
    PRIMARY KEY (tenant, dialect, topic)
) WITHOUT ROWID;

-- In order of acceptance: a new event is written at the end.
CREATE TABLE IF NOT EXISTS events (
    seq         INTEGER PRIMARY KEY,
    tenant      TEXT NOT NULL,
    id          TEXT NOT NULL,
    uid         BLOB NOT NULL,
    topic       TEXT NOT NULL,
    occurred_at INTEGER,
    accepted_at INTEGER NOT NULL,
    webhooks    BLOB NOT NULL,
    payload     BLOB NOT NULL,
    payloads    BLOB,
    metadata    TEXT,
    ordering_key TEXT,
    ordered     BLOB
);
CREATE UNIQUE INDEX IF NOT EXISTS events_by_id ON events (tenant, id);
CREATE INDEX IF NOT EXISTS events_by_time ON events (accepted_at);

-- A webhook's deliveries lie together, in order of acceptance.
CREATE TABLE IF NOT EXISTS deliveries (
    webhook         BLOB NOT NULL,
    event           BLOB NOT NULL,
    tenant          TEXT NOT NULL,
    event_id        TEXT NOT NULL,
    topic           TEXT NOT NULL,
    state           TEXT NOT NULL,
    attempt_count   INTEGER NOT NULL,
    attempts        BLOB NOT NULL,
    created_at      INTEGER NOT NULL,
    next_attempt_at INTEGER,
    probes          INTEGER NOT NULL,
    parked_at       INTEGER,
    due_at          INTEGER,
    leased_until    INTEGER,
    replay          BLOB,
    ordering_key    TEXT,
    PRIMARY KEY (webhook, event)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS deliveries_parked ON deliveries (webhook, parked_at, event) WHERE state = 'parked';

-- Jobs that take many deliveries up again; due_at: when somebody is to see whether the next step got lost.
CREATE TABLE IF NOT EXISTS replays (
    tenant     TEXT NOT NULL,
    id         BLOB NOT NULL,
    step       INTEGER NOT NULL,
    due_at     INTEGER,
    created_at INTEGER NOT NULL,
    body       TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS replays_due ON replays (due_at) WHERE due_at IS NOT NULL;

-- Events that are to go to a webhook one after the other, until they have.
CREATE TABLE IF NOT EXISTS lines (
    webhook BLOB NOT NULL,
    key     TEXT NOT NULL,
    event   BLOB NOT NULL,
    PRIMARY KEY (webhook, key, event)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lines_by_age ON lines (event);

-- Receivers that have failed since they last took something, or take long.
CREATE TABLE IF NOT EXISTS healths (
    webhook    BLOB PRIMARY KEY,
    failures   INTEGER NOT NULL DEFAULT 0,
    since      INTEGER,
    probe_at   INTEGER,
    slow_until INTEGER
) WITHOUT ROWID;

-- Webhooks with a backlog that is on its way, and when somebody is to look whether it still is.
CREATE TABLE IF NOT EXISTS looks (
    webhook BLOB PRIMARY KEY,
    tenant  TEXT NOT NULL,
    at      INTEGER NOT NULL
) WITHOUT ROWID;

-- The places of deliveries in the sequence of their webhook, for dialects that count.
CREATE TABLE IF NOT EXISTS sequences (
    webhook BLOB NOT NULL,
    event   BLOB NOT NULL,
    number  INTEGER NOT NULL,
    PRIMARY KEY (webhook, event)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (webhook BLOB PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;

-- What came of a webhook's deliveries, for dialects that show it.
CREATE TABLE IF NOT EXISTS tallies (
    webhook   BLOB PRIMARY KEY,
    sent      INTEGER NOT NULL,
    failed_at INTEGER
) WITHOUT ROWID;

-- A row is one message or several of a tenant's, a line each. visible_at 0: at once; -1: handed out after its delay.
CREATE TABLE IF NOT EXISTS queue (
    id         INTEGER PRIMARY KEY,
    lane       INTEGER NOT NULL,
    tenant     TEXT NOT NULL,
    visible_at INTEGER NOT NULL,
    received   INTEGER NOT NULL DEFAULT 0,
    body       TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS queue_delayed ON queue (lane, visible_at) WHERE visible_at > 0;
-- By id within a tenant: it is the row's number, which an index carries anyway.
CREATE INDEX IF NOT EXISTS queue_by_tenant ON queue (lane, tenant) WHERE visible_at = 0;

CREATE TABLE IF NOT EXISTS dead_letters (
    id       INTEGER PRIMARY KEY,
    received INTEGER NOT NULL,
    body     TEXT NOT NULL,
    died_at  INTEGER NOT NULL
);
