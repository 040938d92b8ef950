//! Names callers for people.

use crate::event::{
    Container, ContainerKind, Manager, Pod, Process, Responsible, Rule, Spark, SparkPython,
    SparkRole,
};
use crate::text::terminal::{self, word};

/// The first characters of a container's id, as its tools show it.
const SHORT_ID: usize = 12;

/// Names a process by its name and number.
pub(crate) fn process(process: &Process) -> String {
    match (&process.name, process.pid) {
        (Some(name), Some(pid)) => format!("{}[{pid}]", word(name)),
        (Some(name), None) => word(name),
        (None, Some(pid)) => format!("?[{pid}]"),
        (None, None) => "?".to_owned(),
    }
}

/// Names who called a process: the one that answers for it, else its parent.
pub(crate) fn above(process: &Process) -> Option<String> {
    let is_other = |found: &&Responsible| Some(found.pid) != process.pid;
    let (name, pid) = match process.responsible.as_ref().filter(is_other) {
        Some(found) => (found.script.as_ref().or(found.name.as_ref()), found.pid),
        None => process.ancestors.first().map(|parent| (parent.name.as_ref(), parent.pid))?,
    };
    Some(format!("{}[{pid}]", name.map_or_else(|| "?".to_owned(), |name| word(name))))
}

/// Names where a process runs: its part in a Spark application, its cluster of Databricks, its
/// pod, container or unit.
pub(crate) fn home(process: &Process) -> Option<String> {
    let cluster = process.databricks.as_ref().map(|found| {
        let name = found.cluster_name.as_ref().unwrap_or(&found.cluster_id);
        format!("Databricks cluster {}", word(name))
    });
    let parts = [process.spark.as_ref().map(spark), cluster, place(process)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Returns whether a process is a shell or an interpreter that somebody types into, or that reads
/// its commands from its input: it has a name for no command.
pub(crate) fn is_interactive(responsible: &Responsible) -> bool {
    let args = responsible.args.as_deref().unwrap_or_default();
    responsible.rule == Rule::Command
        && responsible.script.is_none()
        && args.iter().skip(1).all(|argument| argument.starts_with('-') && !is_inline(argument))
}

/// Returns whether an option is followed by a command: `-c`, `-lc`, `-e`, `-r`.
fn is_inline(option: &str) -> bool {
    let Some(letters) = option.strip_prefix('-').filter(|letters| !letters.starts_with('-')) else {
        return matches!(option, "--eval" | "--command" | "--print" | "--run");
    };
    letters.ends_with(['c', 'e', 'r', 'p'])
}

fn spark(spark: &Spark) -> String {
    let python = match spark.python {
        Some(SparkPython::Notebook) => "notebook",
        Some(SparkPython::Worker) => "Python worker",
        None => "",
    };
    let role = match spark.role {
        Some(SparkRole::Driver) => "Spark driver",
        Some(SparkRole::Executor) => "Spark executor",
        None => "Spark",
    };
    if python.is_empty() { role.to_owned() } else { format!("{python} of a {role}") }
}

/// Names the pod, else the container, else the unit.
fn place(process: &Process) -> Option<String> {
    if let Some(Pod { namespace: Some(namespace), name: Some(name), container, .. }) = &process.pod
    {
        let container = container.as_ref().map(|name| format!(" container {}", word(name)));
        let container = container.unwrap_or_default();
        return Some(format!("pod {}/{}{container}", word(namespace), word(name)));
    }
    match (&process.container, &process.unit) {
        (Some(container), _) => Some(self::container(container)),
        // Whoever has a manager of his own names its units as he likes.
        (None, Some(unit)) if process.manager == Some(Manager::User) => {
            Some(format!("user unit {}", word(unit)))
        }
        (None, unit) => unit.as_deref().map(word),
    }
}

/// Names a container by what it is, and by who named it if that was not the host.
fn container(container: &Container) -> String {
    let short = |id: &str| word(&id.chars().take(SHORT_ID).collect::<String>());
    let name = container.name.as_deref().map(|name| format!(" {}", word(name))).unwrap_or_default();
    let own = match container.kind {
        None => format!("container {}", short(&container.id)),
        Some(ContainerKind::Build) => format!("build {}", short(&container.id)),
        Some(ContainerKind::Allocation) => format!("allocation {}{name}", short(&container.id)),
        Some(ContainerKind::Application) => match &container.name {
            Some(application) => word(application),
            None => word(&container.id),
        },
        Some(ContainerKind::Job) => format!("job {}", short(&container.id)),
    };
    match &container.within {
        Some(unit) if unit.ends_with(".service") || unit.ends_with(".scope") => {
            format!("{own} in {}", word(unit))
        }
        Some(outer) => format!("{own} in container {}", short(outer)),
        None => own,
    }
}

/// Names the process that is responsible for requests, whichever tools it calls, by what it runs
/// and with which arguments; options of the interpreter or the virtual machine are left out.
pub(crate) fn title(process: &Process) -> String {
    let Some(Responsible { name, args, script, rule, .. }) = &process.responsible else {
        return command(process.name.as_deref(), process.args.as_deref().unwrap_or_default());
    };
    let args = args.as_deref().unwrap_or_default();
    let front = match rule {
        Rule::Script => "",
        Rule::Class => "java ",
        Rule::Jar => "java -jar ",
        Rule::Module | Rule::Command | Rule::Unit | Rule::Container | Rule::Caller => {
            return command(name.as_deref(), args);
        }
    };
    let Some(script) = script else { return command(name.as_deref(), args) };
    let place = args.iter().position(|argument| is_path_of(argument, script));
    let rest = place.and_then(|place| args.get(place + 1..)).unwrap_or_default();
    let blank = if rest.is_empty() { "" } else { " " };
    format!("{front}{}{blank}{}", word(script), terminal::command(rest))
}

/// Returns whether an argument is a script's path, or a relative form of it.
fn is_path_of(argument: &str, script: &str) -> bool {
    let tail = argument.trim_start_matches("../").trim_start_matches("./");
    argument == script
        || (!tail.is_empty()
            && !argument.starts_with('/')
            && script.strip_suffix(tail).is_some_and(|folder| folder.ends_with('/')))
}

/// Returns a command line, with the process's name before it where it calls itself otherwise.
fn command(name: Option<&str>, args: &[String]) -> String {
    let name = name.unwrap_or("?");
    let own = args.first().map(|own| own.strip_prefix('-').unwrap_or(own));
    match own.and_then(|own| own.rsplit('/').next()) {
        None => word(name),
        Some(own) if own == name => terminal::command(args),
        Some(_) => format!("{}  {}", word(name), terminal::command(args)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Databricks, tests};

    fn example() -> Process {
        Process::clone(&tests::example().process)
    }

    fn titled(rule: Rule, script: Option<&str>, args: &[&str]) -> String {
        let responsible = Responsible {
            pid: 7,
            name: Some("python3".to_owned()),
            script: script.map(str::to_owned),
            args: Some(args.iter().map(|&argument| argument.to_owned()).collect()),
            rule,
        };
        title(&Process { responsible: Some(responsible), ..example() })
    }

    #[test]
    fn a_caller_is_named_by_what_it_runs_and_not_by_how() {
        for (rule, script, args, expected) in [
            (
                Rule::Script,
                Some("/opt/refresh.sh"),
                &["/bin/sh", "-e", "/opt/refresh.sh", "nightly"][..],
                "/opt/refresh.sh nightly",
            ),
            (Rule::Script, Some("/opt/a b.py"), &["python3", "/opt/a b.py"], "'/opt/a b.py'"),
            (Rule::Script, Some("/opt/a/run.sh"), &["sh", "./run.sh", "x"], "/opt/a/run.sh x"),
            (Rule::Script, Some("/opt/b/main.py"), &["python3", "../b/main.py"], "/opt/b/main.py"),
            (Rule::Script, Some("/opt/b/main.py"), &["python3", "n.py", "x"], "/opt/b/main.py"),
            (
                Rule::Class,
                Some("com.x.Main"),
                &["java", "-Xmx4g", "-cp", "/a.jar", "com.x.Main", "serve"],
                "java com.x.Main serve",
            ),
            // A class path of several KB, cut off before the class.
            (Rule::Class, Some("com.x.Main"), &["java", "-cp", "/a.jar:…"], "java com.x.Main"),
            (Rule::Jar, Some("/a.jar"), &["java", "-jar", "/a.jar"], "java -jar /a.jar"),
            (
                Rule::Module,
                Some("gunicorn"),
                &["/venv/bin/python3", "-m", "gunicorn", "app:app"],
                "/venv/bin/python3 -m gunicorn app:app",
            ),
            (Rule::Command, None, &["python3", "-c", "import x"], "python3 -c 'import x'"),
            (Rule::Unit, None, &["gunicorn: master"], "python3  'gunicorn: master'"),
            (Rule::Caller, None, &[], "python3"),
        ] {
            assert_eq!(titled(rule, script, args), expected);
        }
        assert_eq!(title(&example()), "curl -s http://169.254.169.254/x");
        let nobody = Process { name: None, args: None, responsible: None, ..example() };
        assert_eq!(title(&nobody), "?");
    }

    #[test]
    fn who_answers_stands_behind_the_arrow_and_else_the_parent() {
        let mut process = example();
        assert_eq!(above(&process).unwrap(), "bash[4200]");
        let own = process.pid.unwrap();
        for (pid, script, expected) in [
            (own, None, "bash[4200]"),
            (7, Some("/opt/refresh.sh"), "/opt/refresh.sh[7]"),
            (7, None, "cron[7]"),
        ] {
            process.responsible = Some(Responsible {
                pid,
                name: Some("cron".to_owned()),
                script: script.map(str::to_owned),
                args: None,
                rule: Rule::Script,
            });
            assert_eq!(above(&process).unwrap(), expected);
        }
    }

    #[test]
    fn a_place_is_named_from_the_application_to_the_unit() {
        let mut process = example();
        assert_eq!(home(&process).unwrap(), "refresh.service");
        process.container = Some(Container {
            id: "0123456789abcdef".into(),
            runtime: Some("docker".into()),
            ..Container::default()
        });
        assert_eq!(home(&process).unwrap(), "container 0123456789ab");
        let mut pod = Pod { uid: "1".into(), namespace: None, name: None, container: None };
        process.pod = Some(pod.clone());
        assert_eq!(home(&process).unwrap(), "container 0123456789ab");
        (pod.namespace, pod.name) = (Some("shop".into()), Some("web-0".into()));
        process.pod = Some(Pod { container: Some("app".into()), ..pod });
        assert_eq!(home(&process).unwrap(), "pod shop/web-0 container app");
        (process.pod, process.container) = (None, None);
        process.spark = Some(Spark {
            role: Some(SparkRole::Driver),
            jvm: Some(7),
            python: Some(SparkPython::Notebook),
        });
        process.databricks = Some(Databricks {
            cluster_id: "1234-567890-reef123".into(),
            cluster_name: Some("etl\nnightly".into()),
        });
        assert_eq!(
            home(&process).unwrap(),
            r"notebook of a Spark driver, Databricks cluster 'etl\nnightly', refresh.service"
        );
        process.databricks.as_mut().unwrap().cluster_name = None;
        process.spark = Some(Spark { role: Some(SparkRole::Executor), jvm: Some(7), python: None });
        assert_eq!(
            home(&process).unwrap(),
            "Spark executor, Databricks cluster 1234-567890-reef123, refresh.service"
        );
    }
}
