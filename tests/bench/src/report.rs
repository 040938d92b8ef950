//! Costs of `imds-audit report` for files of events, beside DuckDB and jq on the same question.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::child::{Taken, taken};
use super::rows::Rows;

/// The smallest number of events.
const SMALLEST: u64 = 10_000;
/// The hosts whose events are read, a file each.
const HOSTS: u64 = 10;
/// How often each of the fast ones reads the same files.
const ROUNDS: usize = 3;
/// The number of events by which what a report takes is compared.
const COMPARED: u64 = 1_000_000;
/// The callers of most files.
const CALLERS: u64 = 100;
/// 2026-11-22T00:00:00Z, in seconds since 1970.
const START: u64 = 1_795_305_600;

/// The columns.
const OURS: &str = "imds-audit";
const DUCKDB: &str = "DuckDB";
const JQ: &str = "jq";

/// Counts the requests without a token of each caller, as the report does.
const JQ_SCRIPT: &str = "jq -r 'select(.kind == \"request\" and (.imds.class == \"v1\" or .imds.class == \
                         \"v2-empty-token\")) | .caller.id' \"$@\" | sort | uniq -c | sort -rn >/dev/null";

/// The programs that read the files, and how many events there are at most.
#[derive(Debug)]
pub struct Tools<'a> {
    /// The program under measurement.
    pub program: &'a Path,
    /// A Python with the module `duckdb`.
    pub python: &'a Path,
    /// The largest number of events.
    pub largest: u64,
}

/// Measures.
///
/// # Errors
/// Returns an error if a program cannot be run or fails, or the files cannot be written.
pub fn measure(tools: &Tools<'_>) -> Result<Rows> {
    let mut rows = Rows::default();
    let mut count = SMALLEST;
    while count <= tools.largest {
        // More than a million events are read as a fleet keeps them.
        let storage = if count > COMPARED { Storage::Gzip } else { Storage::Plain };
        growth(&mut rows, tools, &Files::write(count, CALLERS, storage)?)?;
        if count == COMPARED {
            growth(&mut rows, tools, &Files::write(count, CALLERS, Storage::Gzip)?)?;
        }
        count *= 10;
    }
    for callers in [10_000, 1_000_000] {
        growth(
            &mut rows,
            tools,
            &Files::write(COMPARED.min(tools.largest), callers, Storage::Plain)?,
        )?;
    }
    Ok(rows)
}

/// Reads the same files several times, one program after the other in each round.
fn growth(rows: &mut Rows, tools: &Tools<'_>, files: &Files) -> Result<()> {
    let is_compared = files.count == COMPARED && files.callers == CALLERS;
    let rounds = if files.count > COMPARED { 1 } else { ROUNDS };
    for _ in 0..rounds {
        add(rows, &files.name(), OURS, &files.report(tools)?);
        if is_compared {
            add(rows, &files.name(), DUCKDB, &files.duckdb(tools)?);
        }
    }
    if is_compared && files.storage == Storage::Plain {
        add(rows, &files.name(), JQ, &files.jq()?);
    }
    Ok(())
}

fn add(rows: &mut Rows, name: &str, column: &str, taken: &Taken) {
    rows.add(&format!("{name}: time"), "s", column, taken.seconds);
    rows.add(&format!("{name}: memory"), "MiB", column, taken.mebibytes);
}

/// How files are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Storage {
    Plain,
    Gzip,
}

/// Files of events, gone when dropped.
struct Files {
    folder: tempfile::TempDir,
    paths: Vec<PathBuf>,
    count: u64,
    callers: u64,
    storage: Storage,
}

impl Files {
    /// Writes so many requests of so many callers, one in ten without a token.
    fn write(count: u64, callers: u64, storage: Storage) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut paths = Vec::new();
        for host in 0..HOSTS {
            let path = folder.path().join(format!("host-{host}.jsonl"));
            let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
            for number in (host..count).step_by(HOSTS as usize) {
                let time = jiff::Timestamp::from_second(i64::try_from(START + number / 10)?)?;
                let caller = number % callers;
                let class = if caller.is_multiple_of(10) { "v1" } else { "v2" };
                writeln!(file, "{}", line(host, time, class, caller))?;
            }
            file.flush()?;
            if storage == Storage::Plain {
                paths.push(path);
                continue;
            }
            if !Command::new("gzip").arg("-1").arg(&path).status()?.success() {
                bail!("gzip fails on {}", path.display());
            }
            paths.push(path.with_extension("jsonl.gz"));
        }
        Ok(Self { folder, paths, count, callers, storage })
    }

    /// Returns the name of what is measured with them.
    fn name(&self) -> String {
        let storage = if self.storage == Storage::Gzip { ", gzip" } else { "" };
        format!("{} events of {} callers{storage}", self.count, self.callers)
    }

    fn report(&self, tools: &Tools<'_>) -> Result<Taken> {
        let mut command = Command::new(tools.program);
        command.arg("report").arg(self.folder.path()).args(["--format", "json", "--output"]);
        taken(command.arg(self.folder.path().join("report")))
    }

    /// Has DuckDB count, in one scan of the members that it needs; its time is that of the query,
    /// without the start of Python.
    fn duckdb(&self, tools: &Tools<'_>) -> Result<Taken> {
        const CODE: &str = "import duckdb, sys, time\n\
            start = time.perf_counter()\n\
            c = duckdb.connect()\n\
            c.execute('SET threads = 2')\n\
            rows = c.execute(\"\"\"\n\
                SELECT caller.id, count(*), count(DISTINCT host.name), min(time), max(time)\n\
                FROM read_json(?, format = 'newline_delimited', columns = {\n\
                    kind: 'VARCHAR', time: 'TIMESTAMP', host: 'STRUCT(name VARCHAR)',\n\
                    imds: 'STRUCT(class VARCHAR)', caller: 'STRUCT(id VARCHAR)'})\n\
                WHERE kind = 'request' AND imds.class IN ('v1', 'v2-empty-token')\n\
                GROUP BY 1 ORDER BY 2 DESC\"\"\", [sys.argv[1] + '/*.jsonl*']).fetchall()\n\
            seconds = time.perf_counter() - start\n\
            assert rows\n\
            open(sys.argv[2], 'w').write(str(seconds))\n";
        let place = tempfile::NamedTempFile::new()?;
        let mut command = Command::new(tools.python);
        let taken = taken(command.args(["-c", CODE]).arg(self.folder.path()).arg(place.path()))?;
        let seconds = std::fs::read_to_string(place.path())?.parse()?;
        Ok(Taken { seconds, ..taken })
    }

    fn jq(&self) -> Result<Taken> {
        taken(Command::new("sh").args(["-c", JQ_SCRIPT, "sh"]).args(&self.paths))
    }
}

/// An event as the program writes it, member for member in its order. `@t` stands for its time, `@c`
/// for its class, `@i` for its caller's id and `@h` for its host's number.
const EVENT: &str = concat!(
    r#"{"schema":1,"kind":"request","time":"@t","host":{"name":"ip-10-0-0-@h","id":"i-0123456789abcde0@h"},"#,
    r#""run":"0000000000000000000000000000000@h","source":"ebpf","labels":{"cluster":"etl","role":"worker"},"#,
    r#""imds":{"class":"@c","version":1,"operation":"read","resource":"credentials","outcome":"served","#,
    r#""duration_us":412,"endpoint":"169.254.169.254:80"},"http":{"method":"GET","#,
    r#""path":"/latest/meta-data/iam/security-credentials/app","status":200,"host":"169.254.169.254","#,
    r#""user_agent":"curl/7.88.1"},"network":{"family":"ipv4","source":"10.0.0.7:50412","#,
    r#""response_ttl":255,"netns":4026531840,"host_network":true},"process":{"pid":20364,"tid":20364,"#,
    r#""name":"curl","exe":"/usr/bin/curl","args":["curl","-s","#,
    r#""http://169.254.169.254/latest/meta-data/iam/security-credentials/app"],"uid":0,"user":"root","#,
    r#""start_time":"2026-11-22T00:00:00.000000Z","attribution":"writer","ancestors":["#,
    r#"{"pid":20361,"name":"bash","args":["/bin/bash","/opt/app/bin/refresh-credentials.sh","--quiet"]},"#,
    r#"{"pid":20360,"name":"sh","args":["/bin/sh","-c","/opt/app/bin/refresh-credentials.sh"]},"#,
    r#"{"pid":812,"name":"cron","args":["/usr/sbin/cron","-f"]},"#,
    r#"{"pid":1,"name":"systemd","args":["/sbin/init"]}],"responsible":{"pid":20361,"name":"bash","#,
    r#""script":"/opt/app/bin/refresh-credentials.sh","#,
    r#""args":["/bin/bash","/opt/app/bin/refresh-credentials.sh","--quiet"],"rule":"script"},"#,
    r#""cgroup":"/system.slice/cron.service","unit":"cron.service","slice":"system.slice","#,
    r#""container":null,"pod":null},"caller":{"id":"@i","#,
    r#""title":"/opt/app/bin/refresh-credentials.sh --quiet","home":"cron.service"},"#,
    r#""client":{"name":"curl","version":"7.88.1","hint":"user-agent"},"advice":{"cause":"never-asks","#,
    r#""reason":"never asks for a token","text":"let what uses curl ask for a token and send it with the "#,
    r#"request, as the command does","command":"TOKEN=$(curl -sf -X PUT -H "#,
    r#"'X-aws-ec2-metadata-token-ttl-seconds: 21600' http://169.254.169.254/latest/api/token) && curl -H "#,
    r#"\"X-aws-ec2-metadata-token: $TOKEN\" -s http://169.254.169.254/latest/meta-data/"}}"#,
);

/// Returns an event's line.
fn line(host: u64, time: jiff::Timestamp, class: &str, caller: u64) -> String {
    let mut line = String::with_capacity(EVENT.len() + 64);
    for (place, part) in EVENT.split('@').enumerate() {
        let (kind, rest) = part.split_at(usize::from(place > 0));
        match kind {
            "t" => line += &time.to_string(),
            "c" => line += class,
            "i" => line += &format!("{caller:016x}"),
            "h" => line += &host.to_string(),
            _ => {}
        }
        line += rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_event_has_each_value_in_its_place() {
        let time = jiff::Timestamp::from_second(1_795_305_600).unwrap();
        let event: Value = serde_json::from_str(&line(7, time, "v1", 255)).unwrap();
        assert_eq!(event["time"], "2026-11-22T00:00:00Z");
        assert_eq!(event["host"]["name"], "ip-10-0-0-7");
        assert_eq!(event["imds"]["class"], "v1");
        assert_eq!(event["caller"]["id"], "00000000000000ff");
        assert_eq!(event["kind"], "request");
    }
}
