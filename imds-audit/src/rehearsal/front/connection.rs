//! One redirected connection: requests are read one after the other, and each is refused here or
//! passed on with its bytes unchanged.

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{net::TcpStream, time::timeout};

use super::{
    Counters, Route, Shared,
    framing::{Framing, MAX_HEAD},
    hops::{own_socket, set_ttl},
    owner::NOBODY,
    refusal::{Decision, Refusal, decide},
    response::Response,
    side::Side,
};
use crate::flow::{Body, HeadParser, Kind, Progress, RequestHead};

/// How long neither end may send anything.
const IDLE: Duration = Duration::from_secs(600);
/// How long a caller that sends no more may wait for its response. It may have closed the connection,
/// which looks the same, and would keep its place here.
const HALF_CLOSED: Duration = Duration::from_secs(60);
/// How long, after the last response, what the caller still sends is read: closing with unread bytes
/// resets the connection, which can destroy the response.
const LINGER: Duration = Duration::from_secs(2);
/// The IP time to live of what no hop limit applies to: Linux's default.
const DEFAULT_TTL: u8 = 64;

/// Why a connection ends.
enum End {
    /// Both ends are done.
    Closed,
    /// The service, or the caller, reset it: the other end is reset too.
    Reset,
    /// Nothing arrives any more: the caller is kept waiting.
    Silent,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Reset
    }
}

/// What was read where a request begins.
enum Read {
    /// Its header block, and how many bytes it takes with the blank lines before it.
    Head(RequestHead, usize),
    /// No HTTP, or more than is read.
    Opaque,
}

/// A redirected connection.
pub(super) struct Connection {
    client: Side,
    /// The caller's end.
    caller: SocketAddr,
    route: Route,
    shared: Rc<Shared>,
    ttl: u8,
    requests: u64,
    /// The user who made the caller's socket.
    uid: u32,
}

impl Connection {
    pub(super) fn new(
        client: TcpStream,
        caller: SocketAddr,
        route: Route,
        shared: Rc<Shared>,
    ) -> Self {
        Self {
            client: Side::new(client),
            caller,
            route,
            shared,
            ttl: DEFAULT_TTL,
            requests: 0,
            uid: NOBODY,
        }
    }

    /// Serves requests until the connection ends.
    pub(super) async fn run(mut self) {
        let end = match self.connect().await {
            Ok(mut service) => match self.serve(&mut service).await {
                Ok(never) => match never {},
                Err(end) => {
                    if matches!(end, End::Reset) {
                        service.reset();
                    }
                    end
                }
            },
            Err(end) => end,
        };
        match end {
            End::Closed => {
                self.client.shut().await.ok();
                timeout(LINGER, self.client.drain()).await.ok();
            }
            End::Reset => self.client.reset(),
            End::Silent => self.stay_silent().await,
        }
    }

    /// Connects to the service, which has to answer before the front does.
    async fn connect(&mut self) -> Result<Side, End> {
        self.uid = self.owner();
        let socket = own_socket(self.route.endpoint, self.uid, &self.shared)?;
        let connect = socket.connect(self.route.endpoint);
        tokio::pin!(connect);
        loop {
            tokio::select! {
                connected = &mut connect => return Ok(Side::new(connected?)),
                read = self.client.fill(), if self.client.wants_more() => read?,
            }
        }
    }

    /// Returns the user who made the caller's socket.
    fn owner(&self) -> u32 {
        self.shared.owners.of(self.caller, self.route.front).unwrap_or(NOBODY)
    }

    async fn serve(&mut self, service: &mut Side) -> Result<std::convert::Infallible, End> {
        loop {
            let (head, length) = match self.read_head(service).await? {
                Read::Head(head, length) => (head, length),
                Read::Opaque => {
                    Counters::add(&self.shared.counters.tunnelled);
                    return self.tunnel(service).await;
                }
            };
            self.requests += 1;
            match decide(&head, self.shared.settings.policy) {
                Decision::Refuse(refusal) => {
                    self.client.advance(length);
                    self.refuse(refusal, &head).await?;
                }
                Decision::Forward { is_token_request } => {
                    Counters::add(&self.shared.counters.forwarded);
                    service.write(self.client.unused().get(..length).unwrap_or_default()).await?;
                    self.client.advance(length);
                    self.exchange(service, &head, is_token_request).await?;
                }
            }
        }
    }

    /// Reads up to the end of a request's header block. What the service sends meanwhile is passed
    /// on: it may close, or say why it will.
    async fn read_head(&mut self, service: &mut Side) -> Result<Read, End> {
        let mut parser = HeadParser::new(Kind::Request, MAX_HEAD);
        let mut seen = 0;
        let mut has_begun = false;
        let mut stopped = self.shared.stopped.clone();
        loop {
            let bytes = self.client.unused().get(seen..).unwrap_or_default();
            let mut rest = bytes;
            if !has_begun {
                // Empty lines before a request line are ignored (RFC 9112, section 2.2).
                let empty = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                rest = rest.get(empty..).unwrap_or_default();
                has_begun = !rest.is_empty();
            }
            let progress = if rest.is_empty() { Progress::More } else { parser.push(rest) };
            match progress {
                Progress::Complete(used) => {
                    let length = seen + (bytes.len() - rest.len()) + used;
                    return Ok(match parser.into_request() {
                        Some(head) => Read::Head(head, length),
                        None => Read::Opaque,
                    });
                }
                Progress::Invalid | Progress::TooLong => return Ok(Read::Opaque),
                Progress::More => seen += bytes.len(),
            }
            if self.client.is_at_end() {
                // A request that its caller cut off is the service's to judge.
                let unused = self.client.unused().len();
                if unused > 0 {
                    service.write(self.client.unused()).await?;
                    self.client.advance(unused);
                }
                return self.finish(service).await;
            }
            if !self.client.wants_more() {
                return Ok(Read::Opaque);
            }
            // One that has just been opened has its first request on the way.
            let is_idle = !has_begun && self.requests > 0;
            tokio::select! {
                read = self.client.fill() => read?,
                read = service.fill(), if service.wants_more() => {
                    read?;
                    self.pass_response(service).await?;
                    if service.is_at_end() {
                        return Err(End::Closed);
                    }
                }
                // Between two requests nobody misses the connection.
                _ = stopped.wait_for(|&stopped| stopped), if is_idle => return Err(End::Closed),
                () = tokio::time::sleep(IDLE) => return Err(End::Closed),
            }
        }
    }

    /// Hands everything that is left to the ends: the caller has said that it sends no more.
    async fn finish<T>(&mut self, service: &mut Side) -> Result<T, End> {
        service.shut().await?;
        while !service.is_at_end() {
            match timeout(HALF_CLOSED, service.fill()).await {
                Ok(read) => read?,
                Err(_) => break,
            }
            self.pass_response(service).await?;
        }
        Err(End::Closed)
    }

    async fn pass_response(&mut self, service: &mut Side) -> io::Result<()> {
        let count = service.unused().len();
        if count > 0 {
            self.client.write(service.unused()).await?;
            service.advance(count);
        }
        Ok(())
    }

    /// Answers a request as an instance that refuses it.
    async fn refuse(&mut self, refusal: Refusal, head: &RequestHead) -> Result<(), End> {
        Counters::add(&self.shared.counters.refused);
        let mut body = Framing::new(Body::of_request(head));
        let expects =
            head.header("expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        // A caller that waits for leave to send its body does not get it, and a body without an end
        // cannot be read past: both end the connection (RFC 9110, section 10.1.1).
        let must_close = !body.is_done() && (expects || matches!(body, Framing::Opaque));
        while !must_close && !body.is_done() {
            let taken = body.take(self.client.unused());
            self.client.advance(taken);
            if body.is_done() || matches!(body, Framing::Opaque) {
                break;
            }
            if self.client.is_at_end() {
                return Err(End::Closed);
            }
            timeout(IDLE, self.client.fill()).await.map_err(|_| End::Closed)??;
        }
        let (response, close) = refusal.render(head, must_close || !body.is_done());
        self.set_ttl(DEFAULT_TTL)?;
        self.client.write(&response).await?;
        if close { Err(End::Closed) } else { Ok(()) }
    }

    /// Passes on the rest of a request and the response to it.
    async fn exchange(
        &mut self,
        service: &mut Side,
        head: &RequestHead,
        is_token_request: bool,
    ) -> Result<(), End> {
        let hops = match self.shared.settings.hop_limit {
            Some(limit) if is_token_request => {
                let shared = Rc::clone(&self.shared);
                let hops = shared.hops.to(self.route.endpoint, self.uid, &shared).await;
                Some((limit, hops))
            }
            _ => None,
        };
        let mut request = Framing::new(Body::of_request(head));
        let mut response = Response::new(head);
        if matches!(request, Framing::Opaque) {
            return self.tunnel(service).await;
        }
        loop {
            if !request.is_done() && !self.client.unused().is_empty() {
                let taken = request.take(self.client.unused());
                service.write(self.client.unused().get(..taken).unwrap_or_default()).await?;
                self.client.advance(taken);
            }
            if self.client.is_at_end() && self.client.unused().is_empty() {
                service.shut().await?;
            }
            if !service.unused().is_empty() {
                if let Some((limit, hops)) = hops {
                    match hops.map_or(0, |hops| limit.saturating_sub(hops)) {
                        0 => {
                            Counters::add(&self.shared.counters.withheld);
                            return Err(End::Silent);
                        }
                        left => self.set_ttl(left)?,
                    }
                } else {
                    self.set_ttl(DEFAULT_TTL)?;
                }
                let taken = response.take_all(service.unused());
                self.client.write(service.unused().get(..taken).unwrap_or_default()).await?;
                service.advance(taken);
            }
            if response.is_done() && request.is_done() {
                return Ok(());
            }
            if response.is_opaque() {
                // Another protocol, or no HTTP.
                return self.tunnel(service).await;
            }
            if service.is_at_end() {
                return Err(End::Closed);
            }
            tokio::select! {
                read = self.client.fill(), if self.client.wants_more() => read?,
                read = service.fill(), if service.wants_more() => read?,
                () = tokio::time::sleep(IDLE) => return Err(End::Closed),
            }
        }
    }

    /// Passes everything on, unread, until both ends have closed.
    async fn tunnel<T>(&mut self, service: &mut Side) -> Result<T, End> {
        loop {
            let count = self.client.unused().len();
            if count > 0 {
                service.write(self.client.unused()).await?;
                self.client.advance(count);
            }
            self.pass_response(service).await?;
            if self.client.is_at_end() {
                return self.finish(service).await;
            }
            if service.is_at_end() {
                return Err(End::Closed);
            }
            tokio::select! {
                read = self.client.fill() => read?,
                read = service.fill() => read?,
                () = tokio::time::sleep(IDLE) => return Err(End::Closed),
            }
        }
    }

    /// Keeps the caller waiting until it gives up, as a service does whose answers do not arrive.
    async fn stay_silent(&mut self) {
        let mut stopped = self.shared.stopped.clone();
        tokio::select! {
            () = self.client.drain() => {}
            _ = stopped.wait_for(|&stopped| stopped) => {}
            () = tokio::time::sleep(IDLE) => {}
        }
    }

    /// Sets the IP time to live of what the caller gets from here on.
    fn set_ttl(&mut self, ttl: u8) -> io::Result<()> {
        if self.ttl != ttl {
            set_ttl(self.client.stream(), self.route.front, ttl)?;
            self.ttl = ttl;
        }
        Ok(())
    }
}
