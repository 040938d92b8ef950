//! `imds-audit verify`: whether sealed records are unaltered and complete.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::ExitStatus;
use crate::capture::bundle;
use crate::event::Checkpoint;
use crate::event::reader::{Source, find};
use crate::seal::{Verdict, Verifier, checkpoints_of};
use crate::text::terminal;

/// The checkpoints that are taken from the files themselves.
const MAX_CHECKPOINTS: usize = 100_000;

/// The options of `imds-audit verify`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit codes: 0 unaltered and complete, 1 failed, 2 wrong usage, 3 altered or incomplete.

A seal has no key: it shows changes to whoever keeps a checkpoint elsewhere. docs/forensics.md
verifies the same with standard tools, and says how to sign a checkpoint.")]
pub(crate) struct VerifyArguments {
    /// Sealed JSON lines of `run` or `agent`, rotated ones too, plain, gzip or zstd, or folders
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// A checkpoint that was kept elsewhere: the chain's id, the number of a line and its sha256
    #[arg(long = "checkpoint", value_name = "CHAIN:LINE:SHA256", value_parser = parse_checkpoint)]
    pub checkpoints: Vec<Checkpoint>,

    /// Accept a record without its end, such as a running agent's
    #[arg(long)]
    pub open: bool,
}

/// Verifies the records, and prints what was found.
///
/// # Errors
/// Returns an error if a file cannot be read or standard output cannot be written to.
pub(super) fn run(arguments: &VerifyArguments) -> anyhow::Result<ExitStatus> {
    let mut checkpoints: BTreeSet<Checkpoint> = arguments.checkpoints.iter().cloned().collect();
    let mut paths = Vec::new();
    let mut differences = Vec::new();
    for path in &arguments.paths {
        if !path.join(bundle::MANIFEST).is_file() {
            paths.extend(find(std::slice::from_ref(path))?);
            continue;
        }
        let (manifest, found) = bundle::compare(path)
            .with_context(|| format!("cannot verify the bundle {}", path.display()))?;
        differences.extend(found.into_iter().map(|fault| {
            format!("{}: {}", terminal::word(&path.to_string_lossy()), terminal::escape(&fault))
        }));
        checkpoints.extend(manifest.checkpoints);
        let found = find(std::slice::from_ref(path))?;
        paths.extend(found.into_iter().filter(|path| is_record(path)));
    }
    for path in &paths {
        Source::whole(path.clone()).lines(&mut |line| {
            let found = checkpoints_of(line.unwrap_or_default());
            let room = MAX_CHECKPOINTS.saturating_sub(checkpoints.len());
            checkpoints.extend(found.into_iter().take(room));
        })?;
    }
    let checkpoints: Vec<_> = checkpoints.into_iter().collect();
    let mut verifier = Verifier::new(&checkpoints);
    for path in &paths {
        verifier.start_file();
        Source::whole(path.clone()).lines(&mut |line| verifier.line(line))?;
    }
    let verdict = verifier.finish(&arguments.checkpoints);
    print(&render(&verdict, &paths, &differences, arguments.open))?;
    let is_fine = verdict.is_complete() || (arguments.open && verdict.is_unaltered());
    let is_fine = is_fine && differences.is_empty();
    Ok(if is_fine { ExitStatus::Done } else { ExitStatus::Condition })
}

/// Returns whether a file of a bundle has sealed lines.
fn is_record(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains(".jsonl"))
}

fn render(verdict: &Verdict, paths: &[PathBuf], differences: &[String], open: bool) -> String {
    let mut page = String::new();
    for chain in &verdict.chains {
        let run = chain.run.as_deref().map(terminal::word).unwrap_or_else(|| "unknown".to_owned());
        let files =
            if chain.files == 1 { "1 file".to_owned() } else { format!("{} files", chain.files) };
        // Writing to a text does not fail.
        let _ = writeln!(
            page,
            "run {run}: lines {} to {} in {files}, the end {}\n  checkpoint {}:{}:{}",
            chain.first,
            chain.last,
            if chain.has_end { "is here" } else { "is not here" },
            chain.chain,
            chain.last,
            chain.sha256,
        );
    }
    for fault in &verdict.faults {
        let place = fault.place.and_then(|place| {
            let path = paths.get(place.file)?.to_string_lossy();
            Some(format!("{}:{}: ", terminal::word(&path), place.line))
        });
        let _ = writeln!(page, "{}{}", place.unwrap_or_default(), fault.kind);
    }
    for difference in differences {
        let _ = writeln!(page, "{difference}");
    }
    let is_altered = !differences.is_empty();
    page.push_str(
        match (verdict.is_complete() && !is_altered, verdict.is_unaltered() && !is_altered) {
            (true, _) => "verified: unaltered and complete\n",
            (false, true) if open => "verified: unaltered, and complete so far\n",
            (false, true) => "not verified: unaltered, and the end is not here\n",
            (false, false) => "not verified: altered or incomplete\n",
        },
    );
    page
}

fn print(page: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(page.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

fn parse_checkpoint(text: &str) -> Result<Checkpoint, String> {
    let wrong = || "not CHAIN:LINE:SHA256, as `verify` prints it".to_owned();
    let mut parts = text.split(':');
    let (Some(chain), Some(line), Some(sha256), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong());
    };
    let is_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let line = line.parse().map_err(|_| wrong())?;
    if !is_hex(chain, 32) || !is_hex(sha256, 64) {
        return Err(wrong());
    }
    let lower = str::to_ascii_lowercase;
    Ok(Checkpoint { chain: lower(chain), line, sha256: lower(sha256) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_as_it_is_printed() {
        let text = format!("{}:12:{}", "0a".repeat(16), "1B".repeat(32));
        let read = parse_checkpoint(&text).unwrap();
        assert_eq!((read.line, read.sha256), (12, "1b".repeat(32)));
        for wrong in ["", "a:b:c", &text[1..], &format!("{text}:")] {
            assert!(parse_checkpoint(wrong).unwrap_err().contains("SHA256"), "{wrong}");
        }
    }
}
