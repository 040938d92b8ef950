//! The tree of metadata.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// The versions that `GET /` lists: a choice of those that the real service lists.
const VERSIONS: [&str; 18] = [
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
    "2011-01-01",
    "2011-05-01",
    "2012-01-12",
    "2014-02-25",
    "2016-09-02",
    "2018-09-24",
    "2020-10-27",
    "2021-03-23",
    "latest",
];

/// The secret values that the service hands out: obviously fake, and recognisable, so that a
/// test can search everything written for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// `AccessKeyId` of the role's credentials.
    pub access_key_id: String,
    /// `SecretAccessKey` of the role's credentials.
    pub secret_access_key: String,
    /// `Token` of the role's credentials.
    pub session_token: String,
    /// A value inside the user data.
    pub user_data: String,
    /// The signature of the identity document.
    pub signature: String,
}

impl Default for Secrets {
    fn default() -> Self {
        Self {
            access_key_id: "ASIAFAKECANARYKEYID0".to_owned(),
            secret_access_key: "fakeCanarySecretAccessKey+NotARealOne/00".to_owned(),
            session_token: "fakeCanarySessionToken/NotARealOne//////////AAAA==".to_owned(),
            user_data: "fake-canary-password-of-the-user-data".to_owned(),
            signature: "fakeCanarySignatureNotARealOne00==".to_owned(),
        }
    }
}

impl Secrets {
    /// Gives all of them, for a search.
    pub fn all(&self) -> [&str; 5] {
        [
            &self.access_key_id,
            &self.secret_access_key,
            &self.session_token,
            &self.user_data,
            &self.signature,
        ]
    }
}

/// What is found at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    /// Its `Content-Type`.
    pub(super) media_type: &'static str,
    /// Its bytes.
    pub(super) body: Vec<u8>,
}

/// The metadata that the service serves, the same under each version.
#[derive(Clone, Debug, Default)]
pub struct Content {
    leaves: BTreeMap<String, Vec<u8>>,
    listings: BTreeMap<String, String>,
}

/// The credentials document of a role, in the order of the real one.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials<'a> {
    code: &'static str,
    last_updated: &'static str,
    #[serde(rename = "Type")]
    kind: &'static str,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: &'static str,
}

impl Content {
    /// Makes the metadata of an instance with one role.
    pub fn sample(role: &str, secrets: &Secrets) -> Self {
        let mut content = Self::default();
        for (path, text) in METADATA {
            content.put(path, *text);
        }
        for (path, text) in IDENTITY {
            content.put(path, *text);
        }
        content.put("dynamic/instance-identity/signature", secrets.signature.as_str());
        content.put("dynamic/instance-identity/pkcs7", secrets.signature.as_str());
        content.put("dynamic/instance-identity/rsa2048", secrets.signature.as_str());
        content.put(
            "user-data",
            format!("#!/bin/sh\nexport DATABASE_PASSWORD={}\n", secrets.user_data),
        );
        let credentials = credentials(secrets);
        content
            .put(&format!("meta-data/iam/security-credentials/{role}"), credentials.as_str())
            .put(
                "meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
                credentials.as_str(),
            );
        content.listings.insert("meta-data/public-keys".into(), "0=sample-key".into());
        content
    }

    /// Adds or replaces a leaf. The path has no version and no slash at either end.
    pub fn put(&mut self, path: &str, body: impl Into<Vec<u8>>) -> &mut Self {
        self.leaves.insert(path.to_owned(), body.into());
        self
    }

    /// Finds what an HTTP path names: `None` if nothing.
    ///
    /// Slashes at the end and doubled ones make no difference, to a leaf neither: clients differ
    /// in this, and the service is known to tolerate it.
    pub(super) fn find(&self, path: &str) -> Option<Resource> {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let Some(version) = parts.next() else {
            return Some(text(VERSIONS.join("\n")));
        };
        if !VERSIONS.contains(&version) {
            return None;
        }
        let path = parts.collect::<Vec<_>>().join("/");
        if let Some(body) = self.leaves.get(&path) {
            let media_type =
                if path == "user-data" { "application/octet-stream" } else { "text/plain" };
            return Some(Resource { media_type, body: body.clone() });
        }
        self.listings.get(&path).cloned().or_else(|| self.list(&path)).map(text)
    }

    /// Lists the names below a path, those with more below them with a slash.
    fn list(&self, path: &str) -> Option<String> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let mut names = BTreeSet::new();
        for key in self.leaves.keys() {
            if let Some(rest) = key.strip_prefix(&prefix) {
                names.insert(match rest.split_once('/') {
                    // `/latest` lists its folders without a slash, deeper levels with one.
                    Some((name, _)) if path.is_empty() => name.to_owned(),
                    Some((name, _)) => format!("{name}/"),
                    None => rest.to_owned(),
                });
            }
        }
        (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join("\n"))
    }
}

fn text(body: String) -> Resource {
    Resource { media_type: "text/plain", body: body.into_bytes() }
}

fn credentials(secrets: &Secrets) -> String {
    serde_json::to_string_pretty(&Credentials {
        code: "Success",
        last_updated: "2026-01-01T00:00:00Z",
        kind: "AWS-HMAC",
        access_key_id: &secrets.access_key_id,
        secret_access_key: &secrets.secret_access_key,
        token: &secrets.session_token,
        expiration: "2036-01-01T00:00:00Z",
    })
    .unwrap_or_default()
}

const METADATA: &[(&str, &str)] = &[
    ("meta-data/ami-id", "ami-0123456789abcdef0"),
    ("meta-data/ami-launch-index", "0"),
    ("meta-data/block-device-mapping/root", "/dev/xvda"),
    ("meta-data/hostname", "ip-10-0-0-5.ec2.internal"),
    (
        "meta-data/iam/info",
        "{\n  \"Code\" : \"Success\",\n  \"LastUpdated\" : \"2026-01-01T00:00:00Z\",\n  \
         \"InstanceProfileArn\" : \"arn:aws:iam::123456789012:instance-profile/sample\",\n  \
         \"InstanceProfileId\" : \"AIPAFAKEPROFILEID000\"\n}",
    ),
    ("meta-data/instance-action", "none"),
    ("meta-data/instance-id", "i-0123456789abcdef0"),
    ("meta-data/instance-life-cycle", "on-demand"),
    ("meta-data/instance-type", "m5.large"),
    ("meta-data/local-hostname", "ip-10-0-0-5.ec2.internal"),
    ("meta-data/local-ipv4", "10.0.0.5"),
    ("meta-data/mac", "02:00:00:00:00:05"),
    ("meta-data/network/interfaces/macs/02:00:00:00:00:05/device-number", "0"),
    ("meta-data/network/interfaces/macs/02:00:00:00:00:05/local-ipv4s", "10.0.0.5"),
    ("meta-data/network/interfaces/macs/02:00:00:00:00:05/vpc-id", "vpc-0123456789abcdef0"),
    ("meta-data/placement/availability-zone", "us-east-1a"),
    ("meta-data/placement/region", "us-east-1"),
    ("meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAAfake sample-key"),
    ("meta-data/reservation-id", "r-0123456789abcdef0"),
    ("meta-data/security-groups", "default"),
    ("meta-data/services/domain", "amazonaws.com"),
    ("meta-data/services/partition", "aws"),
    ("meta-data/tags/instance/Name", "sample"),
];

const IDENTITY: &[(&str, &str)] = &[(
    "dynamic/instance-identity/document",
    "{\n  \"accountId\" : \"123456789012\",\n  \"architecture\" : \"x86_64\",\n  \
     \"availabilityZone\" : \"us-east-1a\",\n  \"imageId\" : \"ami-0123456789abcdef0\",\n  \
     \"instanceId\" : \"i-0123456789abcdef0\",\n  \"instanceType\" : \"m5.large\",\n  \
     \"pendingTime\" : \"2026-01-01T00:00:00Z\",\n  \"privateIp\" : \"10.0.0.5\",\n  \
     \"region\" : \"us-east-1\",\n  \"version\" : \"2017-09-30\"\n}",
)];

#[cfg(test)]
mod tests {
    use super::*;

    fn body(path: &str) -> Option<String> {
        let content = Content::sample("app", &Secrets::default());
        content.find(path).map(|resource| String::from_utf8(resource.body).unwrap())
    }

    #[test]
    fn a_leaf_is_found_under_each_version_and_with_a_slash_at_its_end() {
        for prefix in ["/latest", "/1.0", "/2009-04-04", "//2021-03-23"] {
            for suffix in ["", "/"] {
                let path = format!("{prefix}/meta-data/instance-id{suffix}");
                assert_eq!(body(&path).as_deref(), Some("i-0123456789abcdef0"), "{path}");
            }
        }
    }

    #[test]
    fn folders_are_listed() {
        assert!(body("/").unwrap().lines().any(|line| line == "2009-04-04"));
        assert_eq!(body("/latest").unwrap(), "dynamic\nmeta-data\nuser-data");
        assert_eq!(body("/latest/meta-data/iam/").unwrap(), "info\nsecurity-credentials/");
        assert_eq!(body("/latest/meta-data/iam/security-credentials/").unwrap(), "app");
        assert_eq!(body("/latest/meta-data/public-keys").unwrap(), "0=sample-key");
        assert_eq!(body("/latest/meta-data/public-keys/0/").unwrap(), "openssh-key");
    }

    #[test]
    fn other_clouds_and_unknown_paths_are_not_found() {
        for path in [
            "/computeMetadata/v1/",
            "/metadata/instance",
            "/opc/v2/instance/",
            "/openstack/latest/meta_data.json",
            "/latest/meta-data/instance-i",
            "/latest/meta-data/instance-id/more",
            "/2009-04-05/meta-data/",
            "/latest/api",
        ] {
            assert_eq!(body(path), None, "{path}");
        }
    }

    #[test]
    fn each_secret_is_served_somewhere() {
        let secrets = Secrets::default();
        let content = Content::sample("app", &secrets);
        let everything: Vec<u8> = content.leaves.values().flatten().copied().collect();
        let everything = String::from_utf8(everything).unwrap();
        for secret in secrets.all() {
            assert!(everything.contains(secret), "{secret}");
        }
    }
}
