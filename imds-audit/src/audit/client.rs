//! Recognises the software that makes a request, as a hint for people.
//!
//! A user agent proves nothing and is often absent (the JavaScript SDK v3 and many Rust clients
//! send none): no class ever depends on it.

use schemars::JsonSchema;
use serde::Serialize;

use super::limit::{self, bound};
use super::redact;

/// The software that a user agent names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Client {
    /// Its name, as the user agent writes it.
    pub name: String,
    /// Its version, if it gives one.
    pub version: Option<String>,
}

/// What is known of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The name in the user agent, ASCII case ignored.
    pub agent: &'static str,
    /// The version's first part, where one name stands for several lines of development.
    pub major: Option<&'static str>,
    /// How it speaks IMDSv2.
    pub support: Support,
}

/// How a client speaks IMDSv2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// By itself, from this version on.
    Since(&'static str),
    /// In every version.
    Always,
    /// Only if the script or program that uses it asks for a token and sends it.
    ByCaller,
}

/// The clients that are told apart, an application before the library it names behind it.
///
/// First versions: AWS, "Use a supported SDK version for IMDSv2" in the EC2 User Guide; for
/// cloud-init its history (4bc399e0c).
const KNOWN: [Known; 22] = [
    since("aws-cli", Some("1"), "1.16.289"),
    since("aws-cli", Some("2"), "2.0.0"),
    since("Boto3", None, "1.12.6"),
    since("Botocore", None, "1.13.25"),
    since("aws-sdk-java", Some("1"), "1.11.678"),
    since("aws-sdk-java", Some("2"), "2.10.21"),
    since("aws-sdk-go", None, "1.25.38"),
    since("aws-sdk-go-v2", None, "0.19.0"),
    since("aws-sdk-nodejs", None, "2.722.0"),
    since("aws-sdk-php", None, "3.147.7"),
    since("aws-sdk-ruby3", None, "3.79.0"),
    since("aws-sdk-cpp", None, "1.7.229"),
    since("aws-sdk-dotnet", None, "3.3.634.1"),
    since("Cloud-Init", None, "19.4"),
    Known { agent: "aws-sdk-rust", major: None, support: Support::Always },
    by_caller("curl"),
    by_caller("Wget"),
    by_caller("Python-urllib"),
    by_caller("python-requests"),
    by_caller("Go-http-client"),
    by_caller("Java"),
    by_caller("ureq"),
];

const fn since(agent: &'static str, major: Option<&'static str>, first: &'static str) -> Known {
    Known { agent, major, support: Support::Since(first) }
}

const fn by_caller(agent: &'static str) -> Known {
    Known { agent, major: None, support: Support::ByCaller }
}

impl Client {
    /// Reads the client from a user agent: its first product that is known, else its first.
    /// At most [`bound::USER_AGENT`] bytes are looked at.
    pub fn from_user_agent(user_agent: &[u8]) -> Option<Self> {
        let cut = user_agent.get(..bound::USER_AGENT).unwrap_or(user_agent);
        let clean = redact::text(cut);
        let mut products = clean.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let first = Self::product(products.next()?)?;
        if first.known().is_some() {
            return Some(first);
        }
        let later = products.filter_map(Self::product).find(|client| client.known().is_some());
        Some(later.unwrap_or(first))
    }

    /// Returns what is known of the client.
    pub fn known(&self) -> Option<&'static Known> {
        let major = self.version.as_deref().and_then(|version| version.split('.').next());
        KNOWN.iter().find(|known| {
            known.agent.eq_ignore_ascii_case(&self.name)
                && (known.major.is_none() || known.major == major)
        })
    }

    fn product(word: &[u8]) -> Option<Self> {
        let mut parts = word.splitn(2, |byte| *byte == b'/');
        let name = parts.next().filter(|name| !name.is_empty())?;
        let version = parts.next().filter(|version| !version.is_empty());
        Some(Self {
            name: limit::text(name, bound::NAME),
            version: version.map(|version| limit::text(version, bound::NAME)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(user_agent: &str) -> Option<(String, Option<String>)> {
        Client::from_user_agent(user_agent.as_bytes()).map(|client| (client.name, client.version))
    }

    #[test]
    fn user_agents_of_real_clients_are_read() {
        for (user_agent, name, version) in [
            ("curl/7.88.1", "curl", Some("7.88.1")),
            ("Wget/1.21.3", "Wget", Some("1.21.3")),
            ("Python-urllib/3.11", "Python-urllib", Some("3.11")),
            ("python-requests/2.7.0 CPython/3.8 Linux/5.10", "python-requests", Some("2.7.0")),
            ("Boto3/1.12.6 Python/3.11.7 Linux/6.1 Botocore/1.15.6", "Boto3", Some("1.12.6")),
            ("Botocore/1.10.34 Python/3.8 Linux/6.1", "Botocore", Some("1.10.34")),
            ("aws-cli/1.46.3 Python/3.11.7 exec-env/EC2 botocore/1.43", "aws-cli", Some("1.46.3")),
            ("aws-sdk-nodejs/2.574.0 linux/v20.20.2", "aws-sdk-nodejs", Some("2.574.0")),
            ("aws-sdk-java/1.11.375 Linux/6 OpenJDK", "aws-sdk-java", Some("1.11.375")),
            ("app/1 aws-sdk-go/1.25.0", "aws-sdk-go", Some("1.25.0")),
            ("Cloud-Init/19.3", "Cloud-Init", Some("19.3")),
            ("Go-http-client/1.1", "Go-http-client", Some("1.1")),
            ("own tool", "own", None),
        ] {
            assert_eq!(read(user_agent), Some((name.into(), version.map(Into::into))));
        }
        assert_eq!(read(" "), None);
    }

    #[test]
    fn two_lines_of_one_sdk_have_their_own_first_versions() {
        let support = |agent: &str| {
            Client::from_user_agent(agent.as_bytes()).and_then(|c| c.known()).map(|k| k.support)
        };
        assert_eq!(support("aws-sdk-java/1.7.4"), Some(Support::Since("1.11.678")));
        assert_eq!(support("aws-sdk-java/2.1.0"), Some(Support::Since("2.10.21")));
        assert_eq!(support("aws-sdk-java/3.1.0"), None);
        assert_eq!(support("curl/8"), Some(Support::ByCaller));
    }
}
