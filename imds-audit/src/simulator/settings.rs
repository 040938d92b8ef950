//! Settings of the simulated service that can be changed while it runs.

use std::time::Duration;

use super::status::Status;

/// Whether requests need a token: the instance option `HttpTokens`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpTokens {
    /// Requests without a token are served: IMDSv1 works.
    #[default]
    Optional,
    /// Requests without a token are answered 401.
    Required,
}

/// How the service treats token requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenMode {
    /// As the real service does.
    #[default]
    Normal,
    /// It reads them and never answers, as a caller sees it whose token response dies on the way.
    NoAnswer,
    /// It answers all of them with this status: a proxy in between, a disabled endpoint, a
    /// failing service.
    Status(Status),
}

/// The IP time to live of responses to token requests: the instance option
/// `HttpPutResponseHopLimit`, 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopLimit(u8);

/// A hop limit outside of 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hop limit {0} is not within 1 to 64")]
pub struct HopLimitError(u8);

impl HopLimit {
    /// Gives the number of hops.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for HopLimit {
    /// The documented default: 1.
    fn default() -> Self {
        Self(1)
    }
}

impl TryFrom<u8> for HopLimit {
    type Error = HopLimitError;

    fn try_from(hops: u8) -> Result<Self, HopLimitError> {
        if (1..=64).contains(&hops) { Ok(Self(hops)) } else { Err(HopLimitError(hops)) }
    }
}

/// The HTTP version of responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseVersion {
    /// HTTP/1.1, and HTTP/1.0 to a request that is HTTP/1.0.
    #[default]
    Http11,
    /// HTTP/1.0, closing after each response. Captures of the real service show both.
    Http10,
}

/// The framing of a response's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// By `Content-Length`.
    #[default]
    Length,
    /// By chunks, where the response is HTTP/1.1; by `Content-Length` otherwise.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// How responses look on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// The HTTP version.
    pub version: ResponseVersion,
    /// The framing of the body.
    pub framing: Framing,
    /// Whether each response carries `Connection: close` and ends the connection.
    pub close: bool,
    /// Whether the header block is sent in two segments.
    pub split_head: bool,
    /// How long the service waits before it answers.
    pub delay: Duration,
}

/// Everything of the service that can be changed while it runs.
///
/// A change takes effect with the next request, also on connections that are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether requests need a token.
    pub http_tokens: HttpTokens,
    /// How token requests are treated.
    pub token_mode: TokenMode,
    /// The IP time to live of responses to token requests.
    pub hop_limit: HopLimit,
    /// How responses look on the wire.
    pub style: Style,
}
