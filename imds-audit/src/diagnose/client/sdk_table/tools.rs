//! Command-line tools, shells and HTTP libraries, which send what their caller says.

use super::PLAIN;
use crate::diagnose::client::sdk_entry::{SdkEntry, V1Fallback};

/// Run against a simulated service in tests/tests/e2e/{clients,diagnosis,sdks}.rs, but for the
/// shells other than bash, BusyBox, Go's, Java's and Rust's ureq.
const MEASURED: &str = "its request to a simulated service, or its manual";

/// A tool or a library that sends what its caller says.
const fn by_caller(agent: &'static str, programs: &'static [&'static str]) -> SdkEntry {
    SdkEntry { agent, programs, fallback: V1Fallback::Never, source: MEASURED, ..PLAIN }
}

/// The tools and libraries.
pub(super) const TOOLS: [SdkEntry; 19] = [
    by_caller("curl", &["curl"]),
    by_caller("Wget", &["wget"]),
    by_caller("sh", &["sh", "dash", "ash"]),
    by_caller("bash", &["bash"]),
    by_caller("zsh", &["zsh"]),
    by_caller("ksh", &["ksh"]),
    by_caller("BusyBox", &["busybox"]),
    by_caller("Python-urllib", &[]),
    by_caller("python-requests", &[]),
    by_caller("Go-http-client", &[]),
    by_caller("Java", &[]),
    by_caller("ureq", &[]),
    SdkEntry { scripts: &["http", "https", "httpie"], ..by_caller("HTTPie", &[]) },
    by_caller("aria2", &["aria2c"]),
    by_caller("nc", &["nc", "nc.openbsd", "nc.traditional", "ncat", "netcat", "socat", "telnet"]),
    by_caller("HTTP-Tiny", &[]),
    by_caller("libwww-perl", &[]),
    by_caller("Ruby", &[]),
    by_caller("node", &[]),
];
