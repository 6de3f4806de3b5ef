//! The sealing key's file: beside the database, readable by its owner alone.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use postrider::{error::Error, sealing::KEY_LENGTH};
use zeroize::Zeroizing;

/// Reads the key, or makes one.
pub(crate) fn load_or_make(database: &Path) -> Result<Zeroizing<[u8; KEY_LENGTH]>, Error> {
    let mut path = database.as_os_str().to_owned();
    path.push(".key");
    let path = Path::new(&path);
    let fault = |error: std::io::Error| Error::Internal(format!("the key file {}: {error}", path.display()));
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    match File::open(path) {
        Ok(mut file) => {
            let mode = file.metadata().map_err(fault)?.permissions().mode();
            if mode & 0o077 != 0 {
                let says = format!("the key file {} must be readable by its owner alone", path.display());
                return Err(Error::Internal(says));
            }
            file.read_exact(&mut *key).map_err(fault)?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut *key)).map_err(fault)?;
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fault)?;
            file.write_all(&*key).and_then(|()| file.sync_all()).map_err(fault)?;
        }
        Err(error) => return Err(fault(error)),
    }
    Ok(key)
}
