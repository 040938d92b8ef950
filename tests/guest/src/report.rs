//! Report of the guest to the host: one line of JSON each on the console.

use serde::Serialize;

/// Begins every line that is meant for the host; the kernel writes to the same console.
const MARK: &str = "@guest ";

/// A line of the report.
#[derive(Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Line {
    /// The kernel that runs.
    Kernel {
        /// Its release.
        release: String,
    },
    /// A program that the verifier was asked about.
    Program {
        /// Its name.
        name: String,
        /// The instructions that the verifier looked at; none where it refused the program.
        verified: Option<u32>,
        /// The longest part of the stack that it uses, as the verifier tells it.
        stack: Option<String>,
    },
    /// All eBPF programs.
    Start {
        /// How long loading and attaching took, in milliseconds of the guest's clock.
        milliseconds: u64,
        /// What it does without.
        fallbacks: Vec<String>,
    },
    /// Something that was found out about the kernel.
    Finding {
        /// What was asked.
        name: String,
        /// What it does.
        value: String,
    },
    /// A test.
    Test {
        /// Its name.
        name: String,
        /// Why it failed; none where it passed.
        failure: Option<String>,
    },
    /// A test that is declared not to run here.
    Absent {
        /// Its name.
        name: String,
        /// What it needs.
        needs: &'static str,
        /// Whether this kernel lacks it; else it needs a host.
        is_of_kernel: bool,
    },
    /// The end: nothing follows.
    End,
}

/// Writes a line to the console.
pub fn write(line: &Line) {
    if let Ok(text) = serde_json::to_string(line) {
        println!("{MARK}{text}");
    }
}
