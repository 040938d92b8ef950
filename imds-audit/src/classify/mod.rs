//! Classification of requests by protocol version, from their bytes alone.

mod path;
mod traits;

use path::Path;
pub(crate) use traits::{Lifetime, Traits, forwarded_for, is_lifetime_header, misnamed};

use crate::event::{Class, Operation, Resource};

/// The header that carries a token, compared by its whole name with ASCII case ignored.
pub(crate) const TOKEN_HEADER: &[u8] = b"X-aws-ec2-metadata-token";

/// The classification of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The protocol.
    pub class: Class,
    /// The intent; `None` where the class is [`Class::Unknown`].
    pub operation: Option<Operation>,
    /// The kind of resource; `None` where the path is not EC2's or not known.
    pub resource: Option<Resource>,
}

impl Verdict {
    /// The verdict on a request whose header block was not seen.
    pub(crate) const UNKNOWN: Self =
        Self { class: Class::Unknown, operation: None, resource: None };
}

/// Classifies a request by its method, its target and its headers.
///
/// The token request comes first, then the token's header, whatever the path; only a request
/// without that header can be another cloud's. Of several token headers one that is not empty
/// makes the request IMDSv2. The method is compared with its case, as HTTP has it.
pub(crate) fn classify<'a>(
    method: &[u8],
    target: &[u8],
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Verdict {
    let path = Path::parse(target);
    let marks = Marks::collect(headers);
    if method == b"PUT" && path.is_token() {
        return Verdict {
            class: Class::V2Token,
            operation: Some(Operation::TokenRequest),
            resource: Some(Resource::Token),
        };
    }
    let class = match marks.token {
        Some(true) => Class::V2,
        Some(false) => Class::V2EmptyToken,
        None if path::is_foreign(&path, marks.foreign) => Class::Foreign,
        None => Class::V1,
    };
    let operation = match method {
        b"GET" | b"HEAD" => Operation::Read,
        _ => Operation::Other,
    };
    let resource = (class != Class::Foreign).then(|| path.resource());
    Verdict { class, operation: Some(operation), resource }
}

/// The headers that decide a request's class.
#[derive(Default)]
struct Marks {
    /// The token's header: absent, empty (`false`) or filled (`true`).
    token: Option<bool>,
    /// A header that only other clouds' protocols use.
    foreign: bool,
}

impl Marks {
    fn collect<'a>(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut marks = Self::default();
        for (name, value) in headers {
            if name.eq_ignore_ascii_case(TOKEN_HEADER) {
                let filled = !value.trim_ascii().is_empty();
                marks.token = Some(filled || marks.token == Some(true));
            } else if FOREIGN_HEADERS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
                marks.foreign = true;
            }
        }
        marks
    }
}

/// Headers that support, but never make, the verdict that a request is another cloud's:
/// Google and IBM, Azure, Akamai (twice), Alibaba, CloudStack.
const FOREIGN_HEADERS: [&[u8]; 6] = [
    b"Metadata-Flavor",
    b"Metadata",
    b"Metadata-Token",
    b"Metadata-Token-Expiry-Seconds",
    b"X-aliyun-ecs-metadata-token",
    b"DomU_Request",
];

#[cfg(test)]
mod tests;
