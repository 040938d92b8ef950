//! The command line of a Java virtual machine: the `java` command of the JDK, what Spark puts
//! behind its own main class, and the languages that run on it.

use super::grammar::{Grammar, Operand::*, Positional};
use super::languages::{PYTHON, RUBY};
use super::{Workload, kept};

/// Options with an operand in the next word (The java Command, JDK 21; JDK 8 for `-cp`).
const OPERANDS: [&[u8]; 16] = [
    b"-cp",
    b"-classpath",
    b"--class-path",
    b"-p",
    b"--module-path",
    b"--upgrade-module-path",
    b"--add-modules",
    b"--limit-modules",
    b"--add-exports",
    b"--add-opens",
    b"--add-reads",
    b"--patch-module",
    b"--enable-native-access",
    b"-d",
    b"--describe-module",
    b"--source",
];

/// Options of `jsvc` with an operand (commons.apache.org/daemon/jsvc.html).
const JSVC_OPERANDS: [&[u8]; 14] = [
    b"-cp",
    b"-classpath",
    b"-jvm",
    b"-home",
    b"-java-home",
    b"-user",
    b"-outfile",
    b"-errfile",
    b"-pidfile",
    b"-wait",
    b"-cwd",
    b"-procname",
    b"-umask",
    b"-redirectstdin",
];

/// groovy(1), behind the class that `groovy` starts and the one that this starts.
static GROOVY: Grammar = Grammar {
    long: &[
        (b"-e", Code),
        (b"-c", Value),
        (b"--encoding", Value),
        (b"-cp", Value),
        (b"-classpath", Value),
        (b"--classpath", Value),
        (b"--main", Value),
        (b"--conf", Value),
        (b"--configscript", Value),
        (b"-b", Value),
        (b"--basescript", Value),
    ],
    single_dash: true,
    ..Grammar::PLAIN
};
/// scala(1) of version 2, and of version 3 before it became another program.
static SCALA: Grammar = Grammar {
    long: &[
        (b"-e", Code),
        (b"-i", Value),
        (b"-cp", Value),
        (b"-classpath", Value),
        (b"--class-path", Value),
        (b"-d", Value),
        (b"-encoding", Value),
    ],
    single_dash: true,
    ..Grammar::PLAIN
};
/// kotlinlang.org/docs/command-line.html: a compiler's arguments are no scripts.
static KOTLIN: Grammar = Grammar {
    long: &[(b"-script", File), (b"-cp", Value), (b"-classpath", Value), (b"-d", Value)],
    positional: Positional::Data,
    single_dash: true,
    ..Grammar::PLAIN
};
/// clojure.org/reference/repl_and_main.
static CLOJURE: Grammar = Grammar {
    long: &[
        (b"-e", Code),
        (b"--eval", Code),
        (b"-m", Module),
        (b"--main", Module),
        (b"-i", Value),
        (b"--init", Value),
        (b"--report", Value),
    ],
    single_dash: true,
    ..Grammar::PLAIN
};
/// Main classes that run scripts: bin/startGroovy, bin/scala, bin/kotlin, clojure, bin/jruby and
/// bin/jython.
static LANGUAGES: [(&[u8], &Grammar); 9] = [
    (b"org.codehaus.groovy.tools.GroovyStarter", &GROOVY),
    (b"groovy.ui.GroovyMain", &GROOVY),
    (b"scala.tools.nsc.MainGenericRunner", &SCALA),
    (b"dotty.tools.MainGenericRunner", &SCALA),
    (b"org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", &KOTLIN),
    (b"clojure.main", &CLOJURE),
    (b"org.jruby.Main", &RUBY),
    (b"org.jruby.main.Main", &RUBY),
    (b"org.python.util.jython", &PYTHON),
];

/// The class that starts Spark applications (core/src/main/scala/org/apache/spark/deploy in
/// apache/spark): what it runs stands behind it.
pub(crate) const SPARK_SUBMIT: &[u8] = b"org.apache.spark.deploy.SparkSubmit";
/// Its options without an operand (launcher/…/SparkSubmitOptionParser.java).
const SPARK_FLAGS: [&[u8]; 7] =
    [b"--verbose", b"-v", b"--supervise", b"--help", b"-h", b"--usage-error", b"--version"];
/// What stands for the application where Python or R is one, and has started the virtual machine
/// (launcher/…/SparkSubmitCommandBuilder.java).
const SPARK_SHELLS: [&[u8]; 2] = [b"pyspark-shell", b"sparkr-shell"];

/// What a virtual machine runs.
enum Main<'a> {
    /// An archive.
    Jar(Option<&'a [u8]>),
    /// A module with its class.
    Module(Option<&'a [u8]>),
    /// A file of Java.
    Source(&'a [u8]),
    /// A class, and its arguments.
    Class(&'a [u8], &'a [&'a [u8]]),
    /// What a file of options says.
    Options(&'a [u8]),
    /// It cannot be said.
    Unknown,
}

/// Finds the main class or the archive behind the command's own name.
pub(crate) fn workload(words: &[&[u8]], truncated: bool) -> Workload {
    of_main(main(words, &OPERANDS, truncated), truncated)
}

/// Finds the class of a service that `jsvc` starts.
pub(crate) fn service(words: &[&[u8]], truncated: bool) -> Workload {
    of_main(main(words, &JSVC_OPERANDS, truncated), truncated)
}

fn of_main(main: Main<'_>, truncated: bool) -> Workload {
    match main {
        Main::Jar(name) => named(name, Workload::Jar),
        Main::Module(name) => named(name, Workload::Class),
        Main::Source(path) => named(Some(path), Workload::Script),
        Main::Class(SPARK_SUBMIT, rest) => {
            submitted(rest).unwrap_or_else(|| Workload::Class(kept(SPARK_SUBMIT)))
        }
        Main::Class(name, rest) => match LANGUAGES.iter().find(|(class, _)| *class == name) {
            Some((_, grammar)) => language(grammar, rest, truncated),
            None => named(Some(name), Workload::Class),
        },
        Main::Options(file) => Workload::Script(kept(file)),
        Main::Unknown => Workload::Unknown,
    }
}

/// Finds the main class, and its arguments, behind the command's own name.
pub(crate) fn main_class<'a>(
    words: &'a [&'a [u8]],
    truncated: bool,
) -> Option<(&'a [u8], &'a [&'a [u8]])> {
    match main(words, &OPERANDS, truncated) {
        Main::Class(name, rest) => Some((name, rest)),
        _ => None,
    }
}

/// Finds the script of a language behind its main class. What runs may be a class or an archive
/// there too.
fn language(grammar: &Grammar, words: &[&[u8]], truncated: bool) -> Workload {
    // The words were cut before, so a truncated command line ends with a whole one.
    let found = match grammar.workload(words, false) {
        Workload::Commands if truncated => return Workload::Unknown,
        found => found,
    };
    match found {
        Workload::Script(name) if name.ends_with(b".jar") => Workload::Jar(name),
        Workload::Script(name) if std::ptr::eq(grammar, &SCALA) && !is_file(&name) => {
            Workload::Class(name)
        }
        found => found,
    }
}

fn is_file(name: &[u8]) -> bool {
    name.contains(&b'/') || [&b".scala"[..], b".sc"].iter().any(|end| name.ends_with(end))
}

fn main<'a>(words: &'a [&'a [u8]], operands: &[&[u8]], truncated: bool) -> Main<'a> {
    // The last word of a cut command line is none.
    let words = if truncated { words.split_last().map_or(words, |(_, head)| head) } else { words };
    let mut files: Option<&[u8]> = None;
    // The archive is the first word that is no option: they may stand behind `-jar` too.
    let mut is_archive = false;
    let mut rest = words;
    while let [word, behind @ ..] = rest {
        rest = behind;
        match *word {
            b"-jar" => is_archive = true,
            b"-m" | b"--module" => return Main::Module(behind.first().copied()),
            _ if word.starts_with(b"--module=") => return Main::Module(word.get(9..)),
            _ if operands.contains(word) => rest = behind.get(1..).unwrap_or_default(),
            _ if word.starts_with(b"-") => {}
            _ if word.starts_with(b"@") && word.len() > 1 => files = Some(word),
            // Behind a file of options this may be an argument of the class that it names.
            _ if is_archive => return Main::Jar(Some(word)),
            _ if files.is_some() && !is_class(word) => break,
            _ if word.ends_with(b".java") => return Main::Source(word),
            _ => return Main::Class(word, behind),
        }
    }
    files.filter(|_| !truncated).map_or(Main::Unknown, Main::Options)
}

/// Says whether `spark-submit` hands its application to a cluster, which then has the driver.
pub(crate) fn only_submits(arguments: &[&[u8]]) -> bool {
    let mut words = arguments.iter().copied();
    while let Some(word) = words.next() {
        let (option, value) = match word.iter().position(|&byte| byte == b'=') {
            _ if SPARK_FLAGS.contains(&word) => continue,
            Some(end) if word.starts_with(b"--") => (word.get(..end), word.get(end + 1..)),
            _ if word.starts_with(b"-") => (Some(word), words.next()),
            _ => return false,
        };
        match (option.unwrap_or_default(), value.unwrap_or_default()) {
            (b"--deploy-mode", b"cluster")
            | (b"--conf" | b"-c", b"spark.submit.deployMode=cluster") => return true,
            _ => {}
        }
    }
    false
}

/// Finds the application among the arguments of `spark-submit`: its class, else its file.
fn submitted(arguments: &[&[u8]]) -> Option<Workload> {
    let mut words = arguments.iter().copied();
    while let Some(word) = words.next() {
        match word {
            b"--class" => return words.next().map(|class| Workload::Class(kept(class))),
            _ if SPARK_FLAGS.contains(&word) => {}
            _ if word.starts_with(b"--") && word.contains(&b'=') => {}
            _ if word.starts_with(b"-") => drop(words.next()),
            // It does what the program says that has started it.
            _ if SPARK_SHELLS.contains(&word) => return Some(Workload::Tool(kept(SPARK_SUBMIT))),
            _ if word.ends_with(b".jar") => return Some(Workload::Jar(kept(word))),
            _ if word.ends_with(b".py") || word.ends_with(b".R") => {
                return Some(Workload::Script(kept(word)));
            }
            _ => return None,
        }
    }
    None
}

fn named(word: Option<&[u8]>, make: fn(Box<[u8]>) -> Workload) -> Workload {
    word.filter(|word| !word.is_empty()).map_or(Workload::Unknown, |word| make(kept(word)))
}

/// Returns whether a word looks like a class with its package.
fn is_class(word: &[u8]) -> bool {
    word.contains(&b'.')
        && word.split(|&byte| byte == b'.').all(|part| {
            part.first().is_some_and(|first| !first.is_ascii_digit())
                && part.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(byte))
        })
}
