//! The kernel's modules that the tests need.

use std::fs::{self, File};

use anyhow::{Context, Result};

/// Where the host has put them; their names begin with their place in the order.
const FOLDER: &str = "/modules";

/// Loads them all.
pub fn load_all() -> Result<()> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(FOLDER).into_iter().flatten() {
        paths.push(entry?.path());
    }
    paths.sort();
    for path in paths {
        let file = File::open(&path)?;
        rustix::system::finit_module(&file, c"", 0).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
