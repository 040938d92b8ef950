//! Running commands, with errors that name the command.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a command with this program's own output, and fails when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", line(command)))?;
    if !status.success() {
        bail!("failed ({status}): {}", line(command));
    }
    Ok(())
}

/// Runs a command without showing its output, and shows the end of it when the command fails: for
/// package managers.
pub fn quiet(command: &mut Command) -> Result<()> {
    /// Lines of output that an error shows.
    const LINES: usize = 40;
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", line(command)))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let end = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
    bail!("failed ({}): {}\n{}", output.status, line(command), end.join("\n"))
}

/// Runs a command and returns what it wrote to its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", line(command)))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("failed ({}): {}\n{}", output.status, line(command), message.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("not UTF-8: {}", line(command)))
}

/// Returns the command as a person would type it.
pub fn line(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ")
}

/// Returns the program's path, looked up in `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| {
        fs::metadata(path)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    })
}

/// Tells whether this program runs as root.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Returns a command that runs as root: as it is for root, else through sudo.
///
/// # Errors
///
/// Returns an error if there is no sudo: the error has the command to run as root.
pub fn as_root(program: &str, arguments: &[String]) -> Result<Command> {
    let mut command = Command::new(program);
    if !is_root() {
        if find("sudo").is_none() {
            bail!(
                "this needs root, and there is no sudo: run as root: {program} {}",
                arguments.join(" ")
            );
        }
        command = Command::new("sudo");
        command.arg(program);
    }
    command.args(arguments);
    Ok(command)
}
