//! Software development kits and command line tools that are run as they were published, besides
//! those of [`super::diagnosis`].

use std::fs;
use std::path::PathBuf;

use imds_audit::event::{Cause, Outcome, RequestEvent, Resource, Rule, Trigger};
use imds_audit::simulator::{Status, TokenMode};
use imds_audit_tests::{Exchange, TestBed, python, skip, until};
use tempfile::TempDir;

use super::TOKEN_PATH;

/// Finds credentials, and prints their key.
const RUBY: &str = "require 'aws-sdk-core'; found = Aws::InstanceProfileCredentials.new(\
                    retries: 0, http_open_timeout: 5, http_read_timeout: 5); \
                    puts found.credentials.access_key_id";

/// A client that looks for credentials.
#[derive(Clone, Copy, Debug)]
enum Client {
    /// The AWS CLI of October 2019, from PyPI: a script that its Python runs.
    Cli1,
    /// Version 2 of the AWS CLI, from Debian's packages.
    Cli2,
    /// The AWS SDK for Ruby, from Debian's packages.
    Ruby,
}

impl Client {
    fn program(self) -> Option<PathBuf> {
        let path = match self {
            Self::Cli1 => python("IMDS_AUDIT_PYTHON_V1")?.with_file_name("aws"),
            Self::Cli2 => PathBuf::from("/usr/bin/aws"),
            Self::Ruby => PathBuf::from("/usr/bin/ruby"),
        };
        if !path.exists() {
            skip(&format!("there is no {}", path.display()));
            return None;
        }
        Some(path)
    }

    /// Has a script find credentials in a scene, which is to succeed; gives the script's path and
    /// number. `None` where the client is not installed.
    fn run(self, scene: &TestBed) -> Option<(TempDir, String, u32)> {
        let program = self.program()?;
        let program = program.to_str().unwrap();
        let command = match self {
            Self::Cli1 | Self::Cli2 => format!("{program} configure list"),
            Self::Ruby => format!("{program} -e \"{RUBY}\""),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.sh").to_str().unwrap().to_owned();
        fs::write(&path, format!("{command} || exit 1\nread line || true\n")).unwrap();
        let running = scene.start("sh", &[&path]);
        // A script is alive until its events are there: what has ended cannot be read any more.
        let key = &scene.secrets.access_key_id;
        let is_served = |request: &RequestEvent| {
            let found = (request.imds.resource, request.imds.outcome);
            found == (Some(Resource::Credentials), Outcome::Served)
        };
        let came = until(|| scene.requests().iter().any(is_served).then_some(()));
        let pid = running.pid();
        let caller = running.wait();
        assert!(came.is_some() && caller.status.success(), "{self:?} {caller:?}");
        // The CLI shows no more than the last four characters.
        let shown = match self {
            Self::Cli1 | Self::Cli2 => key.get(key.len() - 4..).unwrap(),
            Self::Ruby => key,
        };
        assert!(caller.stdout.contains(shown), "{self:?} {caller:?}");
        Some((folder, path, pid))
    }

    /// Its name, and the beginning of its version.
    fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::Cli1 => ("aws-cli", "1.16.263"),
            Self::Cli2 => ("aws-cli", "2."),
            Self::Ruby => ("aws-sdk-ruby3", "3."),
        }
    }

    /// Asserts that a request names the client, and the script that is responsible for it.
    fn assert_named(self, exchange: &Exchange, path: &str, pid: u32) {
        let (name, version) = self.name();
        let client = exchange.request.client.as_ref().unwrap();
        assert_eq!(client.name, name, "{client:#?}");
        assert!(client.version.as_ref().unwrap().starts_with(version), "{client:#?}");
        let responsible = exchange.responsible();
        assert_eq!(responsible.rule, Rule::Script, "{exchange:#?}");
        assert_eq!(responsible.script.as_deref(), Some(path), "{exchange:#?}");
        assert_eq!(responsible.pid, pid, "{exchange:#?}");
    }
}

#[test]
fn the_cli_of_2019_never_asks_for_a_token_and_is_told_its_first_version_that_does() {
    let Some(scene) = TestBed::new() else { return };
    let Some((_folder, path, pid)) = Client::Cli1.run(&scene) else { return };
    let findings = scene.finish();
    assert!(findings.verdicts().iter().all(|seen| *seen == ("v1", "served")));
    for exchange in &findings.exchanges {
        Client::Cli1.assert_named(exchange, &path, pid);
        let advice = exchange.advice();
        assert_eq!(advice.cause, Cause::NeverAsks, "{advice:#?}");
        let text = "update aws-cli from 1.16.263 to 1.16.289 or newer";
        assert!(advice.text.starts_with(text), "{advice:#?}");
        let command = advice.command.as_ref().unwrap();
        assert!(command.ends_with("'awscli>=1.16.289'"), "{command}");
    }
}

#[test]
fn current_clients_use_a_token_where_they_get_one() {
    for client in [Client::Cli2, Client::Ruby] {
        let Some(scene) = TestBed::with_tokens_required() else { return };
        let Some((_folder, path, pid)) = client.run(&scene) else { return };
        let findings = scene.finish();
        let classes: Vec<_> = findings.verdicts();
        assert_eq!(classes.first(), Some(&("v2-token", "served")), "{client:?}");
        assert!(classes.iter().all(|(class, _)| class.starts_with("v2")), "{classes:?}");
        assert!(classes.contains(&("v2", "served")), "{classes:?}");
        for exchange in &findings.exchanges {
            client.assert_named(exchange, &path, pid);
        }
    }
}

#[test]
fn current_clients_fall_back_where_the_table_says_so() {
    for (client, status) in [
        (Client::Cli2, Status::Forbidden),
        (Client::Ruby, Status::Forbidden),
        (Client::Cli2, Status::InternalServerError),
        (Client::Ruby, Status::InternalServerError),
    ] {
        let Some(scene) = TestBed::new() else { return };
        scene.service.set_mode(TokenMode::Status(status));
        if client.run(&scene).is_none() {
            return;
        }
        let findings = scene.finish();
        let token = findings.exchanges.first().unwrap();
        assert_eq!((token.seen().0, token.seen().3), ("v2-token", TOKEN_PATH), "{client:?}");
        let is_refused = status == Status::Forbidden;
        let trigger = if is_refused { Trigger::Refused } else { Trigger::ServerError };
        let fallen = findings.exchanges.iter().filter(|exchange| exchange.seen().0 == "v1");
        let fallen: Vec<_> = fallen.collect();
        assert!(!fallen.is_empty(), "{client:?} {:?}", findings.verdicts());
        for exchange in fallen {
            assert_eq!(exchange.advice().cause, Cause::Refused, "{exchange:#?}");
            let triggers = &exchange.request.client.as_ref().unwrap().falls_back_on;
            assert!(triggers.contains(&trigger), "{client:?} {status:?} {triggers:?}");
        }
    }
}
