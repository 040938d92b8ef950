use proptest::prelude::*;

use super::*;

/// Reads a chain: each word is `KIND[:NAME][#EXEC][@UNIT[/CONTAINER]]`, the caller first. `@?` is a
/// home that is not known; EXEC counts `exec` calls.
fn verdict(text: &str, is_whole: bool) -> String {
    let parts: Vec<(Workload, u64, &str)> = text
        .split(' ')
        .map(|word| {
            let (what, home) = word.split_once('@').unwrap_or((word, "-"));
            let (what, exec) = what.split_once('#').unwrap_or((what, "0"));
            let (kind, name) = what.split_once(':').unwrap_or((what, ""));
            let name = name.as_bytes().into();
            let workload = match kind {
                "script" => Workload::Script(name),
                "module" => Workload::Module(name),
                "class" => Workload::Class(name),
                "jar" => Workload::Jar(name),
                "tool" => Workload::Tool(name),
                "supervisor" => Workload::Supervisor { name, form: SupervisorForm::Script },
                "curl" => Workload::CompiledTool,
                "sh-c" => Workload::Commands,
                "wrapper" => Workload::Wrapper,
                "launcher" => Workload::Launcher,
                "other" => Workload::Other,
                _ => Workload::Unknown,
            };
            (workload, exec.parse().unwrap(), home)
        })
        .collect();
    let chain: Vec<ChainLink<'_>> = parts
        .iter()
        .map(|(workload, count, home)| {
            let (unit, container) = home.split_once('/').unwrap_or((home, ""));
            let present = |text: &'static str| Some(text.as_bytes());
            let named = |text: &str| (!text.is_empty() && text != "-").then(|| text.to_owned());
            let leak = |text: String| present(Box::leak(text.into_boxed_str())).unwrap();
            let home = (*home != "?").then(|| UnitAndContainer {
                unit: named(unit).map(leak),
                container: named(container.trim_end_matches('!')).map(leak),
                unit_in_container: container.ends_with('!'),
            });
            let exec = Exec { count: *count, arguments_start: 0 };
            ChainLink { workload, exec, home }
        })
        .collect();
    let (place, rule) = responsible(&chain, is_whole).unwrap();
    format!("{place} {rule:?}").to_lowercase()
}

#[test]
fn the_first_rule_that_applies_names_the_responsible_process() {
    for (chain, expected) in [
        // 1. The nearest script, through whatever stands in between.
        ("other script:/opt/a.sh launcher", "1 script"),
        ("other wrapper wrapper sh-c script:/opt/a.sh script:/opt/b.sh launcher", "4 script"),
        ("script:/opt/job.py launcher", "0 script"),
        ("module:pkg.job script:/opt/b.sh", "0 module"),
        ("other sh-c class:com.x.Main script:run.sh launcher", "2 class"),
        ("other sh-c other script:/opt/build.sh launcher", "3 script"),
        ("jar:/opt/app.jar launcher", "0 jar"),
        // The AWS CLI is called by a script.
        ("tool:/usr/bin/aws script:/opt/b.sh launcher", "1 script"),
        // A subshell has its script's command line.
        ("other script:a script:a script:a script:b launcher", "3 script"),
        // 2. What cron or a login started.
        ("other sh-c launcher launcher", "1 command"),
        ("other sh-c wrapper sh-c launcher", "3 command"),
        ("tool:/usr/bin/aws sh-c launcher@cron.service", "1 command"),
        (
            "other@cron.service sh-c@cron.service launcher@cron.service other@init.scope",
            "1 command",
        ),
        // What a program started is the program's.
        ("other@a sh-c@a other@a launcher@init.scope", "2 unit"),
        ("other@a sh-c@a launcher@init.scope", "1 command"),
        // The launcher is not responsible for what it started: a crontab's line that a shell has
        // turned into, a command over ssh, what a supervisor that is compiled runs.
        (
            "curl@cron.service launcher@cron.service launcher@cron.service launcher@init.scope",
            "0 command",
        ),
        ("curl@cron.service wrapper@cron.service launcher@cron.service launcher@i", "1 command"),
        ("curl@s-3.scope other@s-3.scope launcher@s-3.scope launcher@s-3.scope", "1 command"),
        ("other@s-3.scope launcher@s-3.scope launcher@i", "0 command"),
        ("curl@s/c other@s/c launcher@s/c launcher@s/c launcher@m", "1 command"),
        ("other launcher launcher", "0 command"),
        ("launcher@a launcher@a launcher@init.scope", "0 command"),
        // A supervisor in a script language is so for its tools only.
        ("other supervisor:supervisord", "0 caller"),
        ("other@s/c supervisor:my_init@s/c launcher@m", "0 caller"),
        ("other other wrapper supervisor:salt", "1 command"),
        ("curl other supervisor:salt launcher", "1 command"),
        ("curl sh-c supervisor:celery", "1 command"),
        ("curl wrapper supervisor:puppet launcher", "2 script"),
        ("tool:aws supervisor:cfn-init", "1 script"),
        ("supervisor:salt supervisor:salt other", "1 script"),
        ("other script:/opt/run.sh supervisor:supervisord", "1 script"),
        ("other unknown supervisor:supervisord", "0 caller"),
        // Two scripts of one relative name: the outer one started the inner one.
        ("curl#5 script:main.py#4 script:main.py#3 launcher", "1 script"),
        ("curl#5 script:main.py#4 script:main.py#4 script:main.py#3 launcher", "2 script"),
        ("script:main.py#4 script:main.py#3", "0 script"),
        // 3. The unit's main process.
        ("other@a other@a launcher@init.scope", "1 unit"),
        ("other@a launcher@init.scope", "0 unit"),
        // A launcher asks for itself.
        ("launcher@cron.service launcher@init.scope", "0 unit"),
        // 4. The container's first process; never a script outside of it.
        ("other@s/c other@s/c launcher@m script:/opt/start.sh@x", "1 container"),
        ("other@s/c other@s/c script:/opt/start.sh@x", "1 container"),
        ("other@s/c script:/in.sh@s/c script:/out.sh@x", "1 script"),
        ("other@s/c other@? script:/out.sh@x", "0 caller"),
        ("other@? other@s/c script:/out.sh@x", "0 caller"),
        ("other@? script:/in.sh@s/c script:/out.sh@x", "1 script"),
        ("other@s/c script:/a.sh@s/c script:/a.sh@x", "1 script"),
        // What the container's `tini` runs.
        ("curl@s/c other@s/c wrapper@s/c launcher@m", "1 container"),
        ("other@s/c wrapper@s/c launcher@m", "0 container"),
        // A unit of a systemd in the container.
        ("other@a/c! other@a/c! launcher@init.scope/c! launcher@x", "1 unit"),
        // 5. The outermost one-liner, 6. the tool, 7. the caller.
        ("other sh-c other sh-c other", "3 command"),
        ("tool:aws other", "0 script"),
        ("other other", "0 caller"),
        // Nothing behind a process that cannot be read is the nearest.
        ("other unknown script:/opt/a.sh", "0 caller"),
        ("other@a unknown@a launcher@init.scope", "1 unit"),
        ("unknown script:/opt/a.sh", "0 caller"),
        ("unknown", "0 caller"),
    ] {
        assert_eq!(verdict(chain, true), expected, "{chain}");
    }
}

#[test]
fn a_chain_without_its_end_proves_no_first_process() {
    assert_eq!(verdict("other@a other@a", true), "1 unit");
    assert_eq!(verdict("other@a other@a", false), "0 caller");
    assert_eq!(verdict("other@a other@a other@?", true), "0 caller");
    assert_eq!(verdict("other@? other@a", true), "0 caller");
}

#[test]
fn an_empty_chain_has_no_responsible_process() {
    assert_eq!(responsible(&[], true), None);
}

proptest! {
    #[test]
    fn every_chain_has_a_responsible_process(words in proptest::collection::vec("(script:a|supervisor:s|curl|sh-c|tool:b|wrapper|launcher|other|unknown|jar:x)(@a|@b|@a/c|@\\?)?", 1..20), is_whole: bool) {
        let verdict = verdict(&words.join(" "), is_whole);
        let place: usize = verdict.split(' ').next().unwrap().parse().unwrap();
        prop_assert!(place < words.len());
    }
}
