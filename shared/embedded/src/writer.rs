//! Group commit: one thread runs whatever has gathered in one transaction, and answers after its fsync.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use postrider::error::Error;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::broken;

/// Jobs of one transaction at most, so that the first does not wait for an endless stream of later ones.
const MAX_GROUP: usize = 1024;

/// A group as large as this means that more is coming: the next one is given [`GATHER`] to gather, for a page
/// written once for many rows is cheaper than once for each. Asleep, so that nobody spends time on waking us.
const BUSY: usize = 8;
const GATHER: Duration = Duration::from_millis(3);

/// What is left to do once a job is on disk: tell whoever waits. Dropped instead, it tells them that it is not.
type Told = Box<dyn FnOnce() + Send>;

type Write = Box<dyn FnOnce(&Connection) -> rusqlite::Result<Told> + Send>;

enum Job {
    /// Statements within the group's transaction. An error undoes the whole group: only a fault of the disk or
    /// of ours makes one, never a client.
    Write(Write),
    /// Between two transactions.
    Between(Box<dyn FnOnce(&Connection) + Send>),
}

/// The way to the writing thread, which ends when the last of these is dropped.
#[derive(Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    _thread: Arc<Joined>,
}

/// Waits for the thread when dropped, so that closing the engine closes the file.
struct Joined(Option<thread::JoinHandle<()>>);

impl Drop for Joined {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            // A panic in it was told to everybody who waited for a job.
            let _ = handle.join();
        }
    }
}

impl Writer {
    pub(crate) fn start(connection: Connection) -> Result<Self, Error> {
        let (jobs, queue) = mpsc::channel();
        let handle = thread::Builder::new()
            .name("writer".into())
            .spawn(move || run(&connection, &queue))
            .map_err(|error| Error::Internal(format!("starting the writer: {error}")))?;
        Ok(Self { jobs, _thread: Arc::new(Joined(Some(handle))) })
    }

    /// Runs `job` in the next transaction. Once that is on disk, `then` makes the answer of what it returned, on the
    /// writing thread and in the order of the jobs.
    pub(crate) async fn write<T: Send + 'static, A: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        then: impl FnOnce(T) -> A + Send + 'static,
    ) -> Result<A, Error> {
        let (tell, told) = oneshot::channel();
        let write = Job::Write(Box::new(move |connection| {
            let written = job(connection)?;
            Ok(Box::new(move || {
                // Whoever asked may have gone away; the write stands all the same.
                let _ = tell.send(then(written));
            }))
        }));
        let lost = |_| Error::Unavailable("the database did not commit".into());
        self.jobs.send(write).map_err(|_| Error::Unavailable("the database is closed".into()))?;
        told.await.map_err(lost)
    }

    /// Runs `job` while no transaction is open. Nobody waits for it.
    pub(crate) fn between(&self, job: impl FnOnce(&Connection) + Send + 'static) {
        // A closed database needs no checkpoint.
        let _ = self.jobs.send(Job::Between(Box::new(job)));
    }
}

fn run(connection: &Connection, queue: &mpsc::Receiver<Job>) {
    let mut told = Vec::new();
    while let Ok(first) = queue.recv() {
        let mut next = Some(first);
        while let Some(job) = next.take() {
            match job {
                Job::Between(job) => job(connection),
                Job::Write(job) => match group(connection, job, queue, &mut told) {
                    Ok(between) => {
                        let busy = told.len() >= BUSY;
                        told.drain(..).for_each(|tell| tell());
                        next = between;
                        if busy {
                            thread::sleep(GATHER);
                        }
                    }
                    Err(error) => {
                        tracing::error!(fault = broken(error).fault(), jobs = told.len(), "a commit failed");
                        // Dropping them tells everybody in the group that nothing was written.
                        told.clear();
                        if !connection.is_autocommit() {
                            let _ = connection.execute_batch("ROLLBACK");
                        }
                    }
                },
            }
        }
    }
    let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA optimize;");
}

/// One transaction of all that waits; a job that must run between two ends it, and is handed back.
fn group(
    connection: &Connection,
    first: Write,
    queue: &mpsc::Receiver<Job>,
    told: &mut Vec<Told>,
) -> rusqlite::Result<Option<Job>> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    told.push(first(connection)?);
    let mut between = None;
    while told.len() < MAX_GROUP
        && let Ok(job) = queue.try_recv()
    {
        match job {
            Job::Write(job) => told.push(job(connection)?),
            Job::Between(_) => {
                between = Some(job);
                break;
            }
        }
    }
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(between)
}
