//! Requests that the front refuses, and the response they get: the service's own.
//!
//! The form is that of the real service's errors (`Server: EC2ws`, a small XHTML page): the EC2 User
//! Guide gives the statuses, captures the headers, the Amazon EC2 Metadata Mock the page.

use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};

use super::Policy;
use crate::{
    classify::{Verdict, classify},
    event::Class,
    flow::RequestHead,
};

/// The one path of a token request; another method there is refused by the service itself.
const TOKEN_PATH: &[u8] = b"/latest/api/token";

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is passed on; whether it asks for a token.
    Forward {
        /// It is a token request, to whose response the hop limit applies.
        is_token_request: bool,
    },
    /// It is answered here.
    Refuse(Refusal),
}

/// A status that the front answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 401: no token, and tokens are required.
    Unauthorized,
    /// 403: the endpoint is disabled.
    Forbidden,
}

/// Decides what becomes of a request.
///
/// An instance that requires tokens refuses reads (GET and HEAD) without one; other methods, and
/// other than PUT on the token's path, it refuses in either setting, so they are passed on. An
/// empty token is none: the User Guide has 401 for requests "without a valid token".
pub(super) fn decide(head: &RequestHead, policy: Policy) -> Decision {
    if policy == Policy::Disabled {
        return Decision::Refuse(Refusal::Forbidden);
    }
    let Verdict { class, .. } = classify(head.method(), head.target(), head.headers());
    let is_read = matches!(head.method(), b"GET" | b"HEAD");
    match class {
        Class::V1 | Class::V2EmptyToken | Class::Foreign
            if is_read && path(head.target()) != TOKEN_PATH =>
        {
            Decision::Refuse(Refusal::Unauthorized)
        }
        class => Decision::Forward { is_token_request: class == Class::V2Token },
    }
}

/// Returns a target's path: an absolute-form target without scheme and authority, without query.
fn path(target: &[u8]) -> &[u8] {
    let scheme = target.windows(3).position(|window| window == b"://");
    let target = match scheme.filter(|_| !target.starts_with(b"/")) {
        Some(colon) => {
            let rest = target.get(colon + 3..).unwrap_or_default();
            let slash = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
            rest.get(slash..).unwrap_or_default()
        }
        None => target,
    };
    target.split(|&byte| byte == b'?').next().unwrap_or_default()
}

impl Refusal {
    fn status(self) -> (u16, &'static str) {
        match self {
            Self::Unauthorized => (401, "Unauthorized"),
            Self::Forbidden => (403, "Forbidden"),
        }
    }

    /// Returns the response, and whether the connection ends with it.
    pub(super) fn render(self, request: &RequestHead, must_close: bool) -> (Vec<u8>, bool) {
        let (code, reason) = self.status();
        let is_old = request.minor_version() == 0;
        let has = |word: &str| has_word(request, word);
        let close = must_close || if is_old { !has("keep-alive") } else { has("close") };
        let page = page(code, reason);
        let mut text = format!("HTTP/1.{} {code} {reason}\r\n", u8::from(!is_old));
        if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()) {
            text.extend(["Date: ", &date, "\r\n"]);
        }
        text.push_str("Server: EC2ws\r\nContent-Type: text/html\r\n");
        text.push_str(&format!("Content-Length: {}\r\n", page.len()));
        if close {
            text.push_str("Connection: close\r\n");
        } else if is_old {
            text.push_str("Connection: keep-alive\r\n");
        }
        text.push_str("\r\n");
        if request.method() != b"HEAD" {
            text.push_str(&page);
        }
        (text.into_bytes(), close)
    }
}

fn page(code: u16, reason: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n\
         <!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n\
         \t\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n\
         <html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n \
         <head>\n  <title>{code} - {reason}</title>\n </head>\n \
         <body>\n  <h1>{code} - {reason}</h1>\n </body>\n</html>\n"
    )
}

/// Returns whether the `Connection` header has a word.
fn has_word(request: &RequestHead, word: &str) -> bool {
    request
        .headers()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"))
        .flat_map(|(_, value)| value.split(|&byte| byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Decision = Decision::Refuse(Refusal::Unauthorized);
    const PASSED: Decision = Decision::Forward { is_token_request: false };
    const TOKEN: Decision = Decision::Forward { is_token_request: true };

    fn head(text: &str) -> RequestHead {
        RequestHead::parse(format!("{text}\r\n\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn reads_without_a_token_are_refused_and_everything_else_passes() {
        for (request, expected) in [
            ("GET /latest/meta-data/ HTTP/1.1", REFUSED),
            ("HEAD /latest/meta-data/ HTTP/1.0", REFUSED),
            ("GET http://169.254.169.254/latest/user-data HTTP/1.1", REFUSED),
            ("GET /latest/x HTTP/1.1\r\nX-aws-ec2-metadata-token:", REFUSED),
            ("GET /latest/x HTTP/1.1\r\nX-aws-ec2-metadata-token : t", REFUSED),
            ("GET /latest/x HTTP/1.1\r\nX-aws-metadata-token: t", REFUSED),
            ("GET /computeMetadata/v1/ HTTP/1.1\r\nMetadata-Flavor: Google", REFUSED),
            ("GET /latest/api/token/x HTTP/1.1", REFUSED),
            ("GET /latest/x HTTP/1.1\r\nx-aws-ec2-metadata-token: t", PASSED),
            ("GET /latest/api/token HTTP/1.1", PASSED),
            ("GET http://169.254.169.254/latest/api/token?x HTTP/1.1", PASSED),
            ("POST /latest/meta-data/ HTTP/1.1", PASSED),
            ("PUT /latest/api/token HTTP/1.1", TOKEN),
            ("PUT /2021-03-23/api/token/ HTTP/1.1", TOKEN),
        ] {
            assert_eq!(decide(&head(request), Policy::TokensRequired), expected, "{request}");
            let disabled = decide(&head(request), Policy::Disabled);
            assert_eq!(disabled, Decision::Refuse(Refusal::Forbidden), "{request}");
        }
    }

    #[test]
    fn the_response_is_the_service_s_and_ends_the_connection_where_the_caller_does() {
        let render = |request: &str, must_close| {
            let (bytes, close) = Refusal::Unauthorized.render(&head(request), must_close);
            (String::from_utf8(bytes).unwrap(), close)
        };
        let (text, close) = render("GET / HTTP/1.1", false);
        assert!(text.starts_with("HTTP/1.1 401 Unauthorized\r\nDate: "), "{text}");
        assert!(text.contains("\r\nServer: EC2ws\r\n") && !text.contains("Connection"), "{text}");
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(text.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{text}");
        assert!(body.contains("<h1>401 - Unauthorized</h1>"), "{text}");
        assert!(!close);
        for (request, must_close) in [
            ("GET / HTTP/1.1\r\nConnection: TE, Close", false),
            ("GET / HTTP/1.0", false),
            ("GET / HTTP/1.1", true),
        ] {
            let (text, close) = render(request, must_close);
            assert!(close && text.contains("\r\nConnection: close\r\n"), "{text}");
        }
        let (text, close) = render("HEAD / HTTP/1.0\r\nConnection: keep-alive", false);
        assert!(!close && text.starts_with("HTTP/1.0 401"), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "a body after HEAD: {text}");
    }
}
