//! The versions of the file's schema: it keeps which it is of (`PRAGMA user_version`), and what an older release wrote is
//! brought up to date when it is opened.
//!
//! `schema.sql` is version 1. A later change is a file of its own, `migrations/0002_….sql`, and a line in [`STEPS`]: what was
//! released is never changed.

use std::path::Path;

use postrider::error::Error;
use rusqlite::{Connection, TransactionBehavior};

use crate::broken;

/// Each leads to the version of its place, the first from an empty file.
const STEPS: &[&str] = &[include_str!("schema.sql"), include_str!("migrations/0002_undelivered.sql")];

const VERSION: &str = "user_version";

/// Brings a file up to date, in one transaction: what fails leaves it as it was.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    apply(STEPS, connection, path)
}

fn apply(steps: &[&str], connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let version: usize = connection.pragma_query_value(None, VERSION, |row| row.get(0)).map_err(broken)?;
    let Some(missing) = steps.get(version..) else {
        return Err(Error::Internal(format!(
            "{} was written by a newer release: its schema is version {version}, and this release knows up to {}. Open it \
             with that release, or take a copy made before",
            path.display(),
            steps.len(),
        )));
    };
    if missing.is_empty() {
        return Ok(());
    }
    let all = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(broken)?;
    for step in missing {
        all.execute_batch(step).map_err(broken)?;
    }
    all.pragma_update(None, VERSION, steps.len()).and_then(|()| all.commit()).map_err(broken)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    fn version(connection: &Connection) -> usize {
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    /// Everything that makes up the schema, as SQLite keeps it.
    fn schema(connection: &Connection) -> Vec<(String, String, Option<String>)> {
        let mut query =
            connection.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// A file that is left by the release whose schema was of this version.
    fn of_version(steps: &[&str], version: usize) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&steps[..version], &mut connection, here()).unwrap();
        connection
    }

    fn here() -> &'static Path {
        Path::new("data.db")
    }

    #[test]
    fn a_file_of_each_version_becomes_what_a_new_one_is() {
        let fresh = of_version(STEPS, STEPS.len());
        assert_eq!(version(&fresh), STEPS.len());
        for before in 1..=STEPS.len() {
            let mut old = of_version(STEPS, before);
            migrate(&mut old, here()).unwrap();
            assert_eq!((version(&old), schema(&old)), (STEPS.len(), schema(&fresh)), "from version {before}");
        }
    }

    #[test]
    fn a_file_from_before_there_were_versions_is_taken_for_the_first() {
        let mut old = Connection::open_in_memory().unwrap();
        old.execute_batch(include_str!("schema.sql")).unwrap();
        old.execute("INSERT INTO settings (name, value) VALUES ('kept', 7)", []).unwrap();
        migrate(&mut old, here()).unwrap();
        assert_eq!(version(&old), STEPS.len());
        let kept: i64 = old.query_row("SELECT value FROM settings", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 7);
    }

    #[test]
    fn a_file_of_a_newer_release_is_refused_with_words() {
        let mut newer = of_version(STEPS, STEPS.len());
        newer.pragma_update(None, "user_version", STEPS.len() + 1).unwrap();
        let error = migrate(&mut newer, here()).unwrap_err();
        let says = error.fault().unwrap();
        assert!(says.starts_with("data.db was written by a newer release"), "{says}");
        assert_eq!(version(&newer), STEPS.len() + 1, "it is as it was");
    }

    #[test]
    fn what_fails_leaves_the_file_as_it_was() {
        let mut steps = STEPS.to_vec();
        let mut old = of_version(&steps, steps.len());
        let before = (version(&old), schema(&old));
        steps.push("CREATE TABLE new (a) STRICT; INSERT INTO nowhere VALUES (1);");
        apply(&steps, &mut old, here()).unwrap_err();
        assert_eq!((version(&old), schema(&old)), before);
    }

    #[test]
    fn what_an_older_file_holds_is_there_afterwards() {
        let mut steps = STEPS.to_vec();
        let mut old = of_version(&steps, steps.len());
        old.execute("INSERT INTO settings (name, value) VALUES ('kept', 7)", []).unwrap();
        steps.push("ALTER TABLE settings ADD COLUMN more TEXT NOT NULL DEFAULT 'x';");
        apply(&steps, &mut old, here()).unwrap();
        let row = old.query_row("SELECT value, more FROM settings", [], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(row.unwrap(), (7, "x".to_owned()));
        assert_eq!(version(&old), steps.len());
    }
}
