//! One process to a file: what is being worked on is known in memory alone, and a second process would do it again.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

use postrider::error::Error;

/// A database that is this process's, until this is dropped or the process ends, however it does.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock ends when the file is closed")] File);

impl Lock {
    /// Takes a database, by a lock on the empty file `<path>.lock`.
    pub fn take(database: &Path) -> Result<Self, Error> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = Path::new(&path);
        let fault =
            |error: std::io::Error| Error::Internal(format!("the lock file {}: {error}", path.display()));
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(fault)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Unavailable(format!(
                "another process has {} open, and it must have but one: end that, or name another file with --data",
                database.display()
            ))),
            Err(TryLockError::Error(error)) => Err(fault(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    #[test]
    fn a_database_is_one_processs_until_that_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.db");
        let lock = Lock::take(&path).unwrap();
        let error = Lock::take(&path).unwrap_err();
        assert!(error.fault().unwrap().contains("another process has"), "{error:?}");
        assert!(Lock::take(&dir.path().join("other.db")).is_ok());
        drop(lock);
        assert!(Lock::take(&path).is_ok());
    }
}
