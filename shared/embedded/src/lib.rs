//! The embedded engine: SQLite in one file behind the ports, with its queue in the same file.
//!
//! All writes go through one thread, which commits whatever has gathered as one transaction: many requests, one
//! fsync, and nobody is answered before it. Reads use connections of their own, and what is read for every
//! event is kept in caches that each write makes void.

mod cache;
mod checkpoint;
mod deliveries;
mod events;
mod healths;
mod keyfile;
mod keys;
mod limits;
mod lines;
mod lock;
mod migrations;
mod parked;
mod purge;
mod queue;
mod replays;
mod rows;
mod tenants;
mod topics;
mod undelivered;
mod webhooks;
mod writer;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use postrider::{
    catalogue::Catalogue,
    error::Error,
    filter::Shelf,
    model::{KeyId, KeyRecord, TenantId, Topic, WebhookId},
    ports::{Subscribers, Target},
    sealing::SealingKey,
};
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use tokio::sync::Semaphore;

pub use self::lock::Lock;
pub use self::queue::{Received, Settings as QueueSettings};
use self::{cache::Generational, checkpoint::Checkpointer, events::EventCache, queue::Lanes, writer::Writer};

/// Queries at once, each with a connection of its own: more would only have more caches.
const READERS: usize = 2;

/// SQLite behind the ports; clones share one database.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    path: PathBuf,
    writer: Writer,
    readers: Mutex<Vec<Connection>>,
    reading: Semaphore,
    sealing: SealingKey,
    queue: Lanes,
    events: Arc<EventCache>,
    keys: Generational<KeyId, Option<KeyRecord>>,
    catalogue: Generational<(), Arc<Catalogue>>,
    healths: healths::Known,
    slots: limits::Slots,
    places: limits::Places,
    /// When buckets will be empty, by their names.
    buckets: Mutex<HashMap<String, Timestamp>>,
    matching: Generational<(TenantId, Topic), Option<Arc<Subscribers>>>,
    filters: Shelf,
    targets: Generational<(TenantId, WebhookId), Option<Arc<Target>>>,
    // The last to go: it holds the writer, whose thread closes the file.
    _checkpointer: Checkpointer,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("path", &self.0.path).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the database, or makes it, or brings it up to date; its sealing key lies beside it in a file of its own,
    /// `<path>.key`. Whoever opens it holds its [`Lock`].
    pub fn open(path: &Path, queue: QueueSettings) -> Result<Self, Error> {
        let sealing = SealingKey::new(&*keyfile::load_or_make(path)?)?;
        let mut connection = connect(path)?;
        migrations::migrate(&mut connection, path)?;
        deliveries::end_leases(&connection).map_err(broken)?;
        let queue = Lanes::load(&connection, queue).map_err(broken)?;
        let healths = healths::Known::load(&connection).map_err(broken)?;
        let writer = Writer::start(connection)?;
        let checkpointer = Checkpointer::start(connect(path)?, writer.clone())?;
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            writer,
            readers: Mutex::default(),
            reading: Semaphore::new(READERS),
            sealing,
            queue,
            events: Arc::new(EventCache::new()),
            keys: Generational::new(10_000),
            catalogue: Generational::new(16),
            healths,
            slots: limits::Slots::default(),
            places: limits::Places::default(),
            buckets: Mutex::default(),
            matching: Generational::new(10_000),
            filters: Shelf::default(),
            targets: Generational::new(10_000),
            _checkpointer: checkpointer,
        })))
    }

    /// Runs a query off the caller's thread.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let closed = |_| Error::Unavailable("the database is closed".into());
        let _one = self.0.reading.acquire().await.map_err(closed)?;
        let engine = self.clone();
        let done = tokio::task::spawn_blocking(move || engine.0.read_here(query)).await;
        done.map_err(|error| Error::Internal(format!("a query broke off: {error}")))?
    }
}

impl Inner {
    fn read_here<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = idle.map_or_else(|| connect(&self.path), Ok)?;
        let answer = query(&connection).map_err(broken);
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        answer
    }
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::default() | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(broken)?;
    // FULL: a commit is on disk when it returns. Checkpoints are the checkpointer's business.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 0;
             PRAGMA cache_size = -4000;
             PRAGMA temp_store = MEMORY;
             PRAGMA busy_timeout = 5000;",
        )
        .map_err(broken)?;
    // Else SQLite compiles a statement anew each time that what is bound to its LIMIT changes.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(broken)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// A fault of the database. All that a client could cause is handled where it arises.
#[expect(clippy::needless_pass_by_value, reason = "it is made for map_err")]
fn broken(error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, SystemIoFailure};
    match error.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked | DiskFull | SystemIoFailure | CannotOpen) => {
            Error::Unavailable(format!("the database: {error}"))
        }
        _ => Error::Internal(format!("the database: {error}")),
    }
}
