//! The identity of a caller: the same on every host and every day.

use sha2::{Digest, Sha256};

use super::caller_name;
use super::fold::fold_random;
use crate::event::{Caller, Pod, Process, Responsible, Rule};

/// The bytes of the hash that an id keeps: with a million callers two share one in 10^7 fleets.
const ID_BYTES: usize = 8;

/// The separator of an identity's parts; it occurs in no path and in no argument.
const SEPARATOR: u8 = 0;

/// Returns the caller that a process belongs to.
///
/// The identity is made of the responsible process's script, module, class, archive or command
/// line, or of its executable, and of the place it runs in: the pod's owner and container, else
/// the unit. A container's id and a pod's name differ on every host and are left out; numbers and
/// random parts of paths are folded.
pub(crate) fn of(process: &Process) -> Caller {
    Caller { id: id(process), title: caller_name::title(process), home: caller_name::home(process) }
}

fn id(process: &Process) -> String {
    let mut hash = Sha256::new();
    let mut part = |kind: &str, text: &str| {
        hash.update(kind);
        hash.update([SEPARATOR]);
        hash.update(fold_random(text));
        hash.update([SEPARATOR]);
    };
    match &process.responsible {
        Some(responsible) => software(process, responsible, &mut part),
        None => executable(process, &mut part),
    }
    match &process.pod {
        Some(pod) => {
            part("namespace", pod.namespace.as_deref().unwrap_or_default());
            part("owner", owner(pod));
            part("container", pod.container.as_deref().unwrap_or_default());
        }
        None if process.container.is_some() => part("container", ""),
        None => part("unit", process.unit.as_deref().unwrap_or_default()),
    }
    hash.finalize().iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// Adds what the responsible process runs.
fn software(process: &Process, responsible: &Responsible, part: &mut impl FnMut(&str, &str)) {
    let args = responsible.args.as_deref().unwrap_or_default();
    match (responsible.rule, &responsible.script) {
        (Rule::Script, Some(script)) => {
            part("script", script);
            served(script, args).into_iter().for_each(|app| part("application", app));
        }
        (Rule::Module, Some(module)) => {
            part("module", module);
            served(module, args).into_iter().for_each(|app| part("application", app));
        }
        (Rule::Class, Some(class)) => part("class", class),
        (Rule::Jar, Some(jar)) => part("jar", jar),
        (Rule::Command, _) => {
            part("command", responsible.name.as_deref().unwrap_or_default());
            args.iter().skip(1).for_each(|argument| part("argument", argument));
            if caller_name::is_interactive(responsible) {
                executable(process, part);
            }
        }
        (Rule::Unit, _) => part("rule", "unit"),
        _ => executable(process, part),
    }
}

/// Python servers whose arguments name the application (`gunicorn shop.web:app`).
const SERVERS: [&str; 7] =
    ["gunicorn", "uvicorn", "hypercorn", "daphne", "waitress-serve", "granian", "celery"];

/// Returns the application in a server's arguments: a module with a variable, or what
/// follows Celery's `-A`.
fn served<'a>(server: &str, args: &'a [String]) -> Option<&'a str> {
    let file = server.rsplit('/').next().unwrap_or(server);
    if !SERVERS.contains(&file) {
        return None;
    }
    let is_name = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.()".contains(&byte))
    };
    let of_celery = || {
        let place = args.iter().position(|arg| arg == "-A" || arg == "--app")?;
        args.get(place + 1)
    };
    let application = args.iter().skip(1).find(|arg| {
        arg.split_once(':').is_some_and(|(module, name)| is_name(module) && is_name(name))
    });
    application.or_else(of_celery).map(String::as_str)
}

/// Adds a process's own program.
fn executable(process: &Process, part: &mut impl FnMut(&str, &str)) {
    let name = process.exe.as_deref().or(process.name.as_deref());
    part("executable", name.unwrap_or_default());
}

/// Returns the name of what a pod belongs to: its own name without what its controller appended.
/// A ReplicaSet appends a hash of the template, then five characters; a DaemonSet or Job five
/// characters; a StatefulSet an ordinal (Kubernetes documentation, "Object Names and IDs";
/// apimachinery, `rand.SafeEncodeString`).
fn owner(pod: &Pod) -> &str {
    let Some(name) = pod.name.as_deref() else { return "" };
    let Some((rest, last)) = name.rsplit_once('-') else { return name };
    if !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) && last.len() < 4 {
        return rest;
    }
    if last.len() != 5 || !last.bytes().all(is_generated) {
        return name;
    }
    match rest.rsplit_once('-') {
        Some((owner, hash))
            if (6..=10).contains(&hash.len())
                && hash.bytes().all(is_generated)
                && hash.bytes().any(|byte| byte.is_ascii_digit()) =>
        {
            owner
        }
        _ => rest,
    }
}

/// Returns whether Kubernetes generates this character in names: no vowels, no 0, 1 or 3.
fn is_generated(byte: u8) -> bool {
    b"bcdfghjklmnpqrstvwxz2456789".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Container, tests::example};

    fn process() -> Process {
        Process::clone(&example().process)
    }

    fn scripted(script: &str, unit: &str) -> Process {
        let responsible = Responsible {
            pid: 7,
            name: Some("bash".to_owned()),
            script: Some(script.to_owned()),
            args: Some(vec!["bash".to_owned(), script.to_owned(), "x".to_owned()]),
            rule: Rule::Script,
        };
        Process { responsible: Some(responsible), unit: Some(unit.to_owned()), ..process() }
    }

    #[test]
    fn a_caller_is_the_same_whatever_pid_host_and_container_it_has() {
        let one = scripted("/opt/refresh.sh", "cron.service");
        let mut two = one.clone();
        two.pid = Some(99);
        two.ancestors.clear();
        assert_eq!(of(&one).id, of(&two).id);
        assert_eq!(of(&one).id.len(), 16);
        let in_container = |id: &str| {
            let mut process = one.clone();
            process.container =
                Some(Container { id: id.to_owned(), runtime: None, ..Container::default() });
            of(&process).id
        };
        assert_eq!(in_container("0123"), in_container("4567"));
        assert_ne!(in_container("0123"), of(&one).id);
    }

    #[test]
    fn another_script_or_unit_is_another_caller() {
        let one = of(&scripted("/opt/refresh.sh", "cron.service")).id;
        assert_ne!(one, of(&scripted("/opt/report.sh", "cron.service")).id);
        assert_ne!(one, of(&scripted("/opt/refresh.sh", "refresh.service")).id);
    }

    #[test]
    fn two_applications_of_one_server_are_two_callers() {
        let serving = |rule, script: &str, args: &[&str]| {
            let responsible = Responsible {
                pid: 7,
                name: Some("python3".to_owned()),
                script: Some(script.to_owned()),
                args: Some(args.iter().map(|arg| (*arg).to_owned()).collect()),
                rule,
            };
            of(&Process { responsible: Some(responsible), ..process() }).id
        };
        let module = |args| serving(Rule::Module, "gunicorn", args);
        let shop = module(&["python3", "-m", "gunicorn", "-b", "0.0.0.0:80", "shop.web:app"]);
        assert_ne!(shop, module(&["python3", "-m", "gunicorn", "pay.web:app"]));
        assert_eq!(shop, module(&["python3", "-m", "gunicorn", "shop.web:app", "-w", "4"]));
        let celery = |app| serving(Rule::Script, "/usr/bin/celery", &["python3", "x", "-A", app]);
        assert_ne!(celery("a"), celery("b"));
        let own = |arg| serving(Rule::Script, "/opt/run.py", &["python3", "/opt/run.py", arg]);
        assert_eq!(own("a:b"), own("c:d"));
    }

    #[test]
    fn a_job_under_a_random_path_is_one_caller() {
        let of_job = |script: &str| of(&scripted(script, "jenkins.service")).id;
        assert_eq!(
            of_job("/var/lib/jenkins/workspace/nightly@tmp/durable-1a2b3c4d/script.sh.copy"),
            of_job("/var/lib/jenkins/workspace/nightly@tmp/durable-9f8e7d6c/script.sh.copy")
        );
        assert_ne!(
            of_job("/var/lib/jenkins/workspace/nightly@tmp/durable-1a2b3c4d/script.sh.copy"),
            of_job("/var/lib/jenkins/workspace/release@tmp/durable-1a2b3c4d/script.sh.copy")
        );
    }

    #[test]
    fn one_liners_that_differ_behind_their_first_line_are_two_callers() {
        let line = |end: &str| {
            let responsible = Responsible {
                pid: 7,
                name: Some("sh".to_owned()),
                script: None,
                args: Some(vec!["sh".into(), "-c".into(), format!("{}{end}", "x".repeat(500))]),
                rule: Rule::Command,
            };
            of(&Process { responsible: Some(responsible), ..process() }).id
        };
        assert_ne!(line("curl a"), line("curl b"));
        assert_eq!(line("curl a"), line("curl a"));
    }

    #[test]
    fn pods_of_one_owner_are_one_caller() {
        let pod = |name: &str| Pod {
            uid: name.to_owned(),
            namespace: Some("shop".to_owned()),
            name: Some(name.to_owned()),
            container: Some("app".to_owned()),
        };
        for (name, expected) in [
            ("web-7d4b9c6f58-x2x7z", "web"),
            ("aws-node-4kq8z", "aws-node"),
            ("kafka-0", "kafka"),
            ("kafka-12", "kafka"),
            ("web", "web"),
            ("etl-worker", "etl-worker"),
            ("payment-tests", "payment-tests"),
        ] {
            assert_eq!(owner(&pod(name)), expected, "{name}");
        }
    }
}
