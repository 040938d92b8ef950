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
const SPARK_SUBMIT: &[u8] = b"org.apache.spark.deploy.SparkSubmit";
/// Its options without an operand (launcher/…/SparkSubmitOptionParser.java).
const SPARK_FLAGS: [&[u8]; 7] =
    [b"--verbose", b"-v", b"--supervise", b"--help", b"-h", b"--usage-error", b"--version"];

/// Finds the main class or the archive behind the command's own name.
pub fn program(words: &[&[u8]], truncated: bool) -> Program {
    // The last word of a cut command line is none.
    let words = if truncated { words.split_last().map_or(words, |(_, head)| head) } else { words };
    let mut files: Option<&[u8]> = None;
    let mut rest = words.iter().copied();
    while let Some(word) = rest.next() {
        match word {
            b"-jar" => return named(rest.next(), Program::Jar),
            b"-m" | b"--module" => return named(rest.next(), Program::Class),
            _ if word.starts_with(b"--module=") => return named(word.get(9..), Program::Class),
            _ if OPERANDS.contains(&word) => drop(rest.next()),
            _ if word.starts_with(b"-") => {}
            _ if word.starts_with(b"@") && word.len() > 1 => files = Some(word),
            // Behind a file of options this may be an argument of the class that it names.
            _ if files.is_some() && !is_class(word) => break,
            _ if word.ends_with(b".java") => return named(Some(word), Program::Script),
            SPARK_SUBMIT => return submitted(rest).unwrap_or(Program::Class(kept(word))),
            _ => return named(Some(word), Program::Class),
        }
    }
    files.filter(|_| !truncated).map_or(Program::Unknown, |file| Program::Script(kept(file)))
}

/// Finds the application among the arguments of `spark-submit`: its class, else its file.
fn submitted<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Option<Program> {
    while let Some(word) = words.next() {
        match word {
            b"--class" => return words.next().map(|class| Program::Class(kept(class))),
            _ if SPARK_FLAGS.contains(&word) => {}
            _ if word.starts_with(b"--") && word.contains(&b'=') => {}
            _ if word.starts_with(b"-") => drop(words.next()),
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
