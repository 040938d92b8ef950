//! Which of the end-to-end tests run in a virtual machine: all but those that are declared here.

use rustix::net::{AddressFamily, Protocol, SocketType, socket};

/// What tests are for a host alone, and why: the beginning of their names, or one whole name.
const FOR_A_HOST: [(&str, &str); 46] = [
    ("agent::booted::", "systemd as the first process: cargo xtask vm --systemd"),
    ("agent::faults::logrotate_itself_loses_nothing", "logrotate"),
    ("agent::installed::", "systemd"),
    ("agent::pages::", "a shell"),
    ("agent::readers::", "Prometheus and its tools"),
    ("agent::unit::", "systemd"),
    ("cluster::", "a shell, helm, kubectl, Python"),
    ("chart::", "no kernel: it is about files"),
    ("field_cases::", "shells, curl, Python"),
    ("init_script::", "shells, podman"),
    ("own_namespaces::", "unshare"),
    ("packages::", "podman, dpkg, rpm"),
    ("packet::owners::the_share_of_short_lived_callers_that_is_named", "it measures"),
    ("report::", "shells, curl, Python"),
    ("staged_day::", "shells, curl, Python"),
    ("clients::", "curl, wget, Python, Node"),
    ("containers::", "podman"),
    ("diagnosis::", "curl, wget, Python, Node"),
    ("forensics::", "tshark, tcpdump, curl, a shell"),
    ("hidepid::", "the users of a host"),
    ("spoofing::", "Perl, bash, curl"),
    ("integrity_kernel::", "iptables, Python"),
    ("redirection::a_token_response_arrives_no_further_than_the_rehearsed_hop_limit", "timeout"),
    ("redirection::the_command_s_exit_status_is_the_program_s", "a shell"),
    ("packet::interfaces::", "a shell, ip, ethtool"),
    (
        "packet::owners::an_owner_that_is_not_found_at_first_is_found_when_the_next_request_is_sent",
        "bash, setpriv",
    ),
    ("rehearsal::", "curl, Python, Node, Java, systemd"),
    ("responsible::", "shells, curl, Python"),
    ("sdks::", "Python, the AWS CLI, Ruby"),
    ("secrets::", "bash, curl"),
    ("sharing::", "a shell, curl"),
    ("spark::", "a Java virtual machine"),
    ("systemd_units::", "systemd"),
    ("memory::no_secret_is_left_in_the_memory_that_a_core_dump_would_show", "bash, curl"),
    ("memory::nobody_of_its_own_user_may_look_into_it", "setpriv"),
    ("connections::a_python_socket_of_ipv6_that_carries_ipv4_is_reported_as_mapped", "Python"),
    ("connections::a_shell_that_writes_the_request_line_and_the_headers_apart_is_v2", "bash"),
    ("connections::a_token_request_that_is_not_answered_has_no_response", "curl"),
    (
        "connections::a_token_response_that_dies_at_the_router_is_no_response_and_the_fallback_is_v1",
        "curl",
    ),
    ("bad_input::", "no kernel: it is about options"),
    ("output::", "no kernel: it is about what is written where"),
    ("blocked_output::", "no kernel: it is about what is written where"),
    (
        "throughput::responses_that_came_while_the_program_was_held_up_for_long_are_not_missed",
        "time",
    ),
    ("throughput::thousands_of_requests_of_eight_callers_at_once_are_each_reported", "time"),
    ("processes::processes_that_exit_right_after_sending_are_each_named", "time"),
    (
        "processes::short_lived_processes_are_put_down_to_the_scripts_that_start_them",
        "a shell, time",
    ),
];

/// Why a test does not run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It needs a host, with this.
    Host(&'static str),
    /// It needs this of the kernel.
    Kernel(&'static str),
}

/// Says why a test does not run here; `None` for one that does.
pub fn absence(test: &str) -> Option<Absence> {
    let is_of = |(name, _): &&(&str, &str)| {
        if name.ends_with("::") { test.starts_with(name) } else { test == *name }
    };
    if let Some((_, needs)) = FOR_A_HOST.iter().find(is_of) {
        return Some(Absence::Host(needs));
    }
    (test.ends_with("::multipath_tcp") && !has_multipath_tcp())
        .then_some(Absence::Kernel("Multipath TCP"))
}

/// Returns the declarations that are of no test: left over from one that is gone or renamed.
pub fn stale<'a>(tests: &'a [String]) -> impl Iterator<Item = &'static str> + 'a {
    FOR_A_HOST.iter().map(|(name, _)| *name).filter(|name| {
        !tests.iter().any(
            |test| {
                if name.ends_with("::") { test.starts_with(name) } else { test == name }
            },
        )
    })
}

/// `IPPROTO_MPTCP`.
const MULTIPATH_TCP: u32 = 262;

fn has_multipath_tcp() -> bool {
    let protocol = std::num::NonZeroU32::new(MULTIPATH_TCP).map(Protocol::from_raw);
    socket(AddressFamily::INET, SocketType::STREAM, protocol).is_ok()
}
