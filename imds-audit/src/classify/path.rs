//! A request's target as a path of the metadata service.

use crate::event::Resource;

/// Number of leading segments that are compared. The deepest path with a resource of its own
/// (`/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance`) has six.
const MAX_SEGMENTS: usize = 8;

/// A target's path, normalised for comparison only.
///
/// An absolute-form target loses its scheme and authority, every target its query. Percent
/// escapes are decoded once, an escaped slash included; empty and `.` segments are dropped and
/// `..` is followed. So no spelling of an EC2 path can pass for another cloud's, whichever of
/// them the service understands. Case is kept: the service's paths have it.
#[derive(Debug)]
pub(super) struct Path {
    /// The leading segments, at most [`MAX_SEGMENTS`].
    segments: Vec<Vec<u8>>,
    /// Whether the query has a parameter `api-version`.
    api_version: bool,
    /// Whether the path ends in a slash behind a segment.
    trailing_slash: bool,
    /// Whether the target has a fragment, which no client sends (RFC 9110, section 7.1): there are
    /// servers that take it for a part of the path.
    fragment: bool,
}

impl Path {
    /// Reads a target.
    pub(super) fn parse(target: &[u8]) -> Self {
        let target = without_authority(target);
        let whole = target;
        let target = before(whole, b'#');
        let path = before(target, b'?');
        let query = target.get(path.len() + 1..).unwrap_or_default();
        let api_version =
            query.split(|byte| *byte == b'&').any(|pair| before(pair, b'=') == b"api-version");
        let fragment = target.len() < whole.len();
        let trailing_slash = path.len() > 1 && path.ends_with(b"/");
        Self { segments: segments(path), api_version, trailing_slash, fragment }
    }

    /// Returns whether this is the token path: also dated, and also with a slash at its end.
    pub(super) fn is_token(&self) -> bool {
        matches!(self.below_version(), Some([api, token]) if api == b"api" && token == b"token")
    }

    /// Returns whether the path ends in a slash behind a segment.
    pub(super) fn has_trailing_slash(&self) -> bool {
        self.trailing_slash
    }

    /// Returns whether the path starts with a version of the service.
    pub(super) fn has_version(&self) -> bool {
        self.below_version().is_some()
    }

    /// Returns whether its version is a date or `1.0` rather than `latest`.
    pub(super) fn is_dated(&self) -> bool {
        self.has_version() && self.segment(0) != b"latest"
    }

    /// Returns whether the path is the list of a role's or the instance's own credentials, or
    /// below it.
    pub(super) fn is_below_credentials(&self) -> bool {
        self.segments.iter().any(|segment| {
            segment == b"security-credentials" || segment == b"security-credentials-extended"
        })
    }

    /// Returns the group that the path belongs to.
    pub(super) fn resource(&self) -> Resource {
        let Some(below) = self.below_version() else {
            return Resource::Metadata;
        };
        let names: Vec<&[u8]> = below.iter().map(Vec::as_slice).collect();
        match names.as_slice() {
            [b"api", b"token"] => Resource::Token,
            [
                b"meta-data",
                b"iam",
                b"security-credentials" | b"security-credentials-extended",
                _,
                ..,
            ]
            | [b"meta-data", b"identity-credentials", _, b"security-credentials", _, ..] => {
                Resource::Credentials
            }
            [b"dynamic", b"instance-identity", _, ..] => Resource::Identity,
            [b"user-data", ..] => Resource::UserData,
            _ => Resource::Metadata,
        }
    }

    /// Returns the segments after the version, `None` if the path has no version.
    fn below_version(&self) -> Option<&[Vec<u8>]> {
        let (first, rest) = self.segments.split_first()?;
        is_version(first).then_some(rest)
    }

    fn segment(&self, index: usize) -> &[u8] {
        self.segments.get(index).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Returns whether a path is another cloud's. `header` is whether the request has a header that only
/// other clouds use.
///
/// Only paths that EC2 does not have count (from cloud-init's data sources): a path that could
/// be EC2's never does, whatever the headers.
pub(super) fn is_foreign(path: &Path, header: bool) -> bool {
    // `/opc#/../latest/…` may be EC2's.
    if path.fragment {
        return false;
    }
    match (path.segment(0), path.segment(1)) {
        // Oracle; Google; Hetzner; OpenStack; Vultr.
        (b"opc" | b"computeMetadata" | b"hetzner" | b"openstack" | b"v1.json", _) => true,
        // DigitalOcean and UpCloud, IBM.
        (b"metadata", b"v1" | b"v1.json") => true,
        // Azure.
        (b"metadata", _) => path.api_version || header,
        // Akamai.
        (b"v1", b"token" | b"instance" | b"network" | b"ssh-keys" | b"user-data") => true,
        // NWCS.
        (b"api", b"v1") => true,
        // Akamai and IBM, recognised by their headers.
        (b"v1" | b"instance_identity", _) => header,
        _ => false,
    }
}

/// Returns whether a segment is a version: `latest`, `1.0` or a date.
fn is_version(segment: &[u8]) -> bool {
    segment == b"latest"
        || segment == b"1.0"
        || (segment.len() == 10
            && segment.iter().enumerate().all(|(index, byte)| match index {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            }))
}

/// Returns what follows the scheme and authority of an absolute-form target.
fn without_authority(target: &[u8]) -> &[u8] {
    if target.starts_with(b"/") {
        return target;
    }
    let Some(colon) = target.windows(3).position(|window| window == b"://") else {
        return target;
    };
    if !target.iter().take(colon).all(u8::is_ascii_alphanumeric) {
        return target;
    }
    let rest = target.get(colon + 3..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    end.and_then(|end| rest.get(end..)).unwrap_or_default()
}

/// Returns the bytes before the first `mark`, or all of them if there is none.
fn before(bytes: &[u8], mark: u8) -> &[u8] {
    bytes.split(|byte| *byte == mark).next().unwrap_or_default()
}

/// Splits a path at its slashes after decoding it once.
fn segments(path: &[u8]) -> Vec<Vec<u8>> {
    let decoded = decode(path);
    let mut depth = 0_usize;
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in decoded.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                depth = depth.saturating_sub(1);
                segments.truncate(depth);
            }
            name => {
                if depth < MAX_SEGMENTS {
                    segments.push(name.to_vec());
                }
                depth += 1;
            }
        }
    }
    segments
}

fn decode(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        let escape = match tail {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
