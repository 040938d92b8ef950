//! The command line.

use clap::{CommandFactory, Parser, Subcommand};

use super::{
    agent::AgentArguments,
    arguments::RunArguments,
    capture::CaptureArguments,
    check::CheckArguments,
    demo::{CallerArguments, DemoArguments},
    rehearse::RehearseArguments,
    replay::ReplayArguments,
    report::ReportArguments,
    verify::VerifyArguments,
};

/// Names every process that still uses IMDSv1.
///
/// imds-audit shows each request to the EC2 instance metadata service on this host, in every
/// network namespace and container: whether it was IMDSv1 or IMDSv2, its outcome, and which
/// process made it.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Audit this host live, one line per request
    Run(Box<RunArguments>),
    /// Rehearse IMDSv2 enforcement for one command, unit, container or cgroup: show what breaks
    Rehearse(Box<RehearseArguments>),
    /// Audit this host as a service: files that rotate, syslog, tallies, metrics
    Agent(AgentArguments),
    /// Report who still uses IMDSv1, and whether IMDSv2 can be enforced, from files of events
    Report(Box<ReportArguments>),
    /// Capture packets with their processes and without secrets (pcapng), or a forensic bundle
    Capture(Box<CaptureArguments>),
    /// Replay captures of packets (pcap, pcapng) through the same engine
    Replay(Box<ReplayArguments>),
    /// Verify that sealed records are unaltered and complete, or say where not
    Verify(VerifyArguments),
    /// Check whether this host can be audited: what is missing, what that costs and how to fix it
    Check(CheckArguments),
    /// Audit a simulated service with IMDSv1 and IMDSv2 callers, in a private network
    Demo(DemoArguments),
    /// A caller of the demonstration
    #[command(hide = true)]
    DemoCaller(CallerArguments),
}

/// Returns the definition of all options, which the manual pages and the shell completions are
/// generated from.
pub fn definition() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::endpoints::DEFAULT_ENDPOINTS;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Renders the long help of a command and of all below it.
    fn help_of(command: &mut clap::Command) -> String {
        let mut help = command.render_long_help().to_string();
        command.get_subcommands_mut().for_each(|command| help += &help_of(command));
        help
    }

    #[test]
    fn no_help_names_a_type_of_this_program() {
        // AWS's names of settings and of a service.
        const FOREIGN: [&str; 4] =
            ["CloudWatch", "HttpEndpoint", "HttpPutResponseHopLimit", "HttpTokens"];
        let help = help_of(&mut Cli::command());
        assert!(help.contains("Exit codes: 0 done"), "{help}");
        let is_type = |word: &&str| {
            let mut pairs = word.as_bytes().windows(2);
            word.starts_with(|c: char| c.is_ascii_uppercase())
                && pairs.any(|pair| matches!(pair, [b'a'..=b'z', b'A'..=b'Z']))
        };
        let words = help.split(|c: char| !c.is_ascii_alphanumeric());
        let types: Vec<_> = words.filter(is_type).filter(|word| !FOREIGN.contains(word)).collect();
        assert!(types.is_empty(), "{types:?}");
    }

    #[test]
    fn the_default_endpoints_parse() {
        let cli = Cli::parse_from(["imds-audit", "run"]);
        let Command::Run(arguments) = cli.command else { panic!("not run") };
        assert_eq!(arguments.endpoints().len(), DEFAULT_ENDPOINTS.len());
    }
}
