//! Programs that pass the requests of others on.

use crate::event::Process;

/// Programs that pass the bytes of others on and make no requests themselves: the networks of
/// rootless containers and of virtual machines (slirp4netns(1), passt(1), gvisor-tap-vsock).
const TRANSPARENT_RELAYS: [&str; 22] = [
    "slirp4netns",
    "pasta",
    "pasta.avx2",
    "passt",
    "passt.avx2",
    "gvproxy",
    "vpnkit",
    "qemu-system-x86_64",
    "qemu-system-aarch64",
    "qemu-kvm",
    "rootlesskit",
    "docker-proxy",
    // Forwarders of connections: ssh(1) and sshd(8) with `-L`, `-D` and `-R`.
    "ssh",
    "sshd",
    "sshd-session",
    "redsocks",
    "rinetd",
    "microsocks",
    "sockd",
    "danted",
    "tailscaled",
    "simpleproxy",
];
/// Programs that repeat requests over HTTP, and may make some themselves.
const HTTP_RELAYS: [&str; 12] = [
    "kube2iam",
    "kiam",
    "envoy",
    "haproxy",
    "nginx",
    "squid",
    "traefik",
    "caddy",
    "tinyproxy",
    "privoxy",
    "varnishd",
    "linkerd2-proxy",
];
/// Returns whether a process repeats the requests of others.
pub(crate) fn is_relay(process: &Process) -> bool {
    is_transparent_relay(process) || runs_one_of(process, &HTTP_RELAYS)
}

/// Returns whether a process passes the bytes of others on and makes no requests itself.
pub(super) fn is_transparent_relay(process: &Process) -> bool {
    // `socat TCP-LISTEN:80,fork TCP:…` passes on what comes; without `LISTEN` it is a tool.
    let listens = |arg: &String| {
        let kind = arg.split(':').next().unwrap_or_default();
        kind.to_ascii_uppercase().ends_with("-LISTEN") || kind.eq_ignore_ascii_case("TCP-L")
    };
    runs_one_of(process, &TRANSPARENT_RELAYS)
        || (runs_one_of(process, &["socat"]) && process.args.iter().flatten().any(listens))
}

fn runs_one_of(process: &Process, files: &[&str]) -> bool {
    let program = process.exe.as_deref().or(process.name.as_deref());
    program.and_then(|path| path.rsplit('/').next()).is_some_and(|file| files.contains(&file))
}
