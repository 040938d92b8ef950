//! `imds-audit rehearse`: what breaks when IMDSv2 is enforced.

mod child;
mod view;

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use super::{
    ExitStatus,
    arguments::{FormatArgument, parse_duration, parse_endpoint, parse_label},
};
use crate::{
    event::{Event, RehearsalVerdict, RehearsedSettings, SourceKind, StopReason, Time},
    output::{
        filter::EventFilter,
        log_file::LogFile,
        sink::{Format, Sink},
        text::TextStyle,
        writer::Writer,
    },
    pipeline::{Session, endpoints::default_endpoints, hardening, origin},
    process::Roots,
    rehearsal::{
        existing,
        front::{self, Policy, Settings},
        group::Group,
        programs::{ProgramError, Programs},
        redirection::Redirection,
        target::{self, Target, Wanted},
        text,
    },
    source::ebpf::loader::Options,
};
use child::Child;
use view::{Findings, RehearsalView};

/// How often new network namespaces are looked for, at most; and the part of the time that looking
/// may take.
const LOOK: Duration = Duration::from_millis(20);
const LOOK_SHARE: u32 = 50;

/// The options of `rehearse`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
For the chosen processes only, connects to the metadata service lead to a front that answers as an
instance with HttpTokens=required: 401 to IMDSv1; everything else is passed on unchanged. Other
processes, and the instance, are untouched. When this program ends, in whatever way, connects lead
to the service again.

Exit codes: 3 something broke; else the exit status of COMMAND (128 and its signal), or 0;
1 failed, 2 wrong usage, 4 the host does not allow it.

Events go to standard output, or to FILE; where COMMAND has the standard output they go to FILE
only. The verdict on each caller goes to standard error. Needs root, and no AWS credentials.")]
#[command(override_usage = "\
imds-audit rehearse [OPTIONS] -- COMMAND...
       imds-audit rehearse [OPTIONS] \
<--unit NAME | --container ID | --cgroup PATH | --pid PID | --whole-host>")]
#[command(group = clap::ArgGroup::new("target").required(true).multiple(false))]
pub(crate) struct RehearseArguments {
    /// Rehearse this command, in a cgroup of its own
    #[arg(last = true, value_name = "COMMAND", group = "target")]
    pub command: Vec<std::ffi::OsString>,

    /// Rehearse the processes of a systemd unit
    #[arg(long, value_name = "NAME", group = "target")]
    pub unit: Option<String>,

    /// Rehearse the processes of a container, by its id or the beginning of it
    #[arg(long, value_name = "ID", group = "target")]
    pub container: Option<String>,

    /// Rehearse a cgroup and those below it, by its folder or its path in the hierarchy
    #[arg(long, value_name = "PATH", group = "target")]
    pub cgroup: Option<PathBuf>,

    /// Rehearse the cgroup of a process
    #[arg(long, value_name = "PID", group = "target")]
    pub pid: Option<u32>,

    /// Rehearse every process of this host: every IMDSv1 request on it is refused meanwhile
    #[arg(long, group = "target")]
    pub whole_host: bool,

    /// End after this time, such as 90s, 10m or 7d; without it at SIGINT or SIGTERM, or when COMMAND
    /// ends. A COMMAND that still runs then goes on unrehearsed, and is waited for
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,

    /// Rehearse this HttpPutResponseHopLimit too: token responses do not arrive further away
    #[arg(long, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub hop_limit: Option<u8>,

    /// Rehearse HttpEndpoint=disabled: every request is answered 403
    #[arg(long)]
    pub disabled: bool,

    /// The form of the events, and of the verdict where COMMAND has the standard output
    #[arg(long, value_enum, default_value_t = FormatArgument::Text)]
    pub format: FormatArgument,

    /// Append the events to FILE (a new one has mode 0600) and keep standard output empty
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Rehearse this address and port instead of 169.254.169.254:80 and [fd00:ec2::254]:80; up to
    /// four times
    #[arg(long = "endpoint", value_name = "ADDR:PORT", value_parser = parse_endpoint)]
    pub endpoints: Vec<SocketAddr>,

    /// Put a label on every event, such as cluster=etl; repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,

    /// Log more to standard error
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl RehearseArguments {
    fn wanted(&self) -> Option<Wanted> {
        let unit = self.unit.clone().map(Wanted::Unit);
        let container = self.container.clone().map(Wanted::Container);
        let cgroup = self.cgroup.clone().map(Wanted::Cgroup);
        let pid = self.pid.map(Wanted::Pid);
        let whole = self.whole_host.then_some(Wanted::WholeHost);
        unit.or(container).or(cgroup).or(pid).or(whole)
    }

    fn endpoints(&self) -> Vec<SocketAddr> {
        if self.endpoints.is_empty() { default_endpoints() } else { self.endpoints.clone() }
    }
}

/// Rehearses until COMMAND ends, a signal comes or the time is over, and tells the verdict.
///
/// # Errors
/// Returns an error if there is no such target, the host does not allow the rehearsal, or the
/// command cannot be started.
pub(super) async fn run(arguments: &RehearseArguments) -> anyhow::Result<ExitStatus> {
    protect();
    let limit = raise_descriptor_limit();
    let mut signals = child::Signals::listen().context("cannot wait for signals")?;
    let roots = Roots::default();
    let endpoints = arguments.endpoints();
    let group = match arguments.wanted() {
        Some(_) => None,
        None => Some(Group::create(&roots)?),
    };
    let target = match (arguments.wanted(), &group) {
        (Some(wanted), _) => Target::find(&wanted, &roots)?,
        (None, Some(group)) => group.target()?,
        (None, None) => anyhow::bail!("nothing to rehearse was given"),
    };

    let policy = if arguments.disabled { Policy::Disabled } else { Policy::TokensRequired };
    let routes = front::routes(&endpoints).context("cannot choose an address for the front")?;
    let settings = Settings {
        policy,
        hop_limit: arguments.hop_limit,
        routes: routes.clone(),
        max_connections: front::MAX_CONNECTIONS,
    };
    Programs::ensure_free(target.as_fd())?;
    let own = target::own(&roots)?;
    let processes = target.processes();
    let redirect = || -> Result<Redirection, ProgramError> {
        let mut redirection = Redirection::load(&endpoints, settings, own, group.is_some())?;
        redirection.update(&processes, &roots.procfs);
        Ok(redirection)
    };

    let is_json = arguments.format == FormatArgument::Json;
    let mut origin =
        origin::of_run(&roots, arguments.labels.iter().cloned().collect(), SourceKind::Ebpf);
    origin.rehearsal = true;
    let audited = routes.iter().map(|route| route.front).chain(endpoints.iter().copied());
    let options = Options { endpoints: audited.collect(), ..Options::default() };
    let audit = || -> anyhow::Result<Session> {
        Session::start(&options, &roots, origin.clone(), vec![open_sink(arguments)?])
    };
    // Programs of one cgroup run in the order in which they were attached, those of a cgroup below
    // before. Redirected first, a connect has one destination in the audit: the front.
    let (mut redirection, mut session) = if arguments.whole_host {
        let mut redirection = redirect()?;
        redirection.attach(&target)?;
        (redirection, audit()?)
    } else {
        let (redirection, session) = beside(redirect, audit)?;
        (redirection?, session?)
    };
    let findings = Findings::new(
        &target,
        RehearsedSettings { disabled: arguments.disabled, hop_limit: arguments.hop_limit },
    );
    let findings = std::rc::Rc::new(std::cell::RefCell::new(findings));
    session.set_view(Box::new(RehearsalView::new(
        std::rc::Rc::clone(&findings),
        target.path.clone(),
        routes.clone(),
    )));
    if arguments.hop_limit.is_none() {
        session.ignore_ttl_of(routes.iter().map(|route| route.front).collect());
    }

    if !arguments.whole_host {
        redirection.attach(&target)?;
    }
    findings.borrow_mut().begin(Time(jiff::Timestamp::now()));
    let before = existing::count(&processes, &endpoints, &roots.procfs);
    findings.borrow_mut().open_before(before);
    if group.is_none() {
        let text = text::announcement(findings.borrow().event(), arguments.duration);
        super::print(format_args!("{text}"));
    }
    let mut child = match &group {
        Some(group) => Some(Child::start(&arguments.command, group, limit)?),
        None => None,
    };

    let refused = Cell::new(0u64);
    let stop = async {
        let reason = {
            let over = async {
                match arguments.duration {
                    Some(duration) => tokio::time::sleep(duration).await,
                    None => std::future::pending().await,
                }
            };
            let ended = redirection.front_ended();
            let look = async {
                loop {
                    let started = Instant::now();
                    redirection.update(&target.processes(), &roots.procfs);
                    let pause = LOOK.max(started.elapsed() * LOOK_SHARE);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = ended.notified() => {}
                    }
                    if target.is_gone() {
                        break;
                    }
                }
            };
            tokio::select! {
                () = over => StopReason::Duration,
                () = look => StopReason::EndOfInput,
                () = child::ended(&mut child, &mut signals) => {
                    if child.is_some() { StopReason::EndOfInput } else { StopReason::Signal }
                }
            }
        };
        redirection.end();
        refused.set(redirection.counters().refused.load(Ordering::Relaxed));
        let command = child.as_ref().map(Child::described);
        findings.borrow_mut().end(&redirection, command);
        reason
    };
    let ended = session.run(stop, |_| {}).await?;
    // The command may outlast the rehearsal, and its exit status is ours.
    let ending = match &mut child {
        Some(child) => Some(child.wait(&mut signals).await.context("cannot wait for the command")?),
        None => None,
    };
    drop(group);

    let mut result = findings.borrow_mut().take().context("the rehearsal has no result")?;
    if let (Some(command), Some(ending)) = (&mut result.command, ending) {
        ending.describe(command);
    }
    let has_broken = result.callers.iter().any(|caller| caller.verdict == RehearsalVerdict::Breaks);
    let seen = result.callers.iter().fold(0u64, |sum, caller| sum.saturating_add(caller.refused));
    // Of callers beyond the bound it is not known how much they were refused.
    let is_complete = result.more_callers == 0;
    let unseen = if is_complete { refused.get().saturating_sub(seen) } else { 0 };
    if is_json && !arguments.command.is_empty() {
        let event = Event { origin: Arc::new(origin), ..Event::from(result) };
        let line = serde_json::to_string(&event).context("cannot write the verdict")?;
        super::print(format_args!("{line}\n"));
    } else {
        let host =
            origin.host.as_ref().and_then(|host| host.id.as_deref().or(host.name.as_deref()));
        super::print(format_args!("{}", text::render(&result, host)));
    }
    for loss in ended.summary.losses() {
        let loss = crate::output::loss::describe(&loss);
        super::print(format_args!("not observed: {loss}; a caller may be missing\n"));
    }
    if unseen > 0 {
        super::print(format_args!(
            "not observed: who made {unseen} of the refused requests; a caller may be missing\n"
        ));
    }
    Ok(match (has_broken, ending, ended.unwritten) {
        (_, _, 1..) => ExitStatus::Failed,
        (true, ..) => ExitStatus::Condition,
        (false, Some(ending), 0) => ExitStatus::Command(ending.code()),
        (false, None, 0) => ExitStatus::Done,
    })
}

/// Runs a closure on a thread of its own, beside another one on this.
///
/// # Errors
/// Returns an error if the first has panicked.
fn beside<A: Send, B>(
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B,
) -> anyhow::Result<(A, B)> {
    thread::scope(|scope| {
        let first = thread::Builder::new().spawn_scoped(scope, first);
        let first = first.context("cannot start a thread")?;
        let second = second();
        let first = first.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))?;
        Ok((first, second))
    })
}

/// Returns how the program ends after an error of a rehearsal; `None` for any other.
pub(super) fn exit_status(error: &anyhow::Error) -> Option<ExitStatus> {
    use crate::rehearsal::{group::GroupError, programs::ProgramError, target::TargetError};
    let of_target = |error: &TargetError| match error {
        TargetError::ShortId | TargetError::Ambiguous { .. } => ExitStatus::Usage,
        TargetError::Hierarchy(_) | TargetError::Root(_) | TargetError::Hidden(_) => {
            ExitStatus::NotAllowed
        }
        TargetError::NoUnit(_)
        | TargetError::NoContainer(_)
        | TargetError::NoProcess { .. }
        | TargetError::NotCgroup2(_)
        | TargetError::Open { .. } => ExitStatus::Failed,
    };
    if let Some(error) = error.downcast_ref::<TargetError>() {
        return Some(of_target(error));
    }
    if let Some(error) = error.downcast_ref::<GroupError>() {
        return Some(match error {
            GroupError::Target(error) => of_target(error),
            GroupError::Hierarchy(_) | GroupError::Create { .. } => ExitStatus::NotAllowed,
        });
    }
    error.downcast_ref::<ProgramError>().map(|error| match error {
        ProgramError::TooManyEndpoints(_) => ExitStatus::Usage,
        _ => ExitStatus::NotAllowed,
    })
}

/// Keeps tokens out of core dumps, without a limit that the command would inherit.
fn protect() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        log::warn!("core dumps cannot be switched off error={error}");
    }
    hardening::limit_arenas();
}

/// Allows as many descriptors as the system does: a connection takes two. Returns the limit from
/// before, which the command gets.
fn raise_descriptor_limit() -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, ..before }) {
        log::debug!("the number of descriptors cannot be raised error={error}");
    }
    before
}

fn open_sink(arguments: &RehearseArguments) -> anyhow::Result<Sink> {
    let format = match arguments.format {
        FormatArgument::Json => Format::Json,
        FormatArgument::Text if arguments.output.is_some() => Format::Text(TextStyle::default()),
        FormatArgument::Text => Format::Text(TextStyle::of(&io::stdout())),
    };
    // The command has the standard output.
    let nowhere = Path::new("/dev/null");
    let file = arguments.output.as_deref().or((!arguments.command.is_empty()).then_some(nowhere));
    let all = EventFilter::default();
    let sink = match file {
        Some(path) => Sink::start(format, all, Writer::new(LogFile::open(path)?)),
        None => Sink::start(format, all, Writer::stdout()),
    };
    sink.context("cannot start the thread that writes")
}
