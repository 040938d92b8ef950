//! Archives and compressed files in which nothing depends on the machine or the hour.

use std::io::Write as _;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// Compresses with gzip, without a name and a time in the header.
pub fn gzip(data: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(data)?;
    encoder.finish().context("gzip")
}

/// Returns the SHA-256 of data in hexadecimal.
pub fn sha256(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

/// Returns bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An archive whose files are root's and of one time.
pub struct Archive {
    builder: Builder<Vec<u8>>,
    epoch: u64,
}

impl Archive {
    /// Starts an archive whose files get a time in seconds since 1970.
    pub fn new(epoch: u64) -> Self {
        Self { builder: Builder::new(Vec::new()), epoch }
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) -> Result<()> {
        self.add(path, EntryType::Regular, mode, data)
    }

    /// Adds a folder; its path ends with a slash.
    pub fn folder(&mut self, path: &str) -> Result<()> {
        self.add(path, EntryType::Directory, 0o755, &[])
    }

    fn add(&mut self, path: &str, kind: EntryType, mode: u32, data: &[u8]) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(self.epoch);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(u64::try_from(data.len())?);
        self.builder.append_data(&mut header, path, data).with_context(|| path.to_owned())
    }

    /// Ends the archive.
    pub fn finish(self) -> Result<Vec<u8>> {
        self.builder.into_inner().context("tar")
    }
}
