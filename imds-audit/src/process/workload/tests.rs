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
    ("busybox", &["wget", "-q", "x"], "compiled-tool"),
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
    ("curl", &["curl", "-s", "x"], "compiled-tool"),
    ("telegraf", &["telegraf", "--config", "x"], "other"),
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

fn shown(workload: &Workload) -> String {
    let kind = match workload {
        Workload::Script(_) => "script",
        Workload::Module(_) => "module",
        Workload::Class(_) => "class",
        Workload::Jar(_) => "jar",
        Workload::Supervisor { .. } => "supervisor",
        Workload::Tool(_) => "tool",
        Workload::CompiledTool => "compiled-tool",
        Workload::Commands => "commands",
        Workload::Wrapper => "wrapper",
        Workload::Launcher => "launcher",
        Workload::Other => "other",
        Workload::Unknown => "unknown",
    };
    match workload.name() {
        Some(name) => format!("{kind} {}", String::from_utf8_lossy(name)),
        None => kind.to_owned(),
    }
}

fn read(exe: Option<&str>, words: &[&str], truncated: bool) -> String {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    shown(&Workload::of_words(exe.map(str::as_bytes), &words, truncated))
}

#[test]
fn command_lines_are_told_apart() {
    for (exe, words, expected) in CASES {
        assert_eq!(read(Some(exe), words, false), *expected, "{exe}: {words:?}");
    }
}

/// A file, a command line with blanks between its words, and what it runs.
const LINES: &[(&str, &str, &str)] = &[
    // Interpreters by the names of their files: Enterprise Linux 8, python.org's builds, Debian's
    // packages with debug symbols, openSUSE, Alpine, nixpkgs, Yocto.
    (
        "/usr/libexec/platform-python3.6",
        "/usr/libexec/platform-python -s /usr/bin/x",
        "script /usr/bin/x",
    ),
    ("/usr/bin/python3.13t", "python3.13t job.py", "script job.py"),
    ("/usr/bin/python3.11d", "python3.11d -u job.py", "script job.py"),
    ("/usr/bin/python3.6m", "python3 job.py", "script job.py"),
    ("/usr/bin/python3.11-dbg", "python3.11-dbg job.py", "script job.py"),
    ("/opt/pypy/bin/pypy3.10-c", "pypy3.10-c --jit off job.py", "script job.py"),
    ("/nix/store/x/bin/.python3.11-wrapped", "python3 job.py", "script job.py"),
    ("/usr/bin/perl5.36-x86_64-linux-gnu", "perl report.pl", "script report.pl"),
    ("/usr/bin/perl5.36.0", "/usr/bin/perl report.pl", "script report.pl"),
    ("/usr/bin/ruby.ruby3.1", "ruby x.rb", "script x.rb"),
    ("/usr/bin/php82", "php cron.php", "script cron.php"),
    ("/bin/busybox.nosuid", "sh /opt/a.sh", "script /opt/a.sh"),
    ("/bin/busybox-x86_64", "busybox-x86_64 ash /opt/a.sh", "script /opt/a.sh"),
    ("/bin/bash-static", "bash-static a.sh", "script a.sh"),
    ("/usr/bin/lua5.4", "lua x.lua", "script x.lua"),
    ("/usr/bin/ruby-mri", "/usr/bin/ruby-mri x.rb", "script x.rb"),
    ("/usr/bin/python3.12-intel64", "python3.12-intel64 job.py", "script job.py"),
    ("/opt/R/4.3.1/lib/R/bin/exec/R", "R --no-echo --file=x.R", "script x.R"),
    ("/usr/bin/r", "r -l jsonlite x.r", "script x.r"),
    ("/usr/local/lsws/lsphp81/bin/lsphp", "lsphp -q /srv/cron.php", "script /srv/cron.php"),
    ("/usr/bin/node-20", "node-20 app.js", "script app.js"),
    ("/usr/bin/perl5.30.0", "/usr/bin/perl -w -T x.pl", "script x.pl"),
    ("/usr/bin/rakudo", "raku -I lib x.raku", "script x.raku"),
    ("/usr/bin/gjs-console", "gjs -I /usr/share x.js", "script x.js"),
    ("/usr/lib/dart/bin/dart", "dart run bin/x.dart", "script bin/x.dart"),
    // What runs another script in its own process.
    ("/usr/bin/python3.11", "python3 -m cProfile -o out job.py", "script job.py"),
    ("/usr/bin/python3.11", "python3 -m debugpy --listen 5678 job.py x", "script job.py"),
    ("/usr/bin/python3.11", "python3 /usr/bin/coverage run -p job.py", "script job.py"),
    ("/usr/bin/python3.11", "/usr/bin/python3 /usr/bin/xonsh x.xsh", "script x.xsh"),
    ("/usr/bin/node", "node /usr/bin/ts-node --files app.ts", "script app.ts"),
    ("/usr/bin/python3.11", "python3 -m pdb", "module pdb"),
    ("/usr/bin/python3.11", "python3 job.py --profile other.py", "script job.py"),
    // Names that only begin so.
    ("/usr/bin/node_exporter", "node_exporter --web.config x.yml", "other"),
    ("/usr/sbin/php-fpm8.2", "php-fpm8.2 -F", "other"),
    ("/usr/bin/python3-config", "python3-config --libs", "other"),
    ("/usr/bin/shutdown", "shutdown now", "other"),
    ("/usr/bin/ruby-build", "ruby-build 3.3", "other"),
    ("/usr/bin/Rancher", "Rancher x", "other"),
    // fish(1), zsh(1), nu.
    ("/usr/bin/fish", "fish -C init x.fish", "script x.fish"),
    ("/usr/bin/fish", "fish --init-command=init -N x.fish", "script x.fish"),
    ("/usr/bin/fish", "fish -c x y", "commands"),
    ("/usr/bin/zsh", "zsh --emulate sh -f x.zsh", "script x.zsh"),
    ("/usr/bin/tcsh", "csh -f x.csh", "script x.csh"),
    ("/usr/bin/nu", "nu --config c.nu x.nu", "script x.nu"),
    // node(1).
    ("/usr/bin/node", "node --dns-result-order ipv4first app.js", "script app.js"),
    ("/usr/bin/node", "node --max-http-header-size 32768 app.js", "script app.js"),
    ("/usr/bin/node", "node --watch --watch-path ./src app.js", "script app.js"),
    (
        "/usr/bin/node",
        "node --disable-warning DEP0040 --env-file-if-exists .env app.js",
        "script app.js",
    ),
    ("/usr/bin/node", "node --stack-trace-limit 50 --test-reporter spec app.js", "script app.js"),
    ("/usr/bin/node", "node --inspect-port 9230 --inspect app.js inspect", "script app.js"),
    ("/usr/bin/node", "node --inspect=0.0.0.0:9229 app.js", "script app.js"),
    ("/usr/bin/node", "node inspect app.js", "script app.js"),
    ("/usr/bin/node", "node inspect --port=1 app.js", "script app.js"),
    ("/usr/bin/node", "node --run start", "commands"),
    ("/usr/bin/node", "node -pe 1", "commands"),
    ("/usr/bin/nodejs", "nodejs -r dotenv/config app.js", "script app.js"),
    // deno run --help, bun --help.
    ("/usr/bin/deno", "deno run -A --config deno.json --allow-net=a main.ts x", "script main.ts"),
    ("/usr/bin/deno", "deno run -A https://x.example/a.ts", "script https://x.example/a.ts"),
    ("/usr/bin/deno", "deno -q run main.ts", "script main.ts"),
    ("/usr/bin/deno", "deno ./main.ts", "script ./main.ts"),
    ("/usr/bin/deno", "deno eval 1", "commands"),
    ("/usr/bin/deno", "deno task start", "commands"),
    ("/usr/bin/bun", "bun run index.ts", "script index.ts"),
    ("/usr/bin/bun", "bun --preload ./t.ts --watch run ./index.ts", "script ./index.ts"),
    ("/usr/bin/bun", "bun index.ts", "script index.ts"),
    ("/usr/bin/bun", "bun run start", "commands"),
    ("/usr/bin/bun", "bun -e 1", "commands"),
    // ruby(1).
    ("/usr/bin/ruby3.1", "ruby --enable frozen-string-literal x.rb", "script x.rb"),
    ("/usr/bin/ruby3.1", "ruby --disable=gems -Eutf-8 -C /opt x.rb", "script x.rb"),
    // php(1).
    ("/usr/bin/php8.2", "php -S 0.0.0.0:80 -t public router.php", "script router.php"),
    ("/usr/bin/php8.2", "php -d x=1 artisan schedule:run", "script artisan"),
    ("/usr/bin/php8.2", "php --file=x.php", "script x.php"),
    // lua(1): code before the script does not stand for it.
    ("/usr/bin/lua5.4", "lua -e x=1 -l lib x.lua", "script x.lua"),
    ("/usr/bin/lua5.4", "lua -e x=1", "commands"),
    // R(1), and what Rscript makes of itself.
    (
        "/usr/lib/R/bin/exec/R",
        "/usr/lib/R/bin/exec/R --no-echo --no-restore --file=x.R --args a",
        "script x.R",
    ),
    ("/usr/lib/R/bin/exec/R", "/usr/lib/R/bin/exec/R -f x.R", "script x.R"),
    ("/usr/lib/R/bin/exec/R", "/usr/lib/R/bin/exec/R --no-echo -e 1", "commands"),
    ("/usr/lib/R/bin/exec/R", "/usr/lib/R/bin/exec/R --no-save", "commands"),
    ("/usr/bin/Rscript", "Rscript --vanilla x.R a", "script x.R"),
    // about_Pwsh.
    ("/opt/microsoft/powershell/7/pwsh", "pwsh -NoProfile -File x.ps1 -Verbose", "script x.ps1"),
    (
        "/opt/microsoft/powershell/7/pwsh",
        "pwsh -nop -ExecutionPolicy Bypass ./x.ps1",
        "script ./x.ps1",
    ),
    ("/opt/microsoft/powershell/7/pwsh", "pwsh -wd /opt -f x.ps1", "script x.ps1"),
    ("/opt/microsoft/powershell/7/pwsh", "pwsh -Command x.ps1", "commands"),
    ("/opt/microsoft/powershell/7/pwsh", "pwsh -e SQBFAA==", "commands"),
    ("/opt/microsoft/powershell/7/pwsh", "pwsh", "commands"),
    // tclsh(1), expect(1), gawk(1), julia(1), guile(1), octave(1).
    ("/usr/bin/tclsh8.6", "tclsh -encoding utf-8 x.tcl", "script x.tcl"),
    ("/usr/bin/expect", "expect -f x.exp a", "script x.exp"),
    ("/usr/bin/expect", "expect -d -c x=1 -- x.exp", "script x.exp"),
    ("/usr/bin/expect", "expect -c spawn", "commands"),
    ("/usr/bin/gawk", "awk -F : -v x=1 -f x.awk /etc/passwd", "script x.awk"),
    ("/usr/bin/mawk", "awk {print} /etc/passwd", "commands"),
    ("/bin/busybox", "awk -f x.awk", "script x.awk"),
    ("/usr/bin/julia", "julia --project=. -t 4 -O3 --threads 2 x.jl a", "script x.jl"),
    ("/usr/bin/julia", "julia -e 1 x.jl", "commands"),
    ("/usr/bin/guile-3.0", "guile --no-auto-compile -e main -s x.scm", "script x.scm"),
    ("/usr/bin/octave-cli-8.4.0", "octave-cli --path /x x.m", "script x.m"),
    // .NET and mono.
    ("/usr/share/dotnet/dotnet", "dotnet /app/Service.dll serve", "script /app/Service.dll"),
    ("/usr/share/dotnet/dotnet", "dotnet exec --runtimeconfig c.json App.dll", "script App.dll"),
    ("/usr/share/dotnet/dotnet", "dotnet /opt/pwsh.dll -File x.ps1", "script x.ps1"),
    ("/usr/share/dotnet/dotnet", "dotnet build", "other"),
    ("/usr/bin/mono-sgen", "mono --config c App.exe", "script App.exe"),
    // Erlang's virtual machine, as escript, elixir and a release start it.
    (
        "/usr/lib/erlang/erts-13.1.5/bin/beam.smp",
        "beam.smp -- -root /usr/lib/erlang -progname erl -- -home /root -- -noshell -run escript start -extra ./x.escript a",
        "script ./x.escript",
    ),
    (
        "/usr/lib/erlang/erts-13.1.5/bin/beam.smp",
        "beam.smp -- -root /usr/lib/erlang -- -noshell -s elixir start_cli -extra --no-halt -r lib.ex x.exs",
        "script x.exs",
    ),
    (
        "/usr/lib/erlang/erts-13.1.5/bin/beam.smp",
        "beam.smp -- -root /usr/lib/erlang -- -noshell -s elixir start_cli -extra -e 1",
        "commands",
    ),
    (
        "/opt/app/erts-13.1.5/bin/beam.smp",
        "beam.smp -- -root /opt/app -- -boot /opt/app/start",
        "other",
    ),
    (
        "/usr/lib/erlang/erts-13.1.5/bin/beam.smp",
        "beam.smp -- -root / -- -eval init:stop().",
        "commands",
    ),
    // java takes options behind -jar (java -help: "java [options] -jar <jarfile>").
    ("/usr/bin/java", "java -jar -Dspring.profiles.active=prod app.jar", "jar app.jar"),
    ("/usr/bin/java", "java -jar -cp x -Xmx1g /app.jar -x", "jar /app.jar"),
    ("/usr/bin/java", "java -jar", "unknown"),
    (
        "/usr/bin/jsvc",
        "jsvc.exec -java-home /jvm -outfile x -cp a.jar com.x.Daemon start",
        "class com.x.Daemon",
    ),
    (
        "/usr/bin/java",
        "java -cp g.jar org.codehaus.groovy.tools.GroovyStarter --main groovy.ui.GroovyMain --conf c --classpath . x.groovy a",
        "script x.groovy",
    ),
    (
        "/usr/bin/java",
        "java -cp s.jar scala.tools.nsc.MainGenericRunner -cp . x.scala",
        "script x.scala",
    ),
    (
        "/usr/bin/java",
        "java -cp s.jar scala.tools.nsc.MainGenericRunner com.x.Main",
        "class com.x.Main",
    ),
    (
        "/usr/bin/java",
        "java -cp k.jar org.jetbrains.kotlin.cli.jvm.K2JVMCompiler -script x.kts",
        "script x.kts",
    ),
    ("/usr/bin/java", "java -cp c.jar clojure.main -m app.core", "module app.core"),
    ("/usr/bin/java", "java -cp j.jar org.jruby.Main -I lib x.rb", "script x.rb"),
    // Interpreted tools, which do what their caller says.
    ("/usr/bin/python3.11", "/usr/bin/python3 /usr/bin/http GET x", "tool /usr/bin/http"),
    ("/usr/bin/python3.11", "python3 /root/.local/bin/https x", "tool /root/.local/bin/https"),
    ("/usr/bin/python3.11", "python3 -m httpie GET x", "tool httpie"),
    (
        "/usr/bin/python3.11",
        "python3 /usr/lib/google-cloud-sdk/lib/gcloud.py x",
        "tool /usr/lib/google-cloud-sdk/lib/gcloud.py",
    ),
    ("/usr/bin/python3.11", "python3 -Im azure.cli login", "tool azure.cli"),
    ("/usr/bin/perl", "/usr/bin/perl /usr/bin/GET x", "tool /usr/bin/GET"),
    ("/usr/bin/python3.11", "python3 /opt/shop/http a", "script /opt/shop/http"),
    ("/usr/bin/python3.11", "python3 http.py", "script http.py"),
    // Supervisors written in script languages, and what they write over their command lines.
    (
        "/usr/bin/python3.11",
        "/usr/bin/python3 /usr/bin/supervisord -n",
        "supervisor /usr/bin/supervisord",
    ),
    ("/usr/bin/python3.11", "python3 -u /sbin/my_init", "supervisor /sbin/my_init"),
    (
        "/usr/bin/python3.11",
        "python3 -m supervisor.supervisord -n",
        "supervisor supervisor.supervisord",
    ),
    ("/usr/bin/python3.11", "python3 -m celery -A x worker", "supervisor celery"),
    (
        "/usr/bin/python3.11",
        "python3 /tmp/.ansible/tmp/ansible-tmp-1.2-3/AnsiballZ_command.py",
        "supervisor /tmp/.ansible/tmp/ansible-tmp-1.2-3/AnsiballZ_command.py",
    ),
    (
        "/opt/puppetlabs/puppet/bin/ruby",
        "/opt/puppetlabs/puppet/bin/ruby /opt/puppetlabs/puppet/bin/puppet agent",
        "supervisor /opt/puppetlabs/puppet/bin/puppet",
    ),
    (
        "/usr/bin/python3.11",
        "python3 /opt/app/supervisord_client.py",
        "script /opt/app/supervisord_client.py",
    ),
    // Compiled tools, wrappers and launchers by their names.
    ("/usr/bin/curl", "curl -s x", "compiled-tool"),
    ("/usr/local/aws-cli/v2/2.15/dist/aws", "aws s3 ls", "compiled-tool"),
    (
        "/usr/bin/coreutils",
        "coreutils --coreutils-prog-shebang=timeout /usr/bin/timeout 5 x",
        "wrapper",
    ),
    ("/usr/bin/s6-supervise", "s6-supervise app", "launcher"),
    ("/usr/bin/tmux", "tmux: server", "launcher"),
    ("/usr/bin/amazon-ssm-agent/ssm-agent-worker", "ssm-agent-worker", "launcher"),
    ("/usr/local/bin/supervisord", "supervisord -c x.conf", "launcher"),
    ("/usr/lib/systemd/systemd-udevd", "(udev-worker)", "launcher"),
    ("/usr/bin/entr", "entr -r x", "wrapper"),
    ("/usr/local/bin/doppler", "doppler run -- agent", "wrapper"),
    ("/usr/bin/docker-credential-ecr-login", "docker-credential-ecr-login get", "compiled-tool"),
    ("/usr/bin/python3.11", "python3 /usr/local/bin/sam deploy", "tool /usr/local/bin/sam"),
    ("/usr/bin/python3.11", "python3 /opt/app/sam", "script /opt/app/sam"),
    ("/usr/bin/python3.11", "python3 /usr/bin/yacron -c x", "supervisor /usr/bin/yacron"),
    // A service that has a common word for its name, and one that calls itself so.
    ("/opt/shop/login", "/opt/shop/login --port 80", "other"),
    ("/app/init", "/app/init", "other"),
    ("/usr/local/bin/find", "find", "other"),
    ("/opt/shop/server", "login", "other"),
    ("/opt/shop/server", "Login", "other"),
    ("/usr/bin/login", "login -- root", "launcher"),
    ("/usr/bin/find", "find / -exec x", "wrapper"),
    ("/usr/bin/time", "time x", "wrapper"),
];

#[test]
fn interpreters_are_read_by_their_own_manuals() {
    for (exe, line, expected) in LINES {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(read(Some(exe), &words, false), *expected, "{exe}: {line}");
    }
}

#[test]
fn a_supervisor_is_known_by_the_title_that_it_writes() {
    for (exe, title, expected) in [
        ("node", "PM2 v5.3.0: God Daemon (/root/.pm2)", "supervisor PM2"),
        (
            "python3.11",
            "[celeryd: celery@host:MainProcess] -active- (worker)",
            "supervisor celeryd",
        ),
        (
            "python3.10",
            "/usr/bin/python3.10 /usr/bin/salt-minion MultiMinionProcessManager",
            "supervisor /usr/bin/salt-minion",
        ),
        ("ruby", "puppet agent: applying configuration", "supervisor puppet"),
        ("ruby3.1", "codedeploy-agent: master 123", "supervisor codedeploy-agent"),
        ("python3.11", "gunicorn: worker [supervisord]", "unknown"),
    ] {
        assert_eq!(read(Some(exe), &[title], false), expected, "{title}");
    }
}

#[test]
fn only_a_relative_path_of_a_file_is_relative() {
    for (exe, line, expected) in [
        ("bash", "bash ./run.sh", Some("./run.sh")),
        ("python3", "python3 main.py", Some("main.py")),
        ("java", "java -jar app.jar", Some("app.jar")),
        ("python3", "python3 bin/supervisord", Some("bin/supervisord")),
        ("bash", "bash /opt/run.sh", None),
        ("python3", "python3 -m pkg", None),
        ("python3", "python3 -m httpie", None),
        ("java", "java @app.args", None),
        ("java", "java com.x.Main", None),
        ("deno", "deno run https://x.example/a.ts", None),
        ("node", "PM2", None),
    ] {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let workload = Workload::of_words(Some(exe.as_bytes()), &words, false);
        let path = workload.relative_path().map(String::from_utf8_lossy);
        assert_eq!(path.as_deref(), expected, "{line}");
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
        let (words, truncated) = super::words(memory.as_bytes(), truncated);
        shown(&Workload::read(Some(&exe), &words, truncated))
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

const INTERPRETERS: [&str; 14] = [
    "java", "jsvc", "bash", "fish", "python3", "perl", "ruby", "node", "deno", "bun", "php",
    "pwsh", "beam.smp", "busybox",
];

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(memory in proptest::collection::vec(any::<u8>(), 0..300), exe in 0usize..14, truncated: bool) {
        let exe = Executable::FileName(INTERPRETERS[exe].as_bytes().into());
        let (words, truncated) = super::words(&memory, truncated);
        let workload = Workload::read(Some(&exe), &words, truncated);
        prop_assert!(workload.name().is_none_or(|name| name.len() <= MAX_NAME));
    }

    #[test]
    fn words_of_real_command_lines_never_panic(line in "(-|--|-c|-m|-e|-o|-jar|-cp|-File|-extra|inspect|run|@x|a\\.sh|=|\u{0}){0,12}", truncated: bool) {
        for exe in INTERPRETERS {
            let (words, truncated) = super::words(line.as_bytes(), truncated);
            let _ = Workload::read(Some(&Executable::FileName(exe.as_bytes().into())), &words, truncated);
        }
    }

    #[test]
    fn any_name_is_looked_up_without_a_panic(name in "(python|node|R|sh)?[-._a-z0-9]{0,12}") {
        let _ = read(Some(&name), &[&name, "x"], false);
    }
}
