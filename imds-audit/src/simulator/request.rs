//! Reads the header block of a request.
//!
//! Written for the ground truth alone: it must not share the errors of the code under test.

/// The longest header block, in bytes.
pub(super) const MAX_HEAD: usize = 64 * 1_024;

/// The longest method; longer words at the start of a connection are no HTTP.
const MAX_METHOD: usize = 32;

/// A header block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The method.
    pub(super) method: String,
    /// The target as it was sent, bytes that are not UTF-8 replaced.
    pub(super) target: String,
    /// The version.
    pub(super) version: Version,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// Gives it as it is sent.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// The framing of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// By its length; 0 where there is none.
    Length(u64),
    /// By chunks.
    Chunked,
}

/// The bytes are no HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotHttp;

impl Head {
    /// Reads a complete header block, its blank line included or not.
    ///
    /// Tolerant of everything but the request line: header lines without a colon are left out,
    /// continued ones joined, odd bytes kept.
    pub(super) fn parse(block: &[u8]) -> Result<Self, NotHttp> {
        let mut lines = block.split(|&byte| byte == b'\n').map(without_return);
        let (method, target, version) = request_line(lines.next().ok_or(NotHttp)?)?;
        let mut headers: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for line in lines {
            if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
                if let Some((_, value)) = headers.last_mut() {
                    continue_value(value, line.trim_ascii());
                }
            } else if let Some(colon) = line.iter().position(|&byte| byte == b':') {
                let (name, value) = line.split_at(colon);
                headers.push((name.to_vec(), value.get(1..).unwrap_or(&[]).trim_ascii().to_vec()));
            }
        }
        Ok(Self { method, target, version, headers })
    }

    /// Gives the value of the first header of a name, the case of its letters ignored, without
    /// blanks at either end.
    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.as_slice())
    }

    /// Says whether a header that is a list of words has this one.
    pub(super) fn has_word(&self, name: &str, word: &str) -> bool {
        self.header(name).is_some_and(|value| {
            value
                .split(|&byte| byte == b',')
                .any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
        })
    }

    /// Gives the path of the target: without query, and of the absolute form the path alone.
    pub(super) fn path(&self) -> &str {
        let target = match self.target.split_once("://") {
            Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/")
            }
            _ => &self.target,
        };
        target.split(['?', '#']).next().unwrap_or_default()
    }

    /// Returns the framing of the body.
    pub(super) fn body(&self) -> Result<Body, NotHttp> {
        if self.has_word("transfer-encoding", "chunked") {
            return Ok(Body::Chunked);
        }
        match self.header("content-length") {
            None => Ok(Body::Length(0)),
            Some(value) if value.iter().all(u8::is_ascii_digit) => std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok())
                .map(Body::Length)
                .ok_or(NotHttp),
            Some(_) => Err(NotHttp),
        }
    }

    /// Says whether the caller lets the connection stay open.
    pub(super) fn keep_alive(&self) -> bool {
        match self.version {
            Version::Http11 => !self.has_word("connection", "close"),
            Version::Http10 => self.has_word("connection", "keep-alive"),
        }
    }
}

/// Finds the end of the header block: just after its blank line. Bare line feeds end lines too.
///
/// `from` is where to resume after an earlier call on a shorter buffer came back empty.
pub(super) fn head_end(buffer: &[u8], from: usize) -> Option<usize> {
    let start = from.saturating_sub(2);
    let tail = buffer.get(start..)?;
    tail.iter().enumerate().filter(|(_, byte)| **byte == b'\n').find_map(|(at, _)| {
        match tail.get(at + 1..)? {
            [b'\n', ..] => Some(start + at + 2),
            [b'\r', b'\n', ..] => Some(start + at + 3),
            _ => None,
        }
    })
}

/// Says whether bytes can be the start of a request, before its first line is complete.
pub(super) fn may_be_http(buffer: &[u8]) -> bool {
    let word = buffer.split(|&byte| byte == b' ').next().unwrap_or_default();
    word.len() <= MAX_METHOD && word.iter().copied().all(is_token_byte)
}

fn request_line(line: &[u8]) -> Result<(String, String, Version), NotHttp> {
    let mut words = line.splitn(2, |&byte| byte == b' ');
    let method = words.next().unwrap_or_default();
    let rest = words.next().ok_or(NotHttp)?.trim_ascii();
    let space = rest.iter().rposition(|&byte| byte == b' ').ok_or(NotHttp)?;
    let (target, version) = rest.split_at(space);
    let target = target.trim_ascii();
    if method.is_empty() || !may_be_http(method) || target.is_empty() {
        return Err(NotHttp);
    }
    let version = match version.trim_ascii() {
        b"HTTP/1.0" => Version::Http10,
        b"HTTP/1.1" => Version::Http11,
        _ => return Err(NotHttp),
    };
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(method), text(target), version))
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn continue_value(value: &mut Vec<u8>, more: &[u8]) {
    if !value.is_empty() && !more.is_empty() {
        value.push(b' ');
    }
    value.extend_from_slice(more);
}

/// Says whether a byte may stand in a method (RFC 9110, section 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_end_of_the_head_is_found_wherever_the_reads_cut() {
        for text in ["GET / HTTP/1.1\r\nA: b\r\n\r\nrest", "GET / HTTP/1.1\nA: b\n\nrest"] {
            let end = text.len() - "rest".len();
            for cut in 0..text.len() {
                let first = head_end(&text.as_bytes()[..cut], 0);
                let found = first.or_else(|| head_end(text.as_bytes(), cut));
                assert_eq!(found, Some(end), "{text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn header_names_match_exactly_and_in_any_case() {
        let head = head(
            "GET / HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 5\r\n\
             x-AWS-ec2-Metadata-TOKEN:  abc \r\nX-aws-ec2-metadata-tokens: no\r\n\r\n",
        );
        assert_eq!(head.header("X-aws-ec2-metadata-token"), Some(&b"abc"[..]));
        let other = Head::parse(b"GET / HTTP/1.1\r\nX-aws-ec2-metadata-token : abc\r\n\r\n");
        assert_eq!(other.unwrap().header("X-aws-ec2-metadata-token"), None);
    }

    #[test]
    fn odd_header_lines_are_tolerated() {
        let block = b"GET /\xff HTTP/1.1\r\nno colon here\r\nB\xe9: \xff\x01\r\n: empty\r\nC: d\r\n\te\r\n\r\n";
        let head = Head::parse(block).unwrap();
        assert_eq!(head.header("C"), Some(&b"d e"[..]));
        assert_eq!(head.target, "/\u{fffd}");
    }

    #[test]
    fn what_is_no_request_line_is_refused() {
        for line in [
            "",
            "GET",
            "GET /",
            "GET / HTTP/2.0",
            "GET  HTTP/1.1",
            "G(T / HTTP/1.1",
            " GET / HTTP/1.1",
            "\u{16}\u{3}\u{1} a b",
        ] {
            assert_eq!(Head::parse(line.as_bytes()), Err(NotHttp), "{line:?}");
        }
        assert!(!may_be_http(b"\x16\x03\x01"));
        assert!(!may_be_http(&[b'A'; MAX_METHOD + 1]));
        assert!(may_be_http(b"GE") && may_be_http(b"") && may_be_http(b"PUT /\xff"));
    }

    #[test]
    fn the_path_is_taken_out_of_each_form_of_target() {
        let path = |target: &str| head(&format!("GET {target} HTTP/1.1\r\n\r\n")).path().to_owned();
        assert_eq!(path("/latest/meta-data/?x=/y"), "/latest/meta-data/");
        assert_eq!(path("http://169.254.169.254/latest"), "/latest");
        assert_eq!(path("http://169.254.169.254"), "/");
        assert_eq!(path("/a?b=c://d/e"), "/a");
    }

    #[test]
    fn bodies_are_framed_by_chunks_before_length() {
        let body = |headers: &str| head(&format!("PUT / HTTP/1.1\r\n{headers}\r\n\r\n")).body();
        assert_eq!(body("A: b"), Ok(Body::Length(0)));
        assert_eq!(body("Content-Length: 12"), Ok(Body::Length(12)));
        assert_eq!(body("Content-Length: 1\r\nTransfer-Encoding: Chunked"), Ok(Body::Chunked));
        for bad in ["-1", "x", "", "99999999999999999999999"] {
            assert_eq!(body(&format!("Content-Length: {bad}")), Err(NotHttp), "{bad}");
        }
    }
}
