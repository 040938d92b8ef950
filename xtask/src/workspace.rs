//! Paths in the source tree.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The source tree and the folder of everything that is made from it.
pub struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Cargo's target folder: `CARGO_TARGET_DIR`, or `target` in the root.
    pub target: PathBuf,
}

impl Workspace {
    /// Locates the source tree that this program was built from.
    pub fn locate() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the xtask package has no parent folder")?
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => env::current_dir().context("current folder")?.join(folder),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// Returns a command for the cargo that runs this program, in the root.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(host_cargo());
        command.current_dir(&self.root);
        command
    }

    /// Returns the compiler's options that keep this machine's paths out of what it makes.
    pub fn path_remapping(&self) -> Vec<String> {
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
        let mut options = vec![format!("--remap-path-prefix={}=/imds-audit", self.root.display())];
        options.extend(home.map(|home| format!("--remap-path-prefix={}=/cargo", home.display())));
        options
    }

    /// Returns the folder of the tools that the project installs for itself.
    pub fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }
}

/// Returns the cargo that runs this program.
fn host_cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"))
}

/// Writes a file, and makes its folder where that is missing. Returns its path.
///
/// # Errors
/// Returns the error of the system, with the path.
pub fn write(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::write(path, bytes).with_context(|| path.display().to_string())?;
    Ok(path.to_path_buf())
}
