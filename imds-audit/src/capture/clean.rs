//! Header blocks without their secrets, byte for byte in the same places.
//!
//! What stays is listed: the names of known headers, and the values of those that hold no secret,
//! which are searched for secrets all the same. Everything else is overwritten.

use std::ops::Range;

use crate::audit::token::TokenHasher;
use crate::classify::{self, TOKEN_HEADER};
use crate::flow::{RequestHead, ResponseHead};
use crate::redact::{self, Known, OVERWRITTEN};

/// Names of headers that stay, with whether the value does too.
const HEADERS: [(&[u8], bool); 44] = [
    (b"Accept", true),
    (b"Accept-Encoding", true),
    (b"Accept-Language", true),
    (b"Accept-Ranges", true),
    (b"Allow", true),
    (b"amz-sdk-invocation-id", false),
    (b"amz-sdk-request", true),
    (b"Authorization", false),
    (b"Cache-Control", true),
    (b"Connection", true),
    (b"Content-Length", true),
    (b"Content-Type", true),
    (b"Cookie", false),
    (b"Date", true),
    (b"DomU_Request", true),
    (b"Etag", true),
    (b"Expect", true),
    (b"Host", true),
    (b"Keep-Alive", true),
    (b"Last-Modified", true),
    (b"Location", false),
    (b"Metadata", true),
    (b"Metadata-Flavor", true),
    (b"Metadata-Token", false),
    (b"Metadata-Token-Expiry-Seconds", true),
    (b"Origin", true),
    (b"Pragma", true),
    (b"Proxy-Authorization", false),
    (b"Proxy-Connection", true),
    (b"Range", true),
    (b"Referer", false),
    (b"Retry-After", true),
    (b"Server", true),
    (b"Set-Cookie", false),
    (b"TE", true),
    (b"traceparent", true),
    (b"Transfer-Encoding", true),
    (b"Upgrade", true),
    (b"User-Agent", true),
    (b"Via", true),
    (b"WWW-Authenticate", false),
    (b"X-aliyun-ecs-metadata-token", false),
    (b"X-aws-ec2-metadata-token-ttl-seconds", true),
    (b"X-Forwarded-For", true),
];

/// The longest method that stays.
const MAX_METHOD: usize = 16;

/// Returns the header block of a request without its secrets. Tokens are replaced by a keyed hash,
/// so that one token is recognised in two requests.
pub(super) fn request(raw: &[u8], head: &RequestHead, hasher: &TokenHasher) -> Vec<u8> {
    let secrets = Known::of_headers(head.headers());
    let mut clean = raw.to_vec();
    let mut is_first = true;
    for line in lines(raw) {
        if line.is_empty() {
            continue;
        }
        if std::mem::take(&mut is_first) {
            request_line(&mut clean, line, &secrets);
        } else {
            field(&mut clean, line, &secrets, Some(hasher));
        }
    }
    clean
}

/// Returns the beginning of a request that was cut before its header block ended: its method and
/// nothing else, or zeros if it is no request's.
pub(super) fn cut_request(raw: &[u8]) -> Vec<u8> {
    let start = raw.iter().position(|byte| !is_line_end(*byte)).unwrap_or(raw.len());
    let method = method(raw.get(start..).unwrap_or_default());
    if method == 0 {
        return vec![0; raw.len()];
    }
    let keep = |(place, byte): (usize, &u8)| match byte {
        byte if place <= start + method || is_line_end(*byte) => *byte,
        _ => OVERWRITTEN,
    };
    raw.iter().enumerate().map(keep).collect()
}

/// Returns a segment of a response without its secrets and without what is behind its header block.
/// A segment that begins elsewhere than with a status line keeps the shape of its lines only.
pub(super) fn response(payload: &[u8]) -> Vec<u8> {
    if !payload.starts_with(b"HTTP/1.") {
        let shape = |byte: &u8| if is_line_end(*byte) { *byte } else { OVERWRITTEN };
        return payload.iter().map(shape).collect();
    }
    let end = head_length(payload).unwrap_or(payload.len());
    let mut clean = payload.get(..end).unwrap_or_default().to_vec();
    let secrets = Known::default();
    for (number, line) in lines(payload.get(..end).unwrap_or_default()).enumerate() {
        if number == 0 {
            status_line(&mut clean, line);
        } else if !line.is_empty() {
            field(&mut clean, line, &secrets, None);
        }
    }
    clean
}

/// Returns the length of the body that a response's header block names.
pub(super) fn body_length(payload: &[u8]) -> Option<u32> {
    let head = ResponseHead::parse(payload)?;
    let (_, length) =
        head.headers().find(|(name, _)| name.eq_ignore_ascii_case(b"Content-Length"))?;
    std::str::from_utf8(length).ok()?.trim().parse().ok()
}

/// Returns the length of a header block with its blank line; `None` if that is not there. Empty lines
/// before a request line belong to it.
pub(super) fn head_length(bytes: &[u8]) -> Option<usize> {
    let start = bytes.iter().position(|byte| !is_line_end(*byte))?;
    let mut line = start;
    for end in memchr::memchr_iter(b'\n', bytes.get(start..)?) {
        let end = start + end;
        let text = bytes.get(line..end)?;
        if text.is_empty() || text == b"\r" {
            return Some(end + 1);
        }
        line = end + 1;
    }
    None
}

/// Iterates over the places of lines, without their ends.
fn lines(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    bytes.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let place = start..start + text.len();
        start += line.len();
        place
    })
}

/// Returns the length of the method that bytes begin with, if a blank follows it.
fn method(bytes: &[u8]) -> usize {
    let length = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let is_method = (1..=MAX_METHOD).contains(&length) && bytes.get(length) == Some(&b' ');
    if is_method { length } else { 0 }
}

fn request_line(clean: &mut [u8], line: Range<usize>, secrets: &Known<'_>) {
    let Some(text) = clean.get_mut(line) else { return };
    let method = method(text);
    let version = memchr::memrchr(b' ', text).unwrap_or(text.len());
    if method == 0 || version <= method {
        text.fill(OVERWRITTEN);
        return;
    }
    if let Some(target) = text.get_mut(method + 1..version) {
        secrets.overwrite(target);
        redact::overwrite(target);
    }
    if let Some(version) = text.get_mut(version + 1..)
        && !version.starts_with(b"HTTP/1.")
    {
        version.fill(OVERWRITTEN);
    }
}

/// Keeps version and status, and not the reason, which is free text.
fn status_line(clean: &mut [u8], line: Range<usize>) {
    let Some(text) = clean.get_mut(line) else { return };
    let status = text.get("HTTP/1.1 ".len()..).unwrap_or_default();
    let digits = status.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let kept = "HTTP/1.1 ".len() + if digits == 3 { 4 } else { 0 };
    const REASONS: [&[u8]; 9] = [
        b"OK",
        b"Continue",
        b"Found",
        b"Bad Request",
        b"Unauthorized",
        b"Forbidden",
        b"Not Found",
        b"Not Allowed",
        b"Method Not Allowed",
    ];
    if let Some(reason) = text.get_mut(kept..).filter(|reason| !REASONS.contains(&&**reason)) {
        reason.fill(OVERWRITTEN);
    }
}

/// Cleans a header's line.
fn field(clean: &mut [u8], line: Range<usize>, secrets: &Known<'_>, hasher: Option<&TokenHasher>) {
    let Some(text) = clean.get_mut(line) else { return };
    // A continuation belongs to the value before it.
    let is_continuation = text.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    let Some(colon) = memchr::memchr(b':', text).filter(|_| !is_continuation) else {
        fill(text);
        return;
    };
    let (name, value) = text.split_at_mut(colon);
    let value = value.get_mut(1..).unwrap_or_default();
    if name.eq_ignore_ascii_case(TOKEN_HEADER) {
        match hasher.and_then(|hasher| hasher.hash(value)) {
            Some(hash) => fill_with_hash(value, hash.0),
            None => fill(value),
        }
        return;
    }
    let known = HEADERS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
    match known {
        Some((_, true)) => {
            secrets.overwrite(value);
            redact::overwrite(value);
        }
        Some((_, false)) => fill(value),
        None => {
            // A name that was meant to be the token's explains an event.
            if classify::misnamed(name).is_none() {
                fill(name);
            }
            fill(value);
        }
    }
}

/// Overwrites all but blanks at the beginning and the end, which decide whether there is a value.
fn fill(text: &mut [u8]) {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(start) = text.iter().position(|byte| !is_blank(byte)) else { return };
    let end = text.iter().rposition(|byte| !is_blank(byte)).unwrap_or(start);
    text.get_mut(start..=end).unwrap_or_default().fill(OVERWRITTEN);
}

/// Overwrites a token with the digits of its hash, again and again.
fn fill_with_hash(text: &mut [u8], hash: u64) {
    let digits = format!("{hash:016x}");
    fill(text);
    let places = text.iter_mut().filter(|byte| !byte.is_ascii_whitespace());
    places.zip(digits.bytes().cycle()).for_each(|(place, digit)| *place = digit);
}

const fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(raw: &str) -> String {
        let head = RequestHead::parse(raw.as_bytes()).unwrap();
        let clean = request(raw.as_bytes(), &head, &TokenHasher::new());
        assert_eq!(clean.len(), raw.len());
        String::from_utf8(clean).unwrap()
    }

    #[test]
    fn what_explains_an_event_stays_and_every_other_byte_is_overwritten() {
        let clean = cleaned(
            "GET /latest/user-data?token=planted-secret&a=b HTTP/1.1\r\nHost: imds\r\n\
             User-Agent: curl/8 token=planted\r\nX-aws-ec2-metadata-tokens: planted\r\n\
             Cookie: a=planted\r\nplanted: planted\r\n planted\r\nplanted\r\n\r\n",
        );
        assert!(clean.starts_with("GET /latest/user-data?token=xxxxxxxxxxxxxx"), "{clean}");
        assert!(clean.contains("\r\nHost: imds\r\nUser-Agent: curl/8 token="), "{clean}");
        assert!(
            clean.contains("X-aws-ec2-metadata-tokens: xxxxxxx\r\nCookie: xxxxxxxxx"),
            "{clean}"
        );
        assert!(clean.ends_with("xxxxxxx: xxxxxxx\r\n xxxxxxx\r\nxxxxxxx\r\n\r\n"), "{clean}");
        assert!(!clean.contains("planted"), "{clean}");
    }

    #[test]
    fn a_token_becomes_its_hash_and_an_empty_one_stays_empty() {
        let hasher = TokenHasher::new();
        let value = |token: &str| {
            let raw = format!("GET / HTTP/1.1\r\nX-AWS-ec2-metadata-token: {token}\r\n\r\n");
            let head = RequestHead::parse(raw.as_bytes()).unwrap();
            String::from_utf8(request(raw.as_bytes(), &head, &hasher)).unwrap()
        };
        assert_eq!(value("AQAEsame=="), value("AQAEsame=="));
        assert_ne!(value("AQAEsame=="), value("AQAEothe=="));
        assert!(!value("AQAEsame==").contains("AQAE"));
        assert!(value(" ").contains("token:  \r\n"));
    }

    #[test]
    fn a_cut_request_keeps_its_method_and_what_is_none_becomes_zeros() {
        assert_eq!(cut_request(b"GET /pla HTTP/1.1\r\nX: p"), b"GET xxxxxxxxxxxxx\r\nxxxx");
        assert_eq!(cut_request(b"\x16\x03planted"), [0; 9]);
        assert_eq!(cut_request(b"planted"), [0; 7]);
    }

    #[test]
    fn a_response_keeps_status_and_framing() {
        let clean = response(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: planted\r\nX-New: planted\r\n\r\nplant",
        );
        let text = String::from_utf8(clean).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: xxxxxxx\r\n")
        );
        assert!(text.ends_with("\r\nxxxxx: xxxxxxx\r\n\r\n"), "{text}");
        assert_eq!(response(b"HTTP/1.1 200 planted\r\n\r\n"), b"HTTP/1.1 200 xxxxxxx\r\n\r\n");
        assert_eq!(response(b"plant\r\ned"), b"xxxxx\r\nxx");
        assert_eq!(response(b"HTTP/1.1 two plan\r\n"), b"HTTP/1.1 xxxxxxxx\r\n");
    }

    proptest::proptest! {
        #[test]
        fn lengths_stay_whatever_the_bytes(bytes: Vec<u8>) {
            let raw = [&b"GET / HTTP/1.1\r\n"[..], &bytes].concat();
            let head = RequestHead::parse(&raw).unwrap();
            assert_eq!(request(&raw, &head, &TokenHasher::new()).len(), raw.len());
            assert_eq!(cut_request(&bytes).len(), bytes.len());
            let raw = [&b"HTTP/1.1 200 OK\r\n"[..], &bytes].concat();
            assert!(response(&raw).len() <= raw.len());
            assert!(head_length(&bytes).is_none_or(|length| length <= bytes.len()));
        }
    }
}
