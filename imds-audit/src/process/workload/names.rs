//! Programs that are known by their names: those that run others, and those that do what their
//! caller says.

use super::base;
use super::interpreters::bare;

/// Compiled programs that run another one as their arguments say, and wait for it.
const WRAPPERS: [&[u8]; 63] = [
    b"env",
    b"sudo",
    b"sudo-rs",
    b"doas",
    b"su",
    b"runuser",
    b"setpriv",
    b"gosu",
    b"su-exec",
    b"pkexec",
    b"xargs",
    b"timeout",
    b"nohup",
    b"nice",
    b"ionice",
    b"chrt",
    b"taskset",
    b"numactl",
    b"prlimit",
    b"setsid",
    b"stdbuf",
    b"unbuffer",
    b"time",
    b"watch",
    b"find",
    b"flock",
    b"chroot",
    b"unshare",
    b"nsenter",
    b"setarch",
    b"linux64",
    b"capsh",
    b"bwrap",
    b"firejail",
    b"strace",
    b"ltrace",
    b"script",
    b"tini",
    b"tini-static",
    b"dumb-init",
    b"docker-init",
    b"catatonit",
    b"systemd-run",
    b"systemd-inhibit",
    b"systemd-cat",
    b"dbus-run-session",
    b"runcon",
    b"entr",
    b"watchexec",
    b"faketime",
    b"cgexec",
    b"chpst",
    b"envdir",
    b"setuidgid",
    b"softlimit",
    b"s6-setuidgid",
    b"s6-envdir",
    b"s6-applyuidgid",
    b"envconsul",
    b"vault-env",
    b"doppler",
    b"uv",
    b"uvx",
];

/// Compiled programs that start what others configured, or what somebody typed elsewhere.
const LAUNCHERS: [&[u8]; 95] = [
    // Schedulers.
    b"cron",
    b"CRON",
    b"crond",
    b"anacron",
    b"fcron",
    b"bcron-exec",
    b"incrond",
    b"atd",
    b"atrun",
    b"supercronic",
    b"go-crond",
    b"ofelia",
    // Logins and terminals.
    b"sshd",
    b"sshd-session",
    b"sshd-auth",
    b"dropbear",
    b"login",
    b"agetty",
    b"getty",
    b"telnetd",
    b"mosh-server",
    b"ttyd",
    b"tmux",
    b"screen",
    b"zellij",
    // Service managers.
    b"systemd",
    b"systemd-executor",
    b"init",
    b"openrc-init",
    b"supervise-daemon",
    b"start-stop-daemon",
    b"runsvdir",
    b"runsv",
    b"svscan",
    b"supervise",
    b"s6-svscan",
    b"s6-supervise",
    b"s6-linux-init",
    b"dinit",
    b"monit",
    b"finit",
    b"pebble",
    b"xinetd",
    b"inetd",
    // Containers' monitors.
    b"conmon",
    b"runc",
    b"crun",
    b"youki",
    b"buildkitd",
    b"buildkit-runc",
    b"containerd",
    b"containerd-shim",
    b"containerd-shim-runc-v1",
    b"containerd-shim-runc-v2",
    b"dockerd",
    b"kubelet",
    b"lxc-start",
    b"systemd-nspawn",
    // Jobs of clusters and of continuous integration.
    b"nomad",
    b"slurmstepd",
    b"container-executor",
    b"condor_starter",
    b"buildkite-agent",
    b"gitlab-runner",
    b"Runner.Worker",
    b"amazon-ssm-agent",
    b"ssm-document-worker",
    b"ssm-session-worker",
    b"ssm-agent-worker",
    b"circleci-agent",
    b"drone-runner-exec",
    b"woodpecker-agent",
    b"act_runner",
    b"concourse",
    b"pbs_mom",
    b"sge_shepherd",
    b"slurmd",
    // Supervisors that are compiled, and what starts programs on events.
    b"supervisord",
    b"overmind",
    b"hivemind",
    b"goreman",
    b"forego",
    b"process-compose",
    b"immortal",
    b"multirun",
    b"horust",
    b"systemd-udevd",
    b"udevd",
    b"nm-dispatcher",
    b"watchman",
    b"jobber",
    b"jobberrunner",
    b"in.rshd",
    b"tcpserver",
    // Its demonstration starts callers.
    b"imds-audit",
];

/// Names of these lists that are words which a service may be called too: such a program is the
/// one that is meant only in a folder of the system's.
const COMMON_WORDS: [&[u8]; 10] = [
    b"find",
    b"init",
    b"login",
    b"monit",
    b"pebble",
    b"screen",
    b"script",
    b"supervise",
    b"time",
    b"watch",
];
const SYSTEM_FOLDERS: [&[u8]; 7] =
    [b"/bin", b"/sbin", b"/usr/bin", b"/usr/sbin", b"/lib", b"/usr/lib", b"/usr/libexec"];

/// Compiled programs that do what their caller says: clients of HTTP, and command lines of clouds.
const TOOLS: [&[u8]; 45] = [
    b"curl",
    b"wget",
    b"wget2",
    b"aria2c",
    b"axel",
    b"xh",
    b"xhs",
    b"curlie",
    b"hurl",
    b"grpcurl",
    b"lynx",
    b"links",
    b"elinks",
    b"w3m",
    b"nc",
    b"ncat",
    b"netcat",
    b"nc.openbsd",
    b"nc.traditional",
    b"socat",
    b"telnet",
    b"openssl",
    b"ab",
    b"hey",
    b"wrk",
    b"siege",
    b"aws",
    b"s5cmd",
    b"rclone",
    b"mc",
    b"eksctl",
    b"kubectl",
    b"helm",
    b"terraform",
    b"tofu",
    b"packer",
    b"aws-vault",
    b"chamber",
    b"aws-iam-authenticator",
    b"docker-credential-ecr-login",
    b"terragrunt",
    b"pulumi",
    b"sops",
    b"doctl",
    b"restic",
];

/// Scripts that do what their caller says: command lines of clouds, Amazon Linux's and Ubuntu's
/// readers of the metadata service, clients of HTTP, runners of one command.
const SCRIPT_TOOLS: [&[u8]; 51] = [
    b"aws",
    b"aws_completer",
    b"awscurl",
    b"awslocal",
    b"cfn-signal",
    b"cfn-get-metadata",
    b"ec2-metadata",
    b"ec2metadata",
    b"s3cmd",
    b"s4cmd",
    b"gcloud",
    b"gcloud.py",
    b"gsutil",
    b"gsutil.py",
    b"bq.py",
    b"az",
    b"http",
    b"https",
    b"httpie",
    b"http-prompt",
    b"httpx",
    b"lwp-request",
    b"lwp-download",
    b"lwp-dump",
    b"GET",
    b"HEAD",
    b"POST",
    b"parallel",
    b"run-parts",
    b"npm",
    b"npm-cli.js",
    b"npx",
    b"npx-cli.js",
    b"pnpm",
    b"pnpm.cjs",
    b"yarn",
    b"yarn.js",
    b"corepack",
    b"pip",
    b"pip3",
    b"pipenv",
    b"poetry",
    b"eb",
    b"sam",
    b"cdk",
    b"serverless",
    b"sls",
    b"oci",
    b"git-remote-codecommit",
    b"list_instances",
    b"fetch_file",
];
/// Those of [`SCRIPT_TOOLS`] that a script may well be called: they count in a folder `bin` only.
const SHORT_TOOLS: [&[u8]; 13] = [
    b"GET",
    b"HEAD",
    b"POST",
    b"az",
    b"http",
    b"https",
    b"httpx",
    b"parallel",
    b"eb",
    b"sam",
    b"cdk",
    b"sls",
    b"oci",
];
/// Modules of Python that do what their caller says.
const MODULE_TOOLS: [&[u8]; 5] = [b"awscli", b"httpie", b"azure.cli", b"pip", b"awscurl"];

/// Scripts that start and watch other programs, or bring a machine into a state: what a compiled
/// program does below one is that program's own.
const SUPERVISORS: [&[u8]; 52] = [
    // Watchers of processes: supervisord.org, phusion/baseimage-docker, circus.readthedocs.io,
    // honcho and foreman, pm2.keymetrics.io, nodemon, forever.
    b"supervisord",
    b"my_init",
    b"circusd",
    b"honcho",
    b"foreman",
    b"god",
    b"bluepill",
    b"eye",
    b"pm2",
    b"PM2",
    b"pm2-runtime",
    b"pm2-docker",
    b"nodemon",
    b"nodemon.js",
    b"forever",
    // Makers of machines: docs.saltproject.io, docs.chef.io, puppet.com/docs, the helper scripts
    // of CloudFormation, cloudinit.readthedocs.io, docs.ansible.com, codedeploy-agent.
    b"salt-minion",
    b"salt-call",
    b"salt-master",
    b"salt-ssh",
    b"chef-client",
    b"chef-solo",
    b"chef-apply",
    b"chef-infra-client",
    b"cinc-client",
    b"puppet",
    b"puppetd",
    b"cfn-init",
    b"cfn-hup",
    b"cloud-init",
    b"codedeploy-agent",
    b"ansible",
    b"ansible-playbook",
    b"ansible-pull",
    b"ansible-runner",
    b"async_wrapper.py",
    // Runners of tasks: docs.celeryq.dev, airflow.apache.org.
    b"celery",
    b"celeryd",
    b"airflow",
    b"luigid",
    b"rq",
    b"dramatiq",
    b"huey_consumer",
    b"huey_consumer.py",
    b"prefect",
    b"dagster",
    b"dagster-daemon",
    b"sidekiq",
    b"resque",
    b"buildbot-worker",
    b"yacron",
    b"networkd-dispatcher",
    b"jupyterhub",
];
/// The same as modules of Python.
const SUPERVISOR_MODULES: [&[u8]; 13] = [
    b"supervisor.supervisord",
    b"circus.circusd",
    b"honcho",
    b"celery",
    b"airflow",
    b"ansible",
    b"ansible_runner",
    b"cloudinit.cmd.main",
    b"salt",
    b"dramatiq",
    b"yacron",
    b"jupyterhub",
    b"prefect",
];

/// Scripts and modules that run another script in their own process: profilers, debuggers,
/// compilers at run time.
const RUNNERS: [&[u8]; 22] = [
    b"pdb",
    b"ipdb",
    b"pudb",
    b"debugpy",
    b"cProfile",
    b"profile",
    b"trace",
    b"coverage",
    b"kernprof",
    b"scalene",
    b"viztracer",
    b"memory_profiler",
    b"runpy",
    b"ipython",
    b"ipython3",
    b"IPython",
    b"xonsh",
    b"ts-node",
    b"tsx",
    b"zx",
    b"coffee",
    b"babel-node",
];
/// The endings of the scripts that they run.
const RUN_SCRIPTS: [&[u8]; 12] = [
    b".py", b".ipy", b".xsh", b".ts", b".mts", b".cts", b".tsx", b".js", b".mjs", b".cjs", b".jsx",
    b".coffee",
];

/// What a compiled program is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It runs another one as its arguments say.
    Wrapper,
    /// It starts what others configured.
    Launcher,
    /// It does what its caller says.
    Tool,
    /// It is a program of its own.
    Other,
}

/// Recognises a compiled program by its path, or by its file's name where that is all that is
/// known; `own` is the path by which it was called.
pub(super) fn kind(path: &[u8], own: &[u8]) -> Kind {
    // `tmux: server`, `sshd: user`: what a process calls itself where its file is not known.
    let name = bare(base(path.split(|&byte| byte == b':').next().unwrap_or(path)));
    let path = if path.contains(&b'/') { path } else { own };
    if COMMON_WORDS.contains(&name) && !is_system_program(path) {
        Kind::Other
    } else if WRAPPERS.contains(&name) {
        Kind::Wrapper
    } else if LAUNCHERS.contains(&name) {
        Kind::Launcher
    } else if TOOLS.contains(&name) {
        Kind::Tool
    } else {
        Kind::Other
    }
}

/// Returns whether a script does what its caller says.
pub(super) fn is_script_tool(path: &[u8]) -> bool {
    let name = base(path);
    let folder = folder(path).map(base);
    if SHORT_TOOLS.contains(&name) {
        return matches!(folder, Some(b"bin" | b"sbin"));
    }
    // Eucalyptus has one for each call of EC2's.
    SCRIPT_TOOLS.contains(&name) || name.starts_with(b"euca-")
}

/// Returns whether a module of Python does what its caller says.
pub(super) fn is_module_tool(name: &[u8]) -> bool {
    MODULE_TOOLS.contains(&name)
}

/// Returns the script that a script or module runs, if it is one that runs another: the first word
/// behind it that ends as such scripts do.
pub(super) fn script_of_runner<'a>(name: &[u8], words: &[&'a [u8]]) -> Option<&'a [u8]> {
    if !RUNNERS.contains(&base(name)) {
        return None;
    }
    let place = words.iter().position(|word| word.ends_with(name))?;
    let mut behind = words.get(place + 1..)?.iter().copied();
    behind.find(|word| {
        !word.starts_with(b"-") && RUN_SCRIPTS.iter().any(|ending| word.ends_with(ending))
    })
}

/// Returns whether a script starts and watches others. Ansible packs each module that it runs
/// into a script of its own.
pub(super) fn is_supervisor(path: &[u8]) -> bool {
    let name = base(path);
    SUPERVISORS.contains(&name) || (name.starts_with(b"AnsiballZ_") && name.ends_with(b".py"))
}

/// Returns whether a module of Python starts and watches others.
pub(super) fn is_supervisor_module(name: &[u8]) -> bool {
    let is_below = |known: &[u8]| {
        name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'.'))
    };
    SUPERVISOR_MODULES.iter().any(|known| is_below(known))
}

/// Finds a supervisor in what an interpreter wrote over its command line, among the first words:
/// `PM2 v5.3.0: God Daemon`, `[celeryd: worker@host:MainProcess]`,
/// `/usr/bin/python3 /usr/bin/salt-minion MultiMinionProcessManager`.
pub(super) fn supervisor_in_title(title: &[u8]) -> Option<&[u8]> {
    let words = title.split(|byte| b" \0".contains(byte)).filter(|word| !word.is_empty()).take(3);
    words
        .map(|word| word.strip_prefix(b"[").unwrap_or(word))
        .map(|word| word.split(|&byte| byte == b':').next().unwrap_or(word))
        .find(|word| is_supervisor(word))
}

fn is_system_program(path: &[u8]) -> bool {
    // Without any folder, as a shell calls it, nothing speaks against it.
    folder(path).is_none_or(|folder| {
        SYSTEM_FOLDERS.contains(&folder)
            || folder.starts_with(b"/nix/store/")
            || folder.starts_with(b"/gnu/store/")
            || folder.starts_with(b"/usr/lib/cargo/bin/")
    })
}

/// Returns the folder of a path; `None` for a name without one.
fn folder(path: &[u8]) -> Option<&[u8]> {
    let end = path.iter().rposition(|&byte| byte == b'/')?;
    path.get(..end)
}
