//! Peculiarities of a request's head that explain its class or the refusal of a token request.

use std::net::{IpAddr, SocketAddr};

use super::path::Path;
use super::{FOREIGN_HEADERS, TOKEN_HEADER};

/// The shortest and the longest header name that are compared with the token's, in bytes.
const MIN_NAME: usize = 12;
const MAX_NAME: usize = 48;
/// The most single-letter edits between the token header's name and a name that was meant to be it.
const MAX_EDITS: usize = 4;
/// The token header's name without what is neither a letter nor a digit, in lower case.
const TOKEN_NAME: &str = "xawsec2metadatatoken";
/// The same of the header for the lifetime that a token request sets.
const TTL_NAME: &str = "xawsec2metadatatokenttlseconds";
/// The lifetimes that the service accepts, in seconds (EC2 User Guide, "How Instance Metadata
/// Service Version 2 works").
const LIFETIMES: std::ops::RangeInclusive<u32> = 1..=21_600;

/// Peculiarities of a request's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traits {
    /// The name of a header that was meant to carry a token, where the token's own is absent.
    pub misnamed_header: Option<String>,
    /// Whether a header is there that only other clouds' protocols use, on a path that EC2 does
    /// not have.
    pub is_other_clouds: bool,
    /// Whether the path is the token path, whatever the method.
    pub is_token_path: bool,
    /// Whether the path names one of the roles' or the instance's own credentials, or their list.
    pub is_credentials_path: bool,
    /// Whether the path ends in a slash.
    pub has_trailing_slash: bool,
    /// Whether the path's version is a date.
    pub is_dated: bool,
    /// Whether the request was forwarded (`X-Forwarded-For`).
    pub is_forwarded: bool,
    /// The lifetime that it sets for a token.
    pub lifetime: Lifetime,
    /// Whether it expects an interim response (`Expect`).
    pub has_expect: bool,
    /// Whether it names its host.
    pub has_host: bool,
}

/// The lifetime that a token request sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// The header is absent.
    #[default]
    Absent,
    /// It is not a number of seconds that the service accepts.
    Invalid,
    /// It is one.
    Valid,
}

impl Traits {
    /// Reads the peculiarities of a head.
    pub(crate) fn of<'a>(
        target: &[u8],
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Self {
        let path = Path::parse(target);
        let mut traits = Self {
            is_token_path: path.is_token(),
            is_credentials_path: path.is_below_credentials(),
            has_trailing_slash: path.has_trailing_slash(),
            is_dated: path.is_dated(),
            ..Self::default()
        };
        let mut has_token_header = false;
        let mut has_foreign_header = false;
        let mut is_alibabas = false;
        for (name, value) in headers {
            let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
            if is(TOKEN_HEADER) {
                has_token_header = true;
            } else if is(TTL_HEADER) && traits.is_token_path {
                traits.lifetime = lifetime(value);
            } else if FOREIGN_HEADERS.iter().any(|known| is(known)) {
                has_foreign_header = true;
                is_alibabas |= is(b"X-aliyun-ecs-metadata-token");
            } else if is(b"X-Forwarded-For") {
                traits.is_forwarded = true;
            } else if is(b"Expect") {
                traits.has_expect = true;
            } else if is(b"Host") {
                traits.has_host = true;
            } else if traits.misnamed_header.is_none()
                && !value.trim_ascii().is_empty()
                && let Some(name) = misnamed(name)
            {
                traits.misnamed_header = Some(name);
            }
        }
        if has_token_header || traits.is_token_path {
            traits.misnamed_header = None;
        }
        traits.is_other_clouds = is_alibabas || (has_foreign_header && !path.has_version());
        traits
    }
}

/// The header for a token's lifetime.
const TTL_HEADER: &[u8] = b"X-aws-ec2-metadata-token-ttl-seconds";

/// Returns a header's name where it was meant to be the token's: with a letter too many or too
/// few, without `X-`, with a blank or a quote in it, or the one for a lifetime.
///
/// A name that differs by a few letters has no room for a token, so it can be shown.
pub(crate) fn misnamed(name: &[u8]) -> Option<String> {
    if !(MIN_NAME..=MAX_NAME).contains(&name.len()) || name.eq_ignore_ascii_case(TOKEN_HEADER) {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?;
    let is_shown =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ' | '"' | '\'');
    if !name.chars().all(is_shown) {
        return None;
    }
    let letters: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    let is_near = letters == TTL_NAME
        || (letters.contains("token")
            && ["aws", "ec2"].iter().any(|part| letters.contains(part))
            && !letters.contains("aliyun")
            && edits(&letters, TOKEN_NAME) <= MAX_EDITS);
    is_near.then(|| name.to_owned())
}

/// Returns the address for which a relay sent a request: the last entry of `X-Forwarded-For`,
/// which is the relay's own; earlier ones are what its caller said.
pub(crate) fn forwarded_for<'a>(
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Option<IpAddr> {
    let values = headers.filter(|(name, _)| name.eq_ignore_ascii_case(b"X-Forwarded-For"));
    let (_, value) = values.last()?;
    let entry = std::str::from_utf8(value.rsplit(|byte| *byte == b',').next()?).ok()?.trim();
    let socket = || entry.parse().ok().map(|socket: SocketAddr| socket.ip());
    entry.parse().ok().or_else(socket)
}

/// Returns whether a header's name, as a caller wrote it, is the lifetime's.
pub(crate) fn is_lifetime_header(name: &str) -> bool {
    name.as_bytes().eq_ignore_ascii_case(TTL_HEADER)
}

fn lifetime(value: &[u8]) -> Lifetime {
    let seconds = std::str::from_utf8(value.trim_ascii()).ok().and_then(|text| text.parse().ok());
    match seconds {
        Some(seconds) if LIFETIMES.contains(&seconds) => Lifetime::Valid,
        _ => Lifetime::Invalid,
    }
}

/// Returns the Levenshtein distance of two short texts.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut last = i + 1;
        if let Some(first) = row.first_mut() {
            *first = last;
        }
        for (cell, right) in row.iter_mut().skip(1).zip(b.bytes()) {
            let replaced = diagonal + usize::from(left != right);
            diagonal = *cell;
            last = replaced.min(diagonal + 1).min(last + 1);
            *cell = last;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits(target: &str, headers: &[(&str, &str)]) -> Traits {
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        Traits::of(target.as_bytes(), headers)
    }

    fn misnamed_in(headers: &[(&str, &str)]) -> Option<String> {
        traits("/latest/meta-data/", headers).misnamed_header
    }

    #[test]
    fn a_header_that_was_meant_to_be_the_tokens_is_named() {
        for name in [
            "X-aws-metadata-token",
            "aws-ec2-metadata-token",
            "X-ec2-metadata-token",
            "ec2-metadata-token",
            "X-aws-ec2-metadata-token ",
            "X-aws-ec2-metadata-tokens",
            "X_aws_ec2_metadata_token",
            "XX-aws-ec2-metadata-token",
            "X-aws-ec2-meta-data-token",
            "X-aws-ec2-metdata-token",
            "X-aws-ec2-token",
            "\"X-aws-ec2-metadata-token",
            "X-aws-ec2-metadata-token-ttl-seconds",
            "X-amz-ec2-metadata-token",
            "X-aws-ec2-metadata_token",
            "x-aws-ec2-metadatatoken",
            "X-AWS-EC2-MetaData-Token-",
            "X-aws-ecs-metadata-token",
            "'X-aws-ec2-metadata-token",
        ] {
            let found = misnamed_in(&[("Host", "x"), (name, "t")]);
            let is_far = name == "X-aws-ec2-token";
            assert_eq!(found.as_deref(), (!is_far).then_some(name), "{name}");
        }
    }

    #[test]
    fn other_headers_are_not_taken_for_it() {
        for name in [
            "X-aws-ec2-metadata-token",
            "Metadata-Token",
            "X-aliyun-ecs-metadata-token",
            "X-Amz-Security-Token",
            "X-Vault-Token",
            "Authorization",
            "Token",
            "X-aws-ec2-metadata-token AQAEsecretsecretsecretsecret==",
            "X-aws-ec2-metadata-token\u{202e}",
        ] {
            assert_eq!(misnamed_in(&[(name, "t")]), None, "{name}");
        }
        assert_eq!(misnamed_in(&[("X-aws-metadata-token", " ")]), None);
        let both = [("X-aws-metadata-token", "t"), ("X-aws-ec2-metadata-token", "t")];
        assert_eq!(misnamed_in(&both), None);
    }

    #[test]
    fn a_probe_of_another_cloud_has_its_header_and_no_path_of_ec2() {
        for (target, name, value, expected) in [
            ("/", "Metadata-Flavor", "Google", true),
            ("", "metadata-flavor", "Google", true),
            ("/favicon.ico", "Metadata", "true", true),
            ("/latest/meta-data/", "Metadata-Flavor", "Google", false),
            ("/2021-03-23/", "Metadata", "true", false),
            ("/latest/meta-data/", "X-aliyun-ecs-metadata-token", "t", true),
            ("/", "Host", "169.254.169.254", false),
        ] {
            let found = traits(target, &[(name, value)]).is_other_clouds;
            assert_eq!(found, expected, "{target} {name}");
        }
    }

    #[test]
    fn the_faults_of_a_token_request_are_seen() {
        let ttl = "X-aws-ec2-metadata-token-ttl-seconds";
        let good = traits("/latest/api/token", &[("Host", "x"), (ttl, "21600")]);
        let expected = Traits {
            is_token_path: true,
            lifetime: Lifetime::Valid,
            has_host: true,
            ..Traits::default()
        };
        assert_eq!(good, expected);
        for value in ["0", "21601", "", "1h", "-1"] {
            let found = traits("/latest/api/token", &[(ttl, value)]).lifetime;
            assert_eq!(found, Lifetime::Invalid, "{value}");
        }
        let bad = traits(
            "/2021-03-23/api/token/",
            &[("x-forwarded-for", "10.0.0.1"), ("Expect", "100-continue")],
        );
        assert!(bad.has_trailing_slash && bad.is_dated && bad.is_forwarded && bad.has_expect);
        assert!(!bad.has_host && bad.lifetime == Lifetime::Absent);
    }

    #[test]
    fn the_address_that_was_forwarded_for_is_the_last_and_a_valid_one() {
        for (values, expected) in [
            (&["10.0.0.7"][..], Some("10.0.0.7")),
            (&["1.2.3.4, 10.0.0.7"], Some("10.0.0.7")),
            (&["1.2.3.4", " fd00::1 "], Some("fd00::1")),
            (&["10.0.0.7:4711"], Some("10.0.0.7")),
            (&["[fd00::1]:80"], Some("fd00::1")),
            (&["unknown"], None),
            (&["10.0.0.7, <script>"], None),
            (&["secret-token"], None),
            (&[""], None),
            (&[], None),
        ] {
            let headers = values.iter().map(|value| (&b"x-forwarded-for"[..], value.as_bytes()));
            let found = forwarded_for(headers).map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{values:?}");
        }
    }

    #[test]
    fn edits_are_counted() {
        for (a, b, expected) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(edits(a, b), expected, "{a} {b}");
        }
    }
}
