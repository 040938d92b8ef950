//! Decides what a request is answered.

use std::time::Instant;

use super::content::Content;
use super::log::TokenHeader;
use super::request::Head;

use super::settings::{HttpTokens, Settings, TokenMode};
use super::status::{Status, error_page};
use super::token::{TokenStore, parse_ttl};

const TOKEN_PATH: &str = "/latest/api/token";
pub(super) const TOKEN_HEADER: &str = "X-aws-ec2-metadata-token";
pub(super) const TTL_HEADER: &str = "X-aws-ec2-metadata-token-ttl-seconds";

/// What a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: Status,
    /// The `Content-Type`.
    pub(super) media_type: Option<&'static str>,
    /// The body, before any framing.
    pub(super) body: Vec<u8>,
    /// The `X-Aws-Ec2-Metadata-Token-Ttl-Seconds`.
    pub(super) token_ttl: Option<u64>,
    /// The `Allow`.
    pub(super) allow: Option<&'static str>,
    /// Whether the connection ends with it.
    pub(super) close: bool,
    /// Whether the hop limit applies to it.
    pub(super) hop_limited: bool,
}

impl Answer {
    /// Makes the answer to bytes that are no request.
    pub(super) fn not_http() -> Self {
        Self { close: true, ..Self::error(Status::BadRequest) }
    }

    fn ok(media_type: &'static str, body: Vec<u8>) -> Self {
        Self {
            status: Status::Ok,
            media_type: Some(media_type),
            body,
            token_ttl: None,
            allow: None,
            close: false,
            hop_limited: false,
        }
    }

    fn error(status: Status) -> Self {
        Self { status, ..Self::ok("text/html", error_page(status)) }
    }

    /// Makes the answer to a method that the path does not know, as captured from the real
    /// service for a `GET` of the token path: without a body, and closing.
    fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            status: Status::MethodNotAllowed,
            media_type: None,
            allow: Some(allow),
            close: true,
            ..Self::ok("", Vec::new())
        }
    }
}

/// Says what a request's token header holds.
pub(super) fn token_header(head: &Head) -> TokenHeader {
    match head.header(TOKEN_HEADER) {
        None => TokenHeader::Absent,
        Some([]) => TokenHeader::Empty,
        Some(_) => TokenHeader::Present,
    }
}

/// Decides what a request is answered; `None` is silence.
pub(super) fn decide(
    head: &Head,
    settings: &Settings,
    content: &Content,
    tokens: &mut TokenStore,
) -> Option<Answer> {
    let path = head.path();
    match head.method.as_str() {
        "PUT" if is_token_request(path) => match settings.token_mode {
            TokenMode::NoAnswer => None,
            TokenMode::Status(status) => Some(Answer::error(status)),
            TokenMode::Normal => Some(issue(head, path, tokens)),
        }
        .map(|answer| Answer { hop_limited: true, ..answer }),
        _ if path == TOKEN_PATH => Some(Answer::method_not_allowed("OPTIONS, PUT")),
        "GET" | "HEAD" => Some(read(head, path, settings, content, tokens)),
        _ => Some(Answer::method_not_allowed("GET, HEAD")),
    }
}

/// Says whether a path is that of the token, of any version and with slashes at its end or not:
/// the real service forbids all but one of them, and so do we.
fn is_token_request(path: &str) -> bool {
    path.trim_end_matches('/').ends_with("/api/token")
}

/// Answers a token request.
///
/// The documentation says that one with `X-Forwarded-For` is rejected, and does not say how; 403
/// is an assumption, made from its description of that status.
fn issue(head: &Head, path: &str, tokens: &mut TokenStore) -> Answer {
    if path != TOKEN_PATH || head.header("X-Forwarded-For").is_some() {
        return Answer::error(Status::Forbidden);
    }
    let Some(seconds) = head.header(TTL_HEADER).and_then(parse_ttl) else {
        return Answer::error(Status::BadRequest);
    };
    match tokens.issue(seconds, Instant::now()) {
        Ok(token) => Answer {
            token_ttl: Some(seconds.into()),
            ..Answer::ok("text/plain", token.into_bytes())
        },
        Err(_) => Answer::error(Status::InternalServerError),
    }
}

/// Answers a read.
///
/// Assumptions, since no source tells: a wrong or empty token is answered 401 also where tokens
/// are optional, and where they are required, 401 comes before 404.
fn read(
    head: &Head,
    path: &str,
    settings: &Settings,
    content: &Content,
    tokens: &TokenStore,
) -> Answer {
    let token_ttl = match head.header(TOKEN_HEADER) {
        None if settings.http_tokens == HttpTokens::Required => {
            return Answer::error(Status::Unauthorized);
        }
        None => None,
        Some(token) => match tokens.remaining(token, Instant::now()) {
            None => return Answer::error(Status::Unauthorized),
            remaining => remaining,
        },
    };
    match content.find(path) {
        Some(resource) => Answer { token_ttl, ..Answer::ok(resource.media_type, resource.body) },
        None => Answer::error(Status::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::Secrets;
    use super::*;

    fn status(request: &str, settings: Settings) -> Option<u16> {
        let head = Head::parse(format!("{request}\r\n\r\n").as_bytes()).unwrap();
        let content = Content::sample("app", &Secrets::default());
        decide(&head, &settings, &content, &mut TokenStore::default())
            .map(|answer| answer.status.code())
    }

    #[test]
    fn token_requests_are_checked_in_full() {
        let put = |path: &str, headers: &str| {
            status(&format!("PUT {path} HTTP/1.1\r\n{headers}"), Settings::default())
        };
        let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
        assert_eq!(put("/latest/api/token", ttl), Some(200));
        assert_eq!(put("/latest/api/token", "A: b"), Some(400));
        assert_eq!(put("/latest/api/token", &format!("{ttl}00000")), Some(400));
        assert_eq!(put("/latest/api/token", &format!("{ttl}\r\nx-forwarded-for: 1")), Some(403));
        assert_eq!(put("/latest/api/token/", ttl), Some(403));
        assert_eq!(put("/2021-03-23/api/token", ttl), Some(403));
        assert_eq!(put("/latest/meta-data/", ttl), Some(405));
    }

    #[test]
    fn token_modes_touch_token_requests_alone() {
        for (mode, expected) in [
            (TokenMode::NoAnswer, None),
            (TokenMode::Status(Status::Forbidden), Some(403)),
            (TokenMode::Status(Status::ServiceUnavailable), Some(503)),
        ] {
            let settings = Settings { token_mode: mode, ..Settings::default() };
            let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
            let put = format!("PUT /latest/api/token HTTP/1.1\r\n{ttl}");
            assert_eq!(status(&put, settings), expected);
            assert_eq!(status("GET /latest/ HTTP/1.1", settings), Some(200));
        }
    }

    #[test]
    fn every_combination_of_policy_and_token_header_is_answered_as_stated() {
        let optional = Settings::default();
        let required = Settings { http_tokens: HttpTokens::Required, ..optional };
        let get = |header: &str, settings| {
            status(&format!("GET /latest/user-data HTTP/1.1\r\n{header}"), settings)
        };
        assert_eq!(get("A: b", optional), Some(200));
        assert_eq!(get("A: b", required), Some(401));
        for settings in [optional, required] {
            assert_eq!(get("X-aws-ec2-metadata-token:", settings), Some(401));
            assert_eq!(get("X-aws-ec2-metadata-token: bogus", settings), Some(401));
        }
    }

    #[test]
    fn other_methods_are_refused() {
        for method in ["POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"] {
            for path in ["/latest/meta-data/", "/latest/api/token"] {
                let request = format!("{method} {path} HTTP/1.1");
                assert_eq!(status(&request, Settings::default()), Some(405), "{request}");
            }
        }
        assert_eq!(status("GET /latest/api/token HTTP/1.1", Settings::default()), Some(405));
    }
}
