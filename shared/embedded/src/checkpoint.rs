//! Moving what is committed from the log into the database, beside the writer instead of in its way.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use postrider::error::Error;
use rusqlite::Connection;

use crate::writer::Writer;

/// How often the log's length is looked at.
const PERIOD: Duration = Duration::from_millis(250);
/// Pages of log from which on the writer is asked to begin it anew; by then nearly all of it is moved.
const RESTART_AT: i64 = 8_000;

/// A thread that checkpoints; it ends when this is dropped.
pub(crate) struct Checkpointer {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Checkpointer {
    pub(crate) fn start(connection: Connection, writer: Writer) -> Result<Self, Error> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("checkpointer".into())
            .spawn(move || run(&connection, &writer, &stopped))
            .map_err(|error| Error::Internal(format!("starting the checkpointer: {error}")))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, writer: &Writer, stopped: &mpsc::Receiver<()>) {
    let mut idle = true;
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(PERIOD) {
        // PASSIVE waits for nobody and makes nobody wait.
        let log = match checkpoint(connection, "PASSIVE") {
            Ok(log) => log,
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed");
                continue;
            }
        };
        // Under steady load the log never runs empty by itself: only the writer can begin it anew.
        if log > RESTART_AT && idle {
            idle = false;
            writer.between(|connection| {
                if let Err(error) = checkpoint(connection, "RESTART") {
                    tracing::warn!(%error, "the log could not begin anew");
                }
            });
        } else {
            idle = true;
        }
    }
}

/// Pages in the log.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<i64> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(1))
}
