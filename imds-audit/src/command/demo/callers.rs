//! Callers of the demonstration.

use std::ffi::OsString;
use std::path::Path;

use super::caller;
use super::networks::Place;
use super::scripts::{CONTAINER_START, REFRESH_CREDENTIALS};
use crate::simulator::HttpTokens;

/// The documented way (EC2 User Guide, "Access instance metadata for an EC2 instance"), quiet.
const DOCUMENTED: &str = "TOKEN=`curl -s -X PUT \"http://169.254.169.254/latest/api/token\" \
     -H \"X-aws-ec2-metadata-token-ttl-seconds: 21600\"` && \
     curl -s -H \"X-aws-ec2-metadata-token: $TOKEN\" \
     http://169.254.169.254/latest/meta-data/instance-id";

/// A token request that failed unnoticed. curl drops a header without a value, wget sends it.
const EMPTY_TOKEN: &str = "wget -q -O - --header=\"X-aws-ec2-metadata-token: $TOKEN\" \
     http://169.254.169.254/latest/meta-data/placement/region";

const PYTHON: &str = "import urllib.request; urllib.request.urlopen(\
     'http://169.254.169.254/latest/meta-data/instance-id', timeout=2).read()";

const INSTANCE_ID: &str = "http://169.254.169.254/latest/meta-data/instance-id";

/// Someone who calls the service.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// What is to be seen.
    pub title: &'static str,
    /// The programs without which there is nothing to be seen.
    pub needs: &'static [&'static str],
    /// Where it is.
    pub place: Place,
    /// Whether it needs IPv6.
    pub ipv6: bool,
    /// Whether the service wants a token of it.
    pub http_tokens: HttpTokens,
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

impl Caller {
    fn new(title: &'static str, needs: &'static [&'static str], command: &[&str]) -> Self {
        Self {
            title,
            needs,
            place: Place::Instance,
            ipv6: false,
            http_tokens: HttpTokens::Optional,
            command: command.iter().map(Into::into).collect(),
        }
    }
}

/// Returns who calls, in order. `own` is this program, `netns` the inode number of the
/// instance's network namespace.
pub(super) fn cast(scripts: &Path, own: &Path, netns: u64) -> Vec<Caller> {
    let script = |name: &str| ["sh".into(), scripts.join(name).into_os_string()].into();
    let netns = netns.to_string();
    vec![
        Caller::new("curl reads without a token", &["curl"], &["curl", "-s", INSTANCE_ID]),
        Caller {
            command: script(REFRESH_CREDENTIALS.0),
            ..Caller::new("a script reads the role's credentials without one", &["sh", "curl"], &[])
        },
        Caller::new(
            "the documented way: a token first, then the read",
            &["sh", "curl"],
            &["sh", "-c", DOCUMENTED],
        ),
        Caller::new("a script whose token is empty", &["sh", "wget"], &["sh", "-c", EMPTY_TOKEN]),
        Caller::new("an old Python program", &["python3"], &["python3", "-c", PYTHON]),
        Caller {
            command: vec![own.into(), caller::NAME.into(), "--netns".into(), netns.into()],
            ..Caller::new("as Java connects: IPv4 over an IPv6 socket", &[], &[])
        },
        Caller {
            ipv6: true,
            ..Caller::new(
                "the service's IPv6 address",
                &["curl"],
                &["curl", "-s", "-g", "http://[fd00:ec2::254]/latest/meta-data/instance-id"],
            )
        },
        Caller {
            http_tokens: HttpTokens::Required,
            ..Caller::new(
                "the first caller again, now that the instance requires tokens",
                &["curl"],
                &["curl", "-s", INSTANCE_ID],
            )
        },
        Caller {
            place: Place::Container,
            command: script(CONTAINER_START.0),
            ..Caller::new(
                "a container behind the hop limit gets no token and falls back",
                &["sh", "curl"],
                &[],
            )
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_caller_has_a_command_and_its_program_is_needed() {
        for caller in cast(Path::new("/scripts"), Path::new("/own"), 7) {
            let program = caller.command.first().unwrap().to_str().unwrap();
            assert!(program == "/own" || caller.needs.contains(&program), "{}", caller.title);
            assert!(caller.command.len() > 1, "{}", caller.title);
        }
    }

    #[test]
    fn the_scripts_are_scripts() {
        for (name, text) in [REFRESH_CREDENTIALS, CONTAINER_START] {
            let check = std::process::Command::new("sh").args(["-n", "-c", text]).status().unwrap();
            assert!(check.success() && text.starts_with("#!/bin/sh\n"), "{name}");
        }
    }
}
