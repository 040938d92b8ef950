use proptest::prelude::*;

use super::*;

/// What runs, the words of the command line, and what they say.
type Case = (&'static str, &'static [&'static str], &'static str);

const CASES: &[Case] = &[
    // Shells: dash(1), bash(1).
    ("bash", &["bash", "/opt/refresh.sh"], "script /opt/refresh.sh"),
    ("dash", &["/bin/sh", "-e", "/opt/job.sh", "nightly"], "script /opt/job.sh"),
    ("bash", &["bash", "-euo", "pipefail", "run.sh"], "script run.sh"),
    ("bash", &["bash", "+O", "extglob", "-o", "errexit", "run.sh", "-c"], "script run.sh"),
    ("bash", &["bash", "--rcfile", "/etc/rc", "--norc", "run.sh"], "script run.sh"),
    ("bash", &["bash", "--", "-odd-name"], "script -odd-name"),
    ("bash", &["bash", "-", "x.sh"], "script x.sh"),
    ("zsh", &["-zsh"], "commands"),
    ("bash", &["bash", "-c", "curl -s http://169.254.169.254/"], "commands"),
    ("dash", &["sh", "-ec", "exec curl x", "name", "/opt/a.sh"], "commands"),
    ("bash", &["bash", "-lc", "/opt/a.sh"], "commands"),
    ("bash", &["bash", "-c", "-x", "/opt/a.sh"], "commands"),
    ("bash", &["bash", "-s", "argument"], "commands"),
    ("bash", &["bash"], "commands"),
    ("bash", &["/bin/bash", "-il"], "commands"),
    // bash(1), "Process Substitution"; a here-document for python.
    ("bash", &["bash", "/dev/fd/63", "nightly"], "commands"),
    ("python3.11", &["python3", "/dev/stdin"], "commands"),
    // busybox has many names: busybox(1).
    ("busybox", &["/bin/sh", "/opt/a.sh"], "script /opt/a.sh"),
    ("busybox", &["busybox", "sh", "/opt/a.sh"], "script /opt/a.sh"),
    ("busybox", &["busybox", "timeout", "5", "wget"], "wrapper"),
    ("busybox", &["wget", "-q", "x"], "other"),
    ("busybox", &["crond", "-f"], "launcher"),
    // Python: python3(1).
    ("python3.11", &["python3", "/opt/app/job.py", "-m", "x"], "script /opt/app/job.py"),
    ("python3.11", &["python3", "-u", "-W", "ignore", "job.py"], "script job.py"),
    ("python3.11", &["python3", "-m", "gunicorn", "app:app"], "module gunicorn"),
    ("python3.11", &["python3", "-Im", "http.server"], "module http.server"),
    ("python3.11", &["python3", "-mpkg.job"], "module pkg.job"),
    ("python3.11", &["python3", "-Xdev", "-c", "import boto3", "job.py"], "commands"),
    ("python3.11", &["/venv/bin/python", "-"], "commands"),
    ("python3.11", &["python"], "commands"),
    ("pypy3", &["pypy3", "job.py"], "script job.py"),
    // The AWS CLI of version 1 is a script of Python.
    (
        "python3.11",
        &["/usr/bin/python3", "/usr/local/bin/aws", "s3", "ls"],
        "tool /usr/local/bin/aws",
    ),
    ("bash", &["/bin/bash", "/usr/bin/ec2-metadata", "-i"], "tool /usr/bin/ec2-metadata"),
    // Other interpreters: perlrun(1), ruby(1), nodejs.org/api/cli.html, php(1).
    ("perl", &["perl", "-w", "-I", "/lib", "-MJSON", "report.pl"], "script report.pl"),
    ("perl", &["perl", "-lane", "print", "/etc/passwd"], "commands"),
    ("ruby3.1", &["ruby", "-r", "json", "-W0", "fluentd.rb"], "script fluentd.rb"),
    ("ruby", &["ruby", "-e", "puts 1"], "commands"),
    (
        "node",
        &["node", "--require", "./trace.js", "--max-old-space-size=4096", "/srv/server.js"],
        "script /srv/server.js",
    ),
    ("node", &["node", "-e", "fetch(1)"], "commands"),
    ("php8.2", &["php", "-d", "memory_limit=1G", "-f", "cron.php"], "script cron.php"),
    ("php", &["php", "-r", "echo 1;"], "commands"),
    // Programs that run another: their manual pages.
    ("env", &["env", "A=1", "python3", "job.py"], "wrapper"),
    ("sudo", &["sudo", "-u", "app", "sh", "/opt/a.sh"], "wrapper"),
    ("xargs", &["xargs", "-n1", "curl", "-s"], "wrapper"),
    ("timeout", &["timeout", "5", "curl", "x"], "wrapper"),
    ("nohup", &["nohup", "sh", "a.sh"], "wrapper"),
    ("nice", &["nice", "-n", "19", "sh", "a.sh"], "wrapper"),
    ("setsid", &["setsid", "--fork", "sh", "a.sh"], "wrapper"),
    ("tini", &["/sbin/tini", "--", "/app"], "wrapper"),
    // Programs that start what others configured.
    ("cron", &["/usr/sbin/CRON", "-f"], "launcher"),
    ("sshd", &["sshd: ubuntu@pts/0"], "launcher"),
    ("systemd", &["/sbin/init"], "launcher"),
    ("conmon", &["/usr/bin/conmon", "--api-version", "1"], "launcher"),
    ("curl", &["curl", "-s", "x"], "other"),
    // The java command: The java Command, JDK 21.
    (
        "java",
        &["java", "-Xmx4g", "-cp", "/a.jar:/b.jar", "com.example.Main", "-jar", "x"],
        "class com.example.Main",
    ),
    ("java", &["java", "-Dx=y", "-jar", "/opt/app.jar", "serve"], "jar /opt/app.jar"),
    (
        "java",
        &[
            "java",
            "--add-opens",
            "java.base/java.lang=ALL-UNNAMED",
            "-p",
            "mods",
            "-m",
            "app/com.x.Main",
        ],
        "class app/com.x.Main",
    ),
    ("java", &["java", "--module=app/com.x.Main"], "class app/com.x.Main"),
    ("java", &["java", "--source", "21", "Tool.java", "x"], "script Tool.java"),
    ("java", &["java", "@/opt/app.args"], "script @/opt/app.args"),
    ("java", &["java", "@jvm.options", "com.example.Main"], "class com.example.Main"),
    ("java", &["java", "@app.args", "serve", "--port=1"], "script @app.args"),
    ("java", &["java", "-version"], "unknown"),
    // Spark: core/src/main/scala/org/apache/spark/{deploy,executor}.
    (
        "java",
        &[
            "java",
            "-cp",
            "/spark/jars/*",
            "org.apache.spark.deploy.SparkSubmit",
            "--conf",
            "a=b",
            "--verbose",
            "--class",
            "com.example.Etl",
            "etl.jar",
        ],
        "class com.example.Etl",
    ),
    (
        "java",
        &[
            "java",
            "-cp",
            "/spark/jars/*",
            "org.apache.spark.deploy.SparkSubmit",
            "--master",
            "yarn",
            "s3://b/etl.py",
            "--class",
            "x",
        ],
        "script s3://b/etl.py",
    ),
    (
        "java",
        &["java", "-cp", "/spark/jars/*", "org.apache.spark.deploy.SparkSubmit", "pyspark-shell"],
        "tool org.apache.spark.deploy.SparkSubmit",
    ),
    (
        "java",
        &[
            "java",
            "-server",
            "org.apache.spark.executor.CoarseGrainedExecutorBackend",
            "--driver-url",
            "spark://x",
        ],
        "class org.apache.spark.executor.CoarseGrainedExecutorBackend",
    ),
    // Databricks: a fatal error log's command line, with -cp twice.
    (
        "java",
        &[
            "java",
            "-cp",
            "/a/*",
            "-cp",
            "/databricks/jars/*",
            "com.databricks.backend.daemon.driver.DriverDaemon",
        ],
        "class com.databricks.backend.daemon.driver.DriverDaemon",
    ),
    (
        "python3.10",
        &[
            "/local_disk0/pythonVirtualEnvDirs/bin/python",
            "/databricks/python_shell/scripts/db_ipykernel_launcher.py",
            "-f",
            "x.json",
        ],
        "script /databricks/python_shell/scripts/db_ipykernel_launcher.py",
    ),
    // A command line that was written over says nothing of what runs.
    ("python3.11", &["gunicorn: worker [app]"], "unknown"),
    ("perl", &["spamd child"], "unknown"),
    ("bash", &["/opt/other.sh"], "unknown"),
    ("bash", &["bash", ""], "unknown"),
];

fn told(program: &Program) -> String {
    let kind = match program {
        Program::Script(_) => "script",
        Program::Module(_) => "module",
        Program::Class(_) => "class",
        Program::Jar(_) => "jar",
        Program::Tool(_) => "tool",
        Program::Commands => "commands",
        Program::Wrapper => "wrapper",
        Program::Launcher => "launcher",
        Program::Other => "other",
        Program::Unknown => "unknown",
    };
    match program.name() {
        Some(name) => format!("{kind} {}", String::from_utf8_lossy(name)),
        None => kind.to_owned(),
    }
}

fn read(exe: Option<&str>, words: &[&str], truncated: bool) -> String {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    told(&Program::of_words(exe.map(str::as_bytes), &words, truncated))
}

#[test]
fn command_lines_are_told_apart() {
    for (exe, words, expected) in CASES {
        assert_eq!(read(Some(exe), words, false), *expected, "{exe}: {words:?}");
    }
}

#[test]
fn without_the_program_s_file_its_own_name_for_itself_is_taken() {
    for (words, expected) in [
        (&["/bin/bash", "/opt/a.sh"][..], "script /opt/a.sh"),
        (&["-bash"], "commands"),
        (&["java", "-jar", "a.jar"], "jar a.jar"),
        (&["/usr/sbin/CRON", "-f"], "launcher"),
        (&["gunicorn: worker [app]"], "other"),
        (&[], "unknown"),
    ] {
        assert_eq!(read(None, words, false), expected, "{words:?}");
    }
}

#[test]
fn a_class_behind_several_kilobytes_of_class_path_is_found_and_one_cut_off_is_not() {
    let path = "/databricks/jars/some-library-1.2.3.jar:".repeat(500);
    let words = ["java", "-cp", &path, "-Dlast=x", "com.example.Main"];
    let memory = words.join("\0") + "\0";
    assert!(memory.len() > 16 * 1024);
    let of = |memory: &str, truncated| {
        let exe = Executable::FileName((*b"java").into());
        told(&Program::read(Some(&exe), memory.as_bytes(), truncated).0)
    };
    assert_eq!(of(&memory, false), "class com.example.Main");
    for end in 5..memory.len() {
        let cut = of(&memory[..end], true);
        assert!(["unknown", "class com.example.Main"].contains(&&*cut), "{cut}");
    }
}

#[test]
fn a_script_s_name_that_is_cut_off_is_none() {
    assert_eq!(read(Some("bash"), &["bash", "/opt/ref"], true), "unknown");
    assert_eq!(
        read(Some("bash"), &["bash", "/opt/refresh.sh", "x"], true),
        "script /opt/refresh.sh"
    );
    assert_eq!(read(Some("python3"), &["python3", "-m", "pk"], true), "unknown");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(memory in proptest::collection::vec(any::<u8>(), 0..300), exe in 0usize..7, truncated: bool) {
        let exe = ["java", "bash", "python3", "perl", "node", "php", "busybox"][exe];
        let exe = Executable::FileName(exe.as_bytes().into());
        let (program, _) = Program::read(Some(&exe), &memory, truncated);
        prop_assert!(program.name().is_none_or(|name| name.len() <= MAX_NAME));
    }

    #[test]
    fn words_of_real_command_lines_never_panic(words in "(-|--|-c|-m|-e|-o|-jar|-cp|@x|a\\.sh|=|\u{0}){0,12}", truncated: bool) {
        for exe in ["java", "bash", "python3", "perl", "node", "php", "busybox"] {
            let _ = Program::read(Some(&Executable::FileName(exe.as_bytes().into())), words.as_bytes(), truncated);
        }
    }
}
