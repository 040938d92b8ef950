use super::*;
use crate::event::{Outcome, Version};

type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);

fn verdict(method: &str, target: &str, headers: &[(&str, &str)]) -> Verdict {
    let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    classify(method.as_bytes(), target.as_bytes(), headers)
}

fn described(verdict: Verdict) -> String {
    let resource = verdict.resource.map_or("-", Resource::name);
    let operation = match verdict.operation {
        Some(Operation::TokenRequest) => "token-request",
        Some(Operation::Read) => "read",
        Some(Operation::Other) => "other",
        None => "-",
    };
    format!("{} {operation} {resource}", verdict.class)
}

const TOKEN: &[(&str, &str)] = &[("X-aws-ec2-metadata-token", "AQAEsecret==")];
const EMPTY: &[(&str, &str)] = &[("X-aws-ec2-metadata-token", "")];
const TTL: &[(&str, &str)] = &[("X-aws-ec2-metadata-token-ttl-seconds", "21600")];
const NONE: &[(&str, &str)] = &[];

const ROWS: &[Row] = &[
    // The token request.
    ("PUT", "/latest/api/token", TTL, "v2-token token-request token"),
    ("PUT", "/latest/api/token", NONE, "v2-token token-request token"),
    ("PUT", "/latest/api/token/", TTL, "v2-token token-request token"),
    ("PUT", "/2021-03-23/api/token", TTL, "v2-token token-request token"),
    ("PUT", "/1.0/api/token", TTL, "v2-token token-request token"),
    ("PUT", "//latest//api/token", TTL, "v2-token token-request token"),
    ("PUT", "/%6Catest/api/token", TTL, "v2-token token-request token"),
    ("PUT", "/latest/api/token?x=1", TTL, "v2-token token-request token"),
    ("PUT", "/latest/api/token#x", TTL, "v2-token token-request token"),
    ("PUT", "http://169.254.169.254/latest/api/token", TTL, "v2-token token-request token"),
    ("PUT", "/latest/api/token", TOKEN, "v2-token token-request token"),
    ("PUT", "/latest/api/token", &[("X-Forwarded-For", "1.2.3.4")], "v2-token token-request token"),
    (
        "PUT",
        "/latest/api/token",
        &[("X-aliyun-ecs-metadata-token-ttl-seconds", "1")],
        "v2-token token-request token",
    ),
    ("put", "/latest/api/token", TTL, "v1 other token"),
    ("POST", "/latest/api/token", TTL, "v1 other token"),
    ("GET", "/latest/api/token", NONE, "v1 read token"),
    ("GET", "/latest/api/token", TTL, "v1 read token"),
    ("PUT", "/latest/api/tokens", TTL, "v1 other metadata"),
    ("PUT", "/latest/api/token/x", TTL, "v1 other metadata"),
    ("PUT", "/api/token", TTL, "v1 other metadata"),
    ("PUT", "/LATEST/api/token", TTL, "v1 other metadata"),
    // A token.
    ("GET", "/latest/meta-data/", TOKEN, "v2 read metadata"),
    ("HEAD", "/latest/meta-data/", TOKEN, "v2 read metadata"),
    ("GET", "/latest/meta-data/", &[("x-aws-ec2-metadata-token", "t")], "v2 read metadata"),
    ("GET", "/latest/meta-data/", &[("X-AWS-EC2-METADATA-TOKEN", "t")], "v2 read metadata"),
    ("GET", "/latest/meta-data/", &[("X-Aws-Ec2-Metadata-Token", " t ")], "v2 read metadata"),
    ("GET", "/2009-04-04/user-data", TOKEN, "v2 read user-data"),
    ("GET", "/opc/v2/instance", TOKEN, "v2 read metadata"),
    ("DELETE", "/latest/meta-data/", TOKEN, "v2 other metadata"),
    (
        "GET",
        "/latest/meta-data/",
        &[("X-aws-ec2-metadata-token", ""), ("X-aws-ec2-metadata-token", "t")],
        "v2 read metadata",
    ),
    (
        "GET",
        "/latest/meta-data/",
        &[("X-aws-ec2-metadata-token", "t"), ("X-aws-ec2-metadata-token", "")],
        "v2 read metadata",
    ),
    // An empty token.
    ("GET", "/latest/meta-data/", EMPTY, "v2-empty-token read metadata"),
    (
        "GET",
        "/latest/meta-data/",
        &[("X-aws-ec2-metadata-token", " \t")],
        "v2-empty-token read metadata",
    ),
    (
        "GET",
        "/latest/meta-data/",
        &[("X-aws-ec2-metadata-token", ""), ("X-aws-ec2-metadata-token", "")],
        "v2-empty-token read metadata",
    ),
    // Never a part of a name, of a value or of a target.
    ("GET", "/latest/meta-data/", TTL, "v1 read metadata"),
    ("GET", "/latest/meta-data/", &[("X-aws-ec2-metadata-tokens", "t")], "v1 read metadata"),
    ("GET", "/latest/meta-data/", &[("My-X-aws-ec2-metadata-token", "t")], "v1 read metadata"),
    ("GET", "/latest/meta-data/", &[("X-aws-ec2-metadata-token ", "t")], "v1 read metadata"),
    ("GET", "/latest/meta-data/", &[("X_aws_ec2_metadata_token", "t")], "v1 read metadata"),
    (
        "GET",
        "/latest/meta-data/",
        &[("User-Agent", "X-aws-ec2-metadata-token: t")],
        "v1 read metadata",
    ),
    ("GET", "/latest/meta-data/?X-aws-ec2-metadata-token=t", NONE, "v1 read metadata"),
    ("GET", "/latest/meta-data/", &[("X-aliyun-ecs-metadata-token", "t")], "v1 read metadata"),
    // IMDSv1.
    ("GET", "/", NONE, "v1 read metadata"),
    ("GET", "/latest", NONE, "v1 read metadata"),
    ("GET", "/latest/dynamic/", NONE, "v1 read metadata"),
    ("GET", "/favicon.ico", NONE, "v1 read metadata"),
    ("GET", "", NONE, "v1 read metadata"),
    ("OPTIONS", "*", NONE, "v1 other metadata"),
    ("CONNECT", "169.254.169.254:80", NONE, "v1 other metadata"),
    ("BREW", "/latest/meta-data/", NONE, "v1 other metadata"),
    ("GET", "/latest/meta-data/", &[("Metadata", "true")], "v1 read metadata"),
    ("GET", "/latest/meta-data/", &[("Metadata-Flavor", "Google")], "v1 read metadata"),
    ("GET", "/", &[("Metadata-Flavor", "Google")], "v1 read metadata"),
    ("GET", "/latest/meta-data/?api-version=1", &[("Metadata", "true")], "v1 read metadata"),
    ("GET", "/metadata/", NONE, "v1 read metadata"),
    ("GET", "/opc/../latest/user-data", NONE, "v1 read user-data"),
    ("GET", "/opc#/../latest/user-data", NONE, "v1 read metadata"),
    ("GET", "/latest/user-data#x", NONE, "v1 read user-data"),
    ("PUT", "/latest/api/token#x", NONE, "v2-token token-request token"),
    ("GET", "/opc/%2e%2e/latest/user-data", NONE, "v1 read user-data"),
    ("GET", "/opc%2f..%2flatest/user-data", NONE, "v1 read user-data"),
    ("GET", "/../../latest/user-data", NONE, "v1 read user-data"),
    (
        "GET",
        "/a/b/c/d/e/f/g/h/i/j/../../../../../../../../../../latest/user-data",
        NONE,
        "v1 read user-data",
    ),
    ("GET", "/opcode", NONE, "v1 read metadata"),
    ("GET", "/%zz%", NONE, "v1 read metadata"),
    // Resources.
    ("GET", "/latest/meta-data/iam/security-credentials", NONE, "v1 read metadata"),
    ("GET", "/latest/meta-data/iam/security-credentials/", NONE, "v1 read metadata"),
    ("GET", "/latest/meta-data/iam/security-credentials/app", NONE, "v1 read credentials"),
    ("GET", "/latest/meta-data/iam/security-credentials/app/", NONE, "v1 read credentials"),
    ("GET", "/latest//meta-data//iam/security-credentials//app", NONE, "v1 read credentials"),
    ("GET", "/2021-03-23/meta-data/iam/security-credentials/app", NONE, "v1 read credentials"),
    ("GET", "/latest/meta-data/iam/security-credentials-extended/", NONE, "v1 read metadata"),
    ("GET", "/latest/meta-data/iam/security-credentials-extended/a", NONE, "v1 read credentials"),
    ("GET", "/latest/meta-data/iam/info", NONE, "v1 read metadata"),
    (
        "GET",
        "/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
        NONE,
        "v1 read credentials",
    ),
    ("GET", "/latest/meta-data/identity-credentials/ec2/info", NONE, "v1 read metadata"),
    ("GET", "/latest/meta-data/%69am/security-credentials/a", NONE, "v1 read credentials"),
    (
        "GET",
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/a",
        NONE,
        "v1 read credentials",
    ),
    (
        "GET",
        "HTTP://instance-data.ec2.internal:80/latest/user-data?x=/opc/",
        NONE,
        "v1 read user-data",
    ),
    ("GET", "/latest/dynamic/instance-identity/document", NONE, "v1 read identity"),
    ("GET", "/latest/dynamic/instance-identity/", NONE, "v1 read metadata"),
    ("GET", "/latest/user-data", NONE, "v1 read user-data"),
    ("GET", "/latest/user-data/", NONE, "v1 read user-data"),
    ("GET", "/latest/user-database", NONE, "v1 read metadata"),
    // Other clouds.
    ("GET", "/opc/v1/instance/", &[("Authorization", "Bearer Oracle")], "foreign read -"),
    ("GET", "/opc/v2/", NONE, "foreign read -"),
    ("GET", "/computeMetadata/v1/", &[("Metadata-Flavor", "Google")], "foreign read -"),
    ("GET", "/computeMetadata/v1/", NONE, "foreign read -"),
    ("GET", "http://metadata.google.internal/computeMetadata/v1/", NONE, "foreign read -"),
    ("GET", "/metadata/instance?api-version=2021-02-01", &[("Metadata", "true")], "foreign read -"),
    ("GET", "/metadata/instance?format=json&api-version=1", NONE, "foreign read -"),
    ("GET", "/metadata/versions", &[("Metadata", "true")], "foreign read -"),
    ("GET", "/metadata/v1.json", NONE, "foreign read -"),
    ("GET", "/metadata/v1/id", NONE, "foreign read -"),
    ("GET", "/hetzner/v1/metadata", NONE, "foreign read -"),
    ("GET", "/openstack/latest/meta_data.json", NONE, "foreign read -"),
    ("GET", "/openstack", NONE, "foreign read -"),
    ("GET", "/v1.json", NONE, "foreign read -"),
    ("GET", "/api/v1/metadata", NONE, "foreign read -"),
    ("PUT", "/v1/token", &[("Metadata-Token-Expiry-Seconds", "60")], "foreign other -"),
    ("GET", "/v1/instance", &[("Metadata-Token", "t")], "foreign read -"),
    ("PUT", "/instance_identity/v1/token", &[("Metadata-Flavor", "ibm")], "foreign other -"),
];

#[test]
fn every_row_has_its_verdict() {
    assert!(ROWS.len() >= 60);
    for (method, target, headers, expected) in ROWS {
        let found = described(verdict(method, target, headers));
        assert_eq!(&found, expected, "{method} {target} {headers:?}");
    }
}

#[test]
fn a_version_follows_from_the_class() {
    let versions = Class::ALL.map(|class| class.version().map(Version::number));
    assert_eq!(versions, [Some(1), Some(2), Some(2), Some(2), None, None]);
}

#[test]
fn names_are_those_that_events_carry() {
    for class in Class::ALL {
        assert_eq!(serde_json::to_value(class).unwrap(), class.name());
    }
    for outcome in [200, 401, 403, 404, 405, 418, 500].map(Outcome::of_status) {
        assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
    }
}

#[test]
fn every_status_has_its_outcome() {
    for (status, outcome) in [
        (100, Outcome::Unobserved),
        (200, Outcome::Served),
        (204, Outcome::Served),
        (301, Outcome::Redirected),
        (400, Outcome::ClientError),
        (401, Outcome::Rejected),
        (403, Outcome::Forbidden),
        (404, Outcome::NotFound),
        (405, Outcome::RefusedMethod),
        (429, Outcome::ClientError),
        (503, Outcome::ServerError),
        (0, Outcome::ServerError),
        (999, Outcome::ServerError),
    ] {
        assert_eq!(Outcome::of_status(status), outcome, "{status}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(method: Vec<u8>, target: Vec<u8>, name: Vec<u8>, value: Vec<u8>) {
        let headers = [(name.as_slice(), value.as_slice())];
        classify(&method, &target, headers.into_iter());
    }

    #[test]
    fn a_request_without_the_header_is_never_version_2(target: Vec<u8>, name in "[a-zA-Z-]{0,30}") {
        proptest::prop_assume!(!name.eq_ignore_ascii_case("x-aws-ec2-metadata-token"));
        let headers = [(name.as_bytes(), b"t".as_slice())];
        let verdict = classify(b"GET", &target, headers.into_iter());
        proptest::prop_assert_ne!(verdict.class.version(), Some(Version::V2));
    }
}
