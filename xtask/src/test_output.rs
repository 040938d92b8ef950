//! The output of a test run, passed on as it comes; what the failed tests said is repeated at its end,
//! where whoever reads a long log begins.

use std::io::{BufRead, BufReader, Write, stdout};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command;

/// Lines of a panic that are repeated, its first one included.
const LINES: usize = 8;
/// Characters of a line that are repeated.
const CHARACTERS: usize = 240;

/// Runs tests with this program's own output, and fails when one fails.
///
/// # Errors
///
/// Returns an error if they cannot be run, or one fails; it has what each panic said.
pub fn run(tests: &mut Command) -> Result<()> {
    let child = tests.stdout(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("cannot run {}", command::line(tests)))?;
    let output = child.stdout.take().context("a pipe was asked for")?;
    let panics = pass_on(BufReader::new(output), stdout())?;
    let status = child.wait()?;
    if !status.success() {
        bail!("failed ({status}): {}\n{}", command::line(tests), panics.0.join("\n"));
    }
    Ok(())
}

/// Passes an output on line by line; returns what its panics said.
fn pass_on(mut output: impl BufRead, mut to: impl Write) -> Result<Panics> {
    let mut panics = Panics::default();
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        panics.take(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(panics)
}

/// The beginnings of what panics said.
#[derive(Debug, Default)]
struct Panics(Vec<String>, usize);

impl Panics {
    /// Takes the next line of the output.
    fn take(&mut self, line: &str) {
        let line = line.trim_end();
        if line.starts_with("thread '") && line.contains("panicked at") {
            self.1 = LINES;
        } else if line == "stack backtrace:" || line.starts_with("note: ") {
            self.1 = 0;
        }
        if self.1 > 0 {
            self.1 -= 1;
            self.0.push(line.chars().take(CHARACTERS).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_panic_the_beginning_is_kept() {
        let long = "x".repeat(1000);
        let output = format!(
            "test a ... FAILED\n---- a stdout ----\n\nthread 'a' (7) panicked at tests/a.rs:1:2:\n\
             assertion failed\n  left: {long}\nstack backtrace:\n   0: rust_begin_unwind\n\n\
             thread 'b' panicked at tests/b.rs:3:4:\n{}\nfailures:\n    a\n",
            "line\n".repeat(20)
        );
        let mut passed_on = Vec::new();
        let Panics(lines, _) = pass_on(output.as_bytes(), &mut passed_on).unwrap();
        assert_eq!(passed_on, output.as_bytes());
        assert_eq!(lines.len(), 3 + LINES);
        assert_eq!(lines[1], "assertion failed");
        assert_eq!(lines[2].len(), CHARACTERS);
        assert_eq!(lines[3], "thread 'b' panicked at tests/b.rs:3:4:");
    }

    #[test]
    fn a_failed_run_fails() {
        let run = |script: &str| super::run(Command::new("sh").args(["-c", script]));
        assert!(run("exit 0").is_ok());
        assert!(run("exit 7").unwrap_err().to_string().starts_with("failed (exit status: 7): sh"));
    }
}
