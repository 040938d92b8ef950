//! The command line of a Java virtual machine: the `java` command of the JDK, and what Spark
//! puts behind its own main class.

use super::{Program, kept};

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

/// The class that starts Spark applications (core/src/main/scala/org/apache/spark/deploy in
/// apache/spark): what it runs stands behind it.
pub const SPARK_SUBMIT: &[u8] = b"org.apache.spark.deploy.SparkSubmit";
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
pub fn program(words: &[&[u8]], truncated: bool) -> Program {
    match main(words, truncated) {
        Main::Jar(name) => named(name, Program::Jar),
        Main::Module(name) => named(name, Program::Class),
        Main::Source(path) => named(Some(path), Program::Script),
        Main::Class(SPARK_SUBMIT, rest) => {
            submitted(rest).unwrap_or_else(|| Program::Class(kept(SPARK_SUBMIT)))
        }
        Main::Class(name, _) => named(Some(name), Program::Class),
        Main::Options(file) => Program::Script(kept(file)),
        Main::Unknown => Program::Unknown,
    }
}

/// Finds the main class, and its arguments, behind the command's own name.
pub fn main_class<'a>(
    words: &'a [&'a [u8]],
    truncated: bool,
) -> Option<(&'a [u8], &'a [&'a [u8]])> {
    match main(words, truncated) {
        Main::Class(name, rest) => Some((name, rest)),
        _ => None,
    }
}

fn main<'a>(words: &'a [&'a [u8]], truncated: bool) -> Main<'a> {
    // The last word of a cut command line is none.
    let words = if truncated { words.split_last().map_or(words, |(_, head)| head) } else { words };
    let mut files: Option<&[u8]> = None;
    let mut rest = words;
    while let [word, behind @ ..] = rest {
        rest = behind;
        match *word {
            b"-jar" => return Main::Jar(behind.first().copied()),
            b"-m" | b"--module" => return Main::Module(behind.first().copied()),
            _ if word.starts_with(b"--module=") => return Main::Module(word.get(9..)),
            _ if OPERANDS.contains(word) => rest = behind.get(1..).unwrap_or_default(),
            _ if word.starts_with(b"-") => {}
            _ if word.starts_with(b"@") && word.len() > 1 => files = Some(word),
            // Behind a file of options this may be an argument of the class that it names.
            _ if files.is_some() && !is_class(word) => break,
            _ if word.ends_with(b".java") => return Main::Source(word),
            _ => return Main::Class(word, behind),
        }
    }
    files.filter(|_| !truncated).map_or(Main::Unknown, Main::Options)
}

/// Says whether `spark-submit` hands its application to a cluster, which then has the driver.
pub fn only_submits(arguments: &[&[u8]]) -> bool {
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
fn submitted(arguments: &[&[u8]]) -> Option<Program> {
    let mut words = arguments.iter().copied();
    while let Some(word) = words.next() {
        match word {
            b"--class" => return words.next().map(|class| Program::Class(kept(class))),
            _ if SPARK_FLAGS.contains(&word) => {}
            _ if word.starts_with(b"--") && word.contains(&b'=') => {}
            _ if word.starts_with(b"-") => drop(words.next()),
            // It does what the program says that has started it.
            _ if SPARK_SHELLS.contains(&word) => return Some(Program::Tool(kept(SPARK_SUBMIT))),
            _ if word.ends_with(b".jar") => return Some(Program::Jar(kept(word))),
            _ if word.ends_with(b".py") || word.ends_with(b".R") => {
                return Some(Program::Script(kept(word)));
            }
            _ => return None,
        }
    }
    None
}

fn named(word: Option<&[u8]>, make: fn(Box<[u8]>) -> Program) -> Program {
    word.filter(|word| !word.is_empty()).map_or(Program::Unknown, |word| make(kept(word)))
}

/// Returns whether a word looks like a class with its package.
fn is_class(word: &[u8]) -> bool {
    word.contains(&b'.')
        && word.split(|&byte| byte == b'.').all(|part| {
            part.first().is_some_and(|first| !first.is_ascii_digit())
                && part.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(byte))
        })
}
