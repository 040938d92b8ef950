//! Serves one connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::net::sockopt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::answer::{Answer, TTL_HEADER, decide, token_header};
use super::log::{Entry, TokenHeader};
use super::request::{Body, Head, MAX_HEAD, Version, head_end, may_be_http};
use super::response::{Rendered, render};
use super::settings::Style;
use super::shared::Shared;

/// How long a caller may be silent before the connection is closed.
const IDLE: Duration = Duration::from_secs(120);

/// How long, and for how many reads, the service still takes what a caller sends after the last
/// response: closing with unread bytes would reset the connection and could destroy the response.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_READS: usize = 64;

/// The longest request body that is skipped, in bytes.
const MAX_BODY: u64 = 16 * 1_024 * 1_024;

/// The longest line between chunks, in bytes, and how many trailer lines may follow the last.
const MAX_CHUNK_LINE: usize = 1_024;
const MAX_TRAILERS: usize = 64;

/// How much is read at once, in bytes.
const READ_SIZE: usize = 8 * 1_024;

/// The time between the two segments of a split header block.
const SPLIT_PAUSE: Duration = Duration::from_millis(5);

/// The IP time to live of everything that the hop limit does not apply to: Linux's default.
const DEFAULT_TTL: u8 = 64;

/// Why a connection ends.
enum End {
    /// The caller closed it, failed or fell silent, or the last response was sent.
    Done,
    /// The caller sent what is no HTTP.
    NotHttp,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Done
    }
}

/// A connection being served. Holds at most one header block and one read beyond it.
pub(super) struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    endpoint: SocketAddr,
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    requests: u64,
    ttl: u8,
}

impl Connection {
    /// Takes over an accepted connection.
    pub(super) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let endpoint = stream.local_addr()?;
        let buffer = Vec::new();
        Ok(Self { stream, peer, endpoint, shared, buffer, requests: 0, ttl: DEFAULT_TTL })
    }

    /// Serves requests, in order, until the connection ends.
    pub(super) async fn run(mut self) {
        loop {
            match self.exchange().await {
                Ok(()) => {}
                Err(End::Done) => break,
                Err(End::NotHttp) => {
                    self.refuse().await.ok();
                    break;
                }
            }
        }
        self.stream.shutdown().await.ok();
        timeout(LINGER, self.drain()).await.ok();
    }

    /// Reads one request and answers it.
    async fn exchange(&mut self) -> Result<(), End> {
        let head = self.read_head().await?;
        let expects = head.version == Version::Http11 && head.has_word("expect", "100-continue");
        let body = head.body().map_err(|_| End::NotHttp)?;
        if expects && body != Body::Length(0) {
            self.set_ttl(DEFAULT_TTL)?;
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        self.skip_body(body).await?;

        let settings = self.shared.settings();
        let answer = decide(&head, &settings, &self.shared.content, &mut self.shared.tokens());
        sleep(settings.style.delay).await;
        self.record(Some(&head), answer.as_ref());
        let Some(answer) = answer else {
            return self.stay_silent().await;
        };
        let rendered = render(&answer, Some(&head), settings.style);
        self.set_ttl(if answer.hop_limited { settings.hop_limit.get() } else { DEFAULT_TTL })?;
        self.write(&rendered, settings.style).await?;
        if rendered.close { Err(End::Done) } else { Ok(()) }
    }

    /// Answers what is no HTTP.
    async fn refuse(&mut self) -> io::Result<()> {
        let answer = Answer::not_http();
        let style = self.shared.settings().style;
        self.record(None, Some(&answer));
        self.set_ttl(DEFAULT_TTL)?;
        self.write(&render(&answer, None, style), style).await
    }

    /// Reads up to the end of a header block and takes it out of the buffer. One that its caller
    /// cut off is remembered as unreadable and not answered.
    async fn read_head(&mut self) -> Result<Head, End> {
        let mut searched = 0;
        loop {
            // Blank lines before a request are to be ignored (RFC 9112, section 2.2).
            let blanks = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
            let blanks = blanks.count();
            self.buffer.drain(..blanks);
            searched = searched.min(self.buffer.len());
            if let Some(end) = head_end(&self.buffer, searched) {
                let block: Vec<u8> = self.buffer.drain(..end).collect();
                self.requests += 1;
                return Head::parse(&block).map_err(|_| End::NotHttp);
            }
            if self.buffer.len() > MAX_HEAD || !may_be_http(&self.buffer) {
                self.requests += 1;
                return Err(End::NotHttp);
            }
            searched = self.buffer.len();
            let more = self.fill().await;
            if more.is_err() && searched > 0 {
                self.requests += 1;
                self.record(None, None);
            }
            more?;
        }
    }

    /// Reads and forgets a request's body.
    async fn skip_body(&mut self, body: Body) -> Result<(), End> {
        match body {
            Body::Length(length) => self.skip(length).await,
            Body::Chunked => {
                while let size @ 1.. = self.chunk_size().await? {
                    self.skip(size).await?;
                    self.line().await?;
                }
                for _ in 0..MAX_TRAILERS {
                    if self.line().await?.is_empty() {
                        return Ok(());
                    }
                }
                Err(End::NotHttp)
            }
        }
    }

    async fn chunk_size(&mut self) -> Result<u64, End> {
        let line = self.line().await?;
        let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .ok_or(End::NotHttp)
    }

    /// Takes a line out of the buffer, without its end.
    async fn line(&mut self) -> Result<Vec<u8>, End> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.truncate(line.trim_ascii_end().len());
                return Ok(line);
            }
            if self.buffer.len() > MAX_CHUNK_LINE {
                return Err(End::NotHttp);
            }
            self.fill().await?;
        }
    }

    async fn skip(&mut self, length: u64) -> Result<(), End> {
        if length > MAX_BODY {
            return Err(End::NotHttp);
        }
        let mut left = usize::try_from(length).map_err(|_| End::NotHttp)?;
        loop {
            let now = left.min(self.buffer.len());
            self.buffer.drain(..now);
            left -= now;
            if left == 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// Reads more bytes into the buffer.
    async fn fill(&mut self) -> Result<(), End> {
        self.buffer.reserve(READ_SIZE);
        let mut limited = (&mut self.stream).take(READ_SIZE as u64);
        match timeout(IDLE, limited.read_buf(&mut self.buffer)).await {
            Ok(Ok(1..)) => Ok(()),
            Ok(Ok(0) | Err(_)) | Err(_) => Err(End::Done),
        }
    }

    /// Never answers, and holds the connection until the caller gives up.
    async fn stay_silent(&mut self) -> Result<(), End> {
        loop {
            self.fill().await?;
            self.buffer.clear();
        }
    }

    async fn drain(&mut self) {
        for _ in 0..LINGER_READS {
            self.buffer.clear();
            if self.fill().await.is_err() {
                return;
            }
        }
    }

    async fn write(&mut self, rendered: &Rendered, style: Style) -> io::Result<()> {
        let middle = rendered.head.len() / 2;
        let (first, second) = rendered.head.split_at(if style.split_head { middle } else { 0 });
        if !first.is_empty() {
            self.stream.write_all(first).await?;
            sleep(SPLIT_PAUSE).await;
        }
        self.stream.write_all(&[second, &rendered.body].concat()).await
    }

    /// Sets the IP time to live of what is sent from here on.
    ///
    /// It is not set back before the next response: a token response that died on the way would
    /// otherwise arrive when it is sent again.
    fn set_ttl(&mut self, ttl: u8) -> io::Result<()> {
        if self.ttl != ttl {
            match self.peer {
                SocketAddr::V6(peer) if peer.ip().to_ipv4_mapped().is_none() => {
                    sockopt::set_ipv6_unicast_hops(&self.stream, Some(ttl))?;
                }
                _ => sockopt::set_ip_ttl(&self.stream, ttl.into())?,
            }
            self.ttl = ttl;
        }
        Ok(())
    }

    fn record(&self, head: Option<&Head>, answer: Option<&Answer>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.shared.log.push(Entry {
            sequence: 0,
            time: Timestamp::now(),
            peer: self.peer,
            endpoint: self.endpoint,
            request_on_connection: self.requests,
            readable: head.is_some(),
            method: head.map(|head| head.method.clone()).unwrap_or_default(),
            target: head.map(|head| head.target.clone()).unwrap_or_default(),
            version: head.map(|head| head.version.as_str().to_owned()).unwrap_or_default(),
            token: head.map_or(TokenHeader::Absent, token_header),
            ttl_header: head.is_some_and(|head| head.header(TTL_HEADER).is_some()),
            user_agent: head.and_then(|head| head.header("user-agent")).map(text),
            status: answer.map(|answer| answer.status.code()),
        });
    }
}
