//! Facts of a program that an `exec` replaces: its file, command line, script, environment and
//! working directory.

use super::databricks::Cluster;
use super::executable::Executable;
use super::limits::{MAX_COMMAND_LINE, MAX_ENVIRONMENT};
use super::process_folder::ProcessFolder;
use super::script_path;
use super::spark::{self, SparkPart};
use super::workload::Workload;

/// What procfs shows of the program that a process runs.
#[derive(Debug, Default)]
pub(super) struct ProgramFacts {
    /// Its file.
    pub exe: Option<Executable>,
    /// The command line as it lies in memory, and whether it is cut off.
    pub command_line: Option<(Vec<u8>, bool)>,
    /// What it runs; a script by its absolute path, where that can be found.
    pub workload: Workload,
    /// What it is to a Spark application.
    pub role: Option<SparkPart>,
    /// The cluster of Databricks that its environment names.
    pub cluster: Option<Cluster>,
    /// Its working directory.
    pub working_directory: Option<Box<[u8]>>,
}

/// Reads a process's folder. That it is one program of one process all the while is for the caller
/// to check, before and after.
pub(super) fn read(folder: &ProcessFolder, exe: Option<Executable>) -> ProgramFacts {
    let command_line = folder.command_line(MAX_COMMAND_LINE);
    let environment = folder.environment(MAX_ENVIRONMENT);
    let working_directory = folder.working_directory();
    let (mut workload, role) = command_line
        .as_ref()
        .map(|(bytes, cut)| spark::workload_and_role(exe.as_ref(), bytes, *cut))
        .unwrap_or_default();
    let absolute = workload.relative_path().and_then(|path| {
        let started_in = environment.working_directory.as_deref();
        script_path::absolute(path, folder, working_directory.as_deref(), started_in)
    });
    if let Some(path) = absolute {
        workload.set_path(&path);
    }
    let working_directory = working_directory.map(Into::into);
    ProgramFacts {
        exe,
        command_line,
        workload,
        role,
        cluster: environment.cluster,
        working_directory,
    }
}
