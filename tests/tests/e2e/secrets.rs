//! What must never be written.

use imds_audit_tests::Scene;

/// Secrets that a caller sends, beside those that the service hands out.
const BEARER: &str = "planted-bearer-4711-x";
const COOKIE: &str = "planted-cookie-4711-x";

/// Gets everything that is secret from the service, by both versions, and sends secrets of its
/// own; the tokens are typed on command lines, and stand in targets and user agents.
const SCRIPT: &str = r#"
set -e
base=http://169.254.169.254/latest
curl() { command curl -s -m 10 -o /dev/null "$@"; }
token=$(command curl -s -m 10 -X PUT $base/api/token -H 'X-aws-ec2-metadata-token-ttl-seconds: 60')
curl -H "X-aws-ec2-metadata-token: $token" $base/meta-data/iam/security-credentials/app
curl -H "x-AWS-ec2-metadata-token:$token" -A "agent/$token" "$base/user-data?token=$token"
curl $base/meta-data/iam/security-credentials/app
curl $base/user-data
curl $base/dynamic/instance-identity/signature
curl -H "Authorization: Bearer $BEARER" -H "Cookie: session=$COOKIE" $base/meta-data/ami-id
sh -c "curl -s -m 10 -o /dev/null -H 'X-aws-ec2-metadata-token: $token' $base/meta-data/ami-id; :"
"#;

/// What `SCRIPT` asks.
const REQUESTS: usize = 8;

fn assert_secrets_stay(scene: Scene) {
    let mut command = scene.command("bash");
    command.args(["-c", SCRIPT]).env("BEARER", BEARER).env("COOKIE", COOKIE);
    let caller = scene.start_command(&mut command).wait();
    assert!(caller.status.success(), "{caller:?}");
    let tokens = scene.service.issued_tokens();
    assert_eq!((tokens.len(), scene.entries().len()), (1, REQUESTS));
    let secrets = scene.secrets.clone();
    let Scene { audit, .. } = scene;
    let report = audit.stop();
    assert_eq!(report.code(), Some(0), "{report:#?}");
    let written = report.everything();
    assert!(written.contains("/latest/meta-data/iam/security-credentials/app"), "it saw nothing");
    let planted = [tokens[0].as_str(), BEARER, COOKIE];
    for secret in secrets.all().into_iter().chain(planted) {
        let line = written.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

#[test]
fn no_secret_is_in_json_lines_or_in_the_most_talkative_log() {
    let Some(scene) = Scene::with(&["-vv"], imds_audit::simulator::Topology::Direct) else {
        return;
    };
    assert_secrets_stay(scene);
}

#[test]
fn no_secret_is_in_text() {
    let Some((scene, _)) = Scene::alone("text", &["--endpoint", super::SERVICE]) else { return };
    assert_secrets_stay(scene);
}
