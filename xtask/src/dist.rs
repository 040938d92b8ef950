//! Everything that is released: programs, packages, an image, the chart, their lists and sums.
//!
//! Two runs on the same source make the same bytes: no file carries a time of its own, a path of
//! this machine or an order that chance decides.

mod archive;
mod chart;
mod deb;
mod image;
mod licences;
mod notices;
mod paths;
mod rpm;
mod sbom;
mod staging;
mod sums;
mod trial;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use self::staging::Staging;
use crate::apt;
use crate::architecture::{ARCHITECTURES, Architecture};
use crate::build::{self, Profile};
use crate::command;
use crate::dependencies::Dependencies;
use crate::workspace::{Workspace, write};

/// The variable with the time that every file gets, in seconds since 1970
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The options of `dist`.
#[derive(Args)]
pub struct Options {
    /// The architectures: x86_64, aarch64 or both
    #[arg(long = "arch", value_name = "ARCHITECTURE", value_parser = Architecture::find)]
    architectures: Vec<&'static Architecture>,
    /// Builds without link-time optimisation: to try the packaging, not to release.
    #[arg(long)]
    quick: bool,
    /// Packs programs that are built already: files of this folder named imds-audit-ARCHITECTURE.
    #[arg(long, value_name = "FOLDER", conflicts_with = "twice")]
    programs: Option<PathBuf>,
    /// Makes everything twice, the second time from a copy of the source, and compares the bytes.
    #[arg(long)]
    twice: bool,
    /// Installs, runs and removes what was made, with each format's own checkers.
    #[arg(long)]
    test: bool,
    /// Makes nothing, and tests what the last run made.
    #[arg(long, requires = "test")]
    keep: bool,
}

/// What every artefact is made of.
struct Release {
    /// The version.
    version: String,
    /// The time of the source in seconds since 1970.
    epoch: u64,
    /// The crates in the program.
    dependencies: Dependencies,
}

/// Where the programs come from.
enum Builder {
    /// They are there.
    Folder(PathBuf),
    /// They are built around an eBPF object.
    Cargo(PathBuf, Profile),
}

/// Makes what was asked for in `target/dist/release`, and prints its sums.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let folder = workspace.target.join("dist/release");
    if options.twice {
        sums::require_committed(workspace)?;
    }
    // Once, as somebody may commit while this runs.
    let epoch = epoch(workspace)?;
    if !options.keep {
        make(workspace, options, epoch, &folder)?;
    }
    if options.twice {
        let architectures = architectures(options);
        sums::compare_with_a_copy(workspace, options.quick, &architectures, epoch, &folder)?;
    }
    if options.test {
        trial::run(workspace, &folder)?;
    }
    Ok(())
}

/// Returns the architectures that were asked for: all, if none was named.
fn architectures(options: &Options) -> Vec<&'static Architecture> {
    if options.architectures.is_empty() {
        return ARCHITECTURES.iter().collect();
    }
    options.architectures.clone()
}

fn make(workspace: &Workspace, options: &Options, epoch: u64, folder: &Path) -> Result<()> {
    apt::install(&apt::missing(&["rpm", "dpkg", "git"].map(str::to_owned)))?;
    let release = Release {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        epoch,
        dependencies: Dependencies::read(workspace)?,
    };
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    manual_of(workspace, epoch)?;
    let profile = if options.quick { Profile::Guest } else { Profile::Release };
    let builder = match &options.programs {
        Some(folder) => Builder::Folder(folder.clone()),
        None => Builder::Cargo(build::object(workspace)?, profile),
    };
    let notices = notices::write(&release.dependencies)?;
    let list = sbom::write(&release)?;
    let name = format!("imds-audit-{}", release.version);
    write(&folder.join(format!("{name}.THIRD-PARTY")), notices.as_bytes())?;
    write(&folder.join(format!("{name}.cdx.json")), list.as_bytes())?;

    let mut programs = Vec::new();
    for architecture in architectures(options) {
        let program = match &builder {
            Builder::Folder(folder) => folder.join(format!("imds-audit-{}", architecture.name)),
            Builder::Cargo(object, profile) => {
                build::program_of(workspace, object, &architecture.target(), *profile)?
            }
        };
        let path = folder.join(format!("{name}-linux-{}", architecture.name));
        fs::copy(&program, &path).with_context(|| path.display().to_string())?;
        let staging = Staging {
            workspace,
            release: &release,
            architecture,
            program: &path,
            notices: &notices,
            list: &list,
        };
        deb::build(&staging, folder)?;
        rpm::build(&staging, folder)?;
        programs.push((architecture, path));
    }
    image::write(&release, &programs, &notices, &folder.join(format!("{name}.oci.tar")))?;
    chart::pack(workspace, &release, folder)?;
    print!("{}", sums::write(folder)?);
    Ok(())
}

/// Writes the manual pages and the shell completions, with the date of the source.
pub fn manual(workspace: &Workspace) -> Result<()> {
    manual_of(workspace, epoch(workspace)?)
}

fn manual_of(workspace: &Workspace, epoch: u64) -> Result<()> {
    build::manual(workspace, &date(epoch, "+%Y-%m-%d")?)
}

/// Returns the time that every file gets: `SOURCE_DATE_EPOCH`, or that of the last commit.
fn epoch(workspace: &Workspace) -> Result<u64> {
    let text = match env::var(EPOCH) {
        Ok(text) => text,
        Err(_) => command::output(Command::new("git").current_dir(&workspace.root).args([
            "log",
            "-1",
            "--format=%ct",
        ]))
        .with_context(|| format!("outside of a git repository, set {EPOCH}"))?,
    };
    text.trim().parse().with_context(|| format!("{EPOCH}: {text}"))
}

/// Returns a time as `date` formats it.
fn date(epoch: u64, format: &str) -> Result<String> {
    let mut date = Command::new("date");
    date.args(["-u", "-d", &format!("@{epoch}"), format]).env("LC_ALL", "C");
    Ok(command::output(&mut date)?.trim().to_owned())
}
