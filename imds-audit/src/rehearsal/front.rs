//! Front of one network namespace: listeners on its loopback interface, served by a thread that
//! has entered it.

mod connection;
mod framing;
mod hops;
mod listen;
mod owner;
mod refusal;
mod response;
mod side;

use std::{
    fs::File,
    io,
    net::{SocketAddr, UdpSocket},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinSet, LocalSet},
};

use super::programs::Marker;
use connection::Connection;
use listen::Opened;
pub(crate) use listen::routes;

/// The number of connections that a front serves at once; further ones wait in the kernel's queue.
pub(crate) const MAX_CONNECTIONS: usize = 1024;
/// How long a front waits after it could not accept, as when it is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// How long requests that wait for their response may take when the rehearsal ends.
const GRACE: Duration = Duration::from_millis(60);

/// What a front answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// IMDSv1 is refused: `HttpTokens=required`.
    TokensRequired,
    /// Everything is refused: `HttpEndpoint=disabled`.
    Disabled,
}

/// What every front of a rehearsal does.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What it refuses.
    pub policy: Policy,
    /// The rehearsed `HttpPutResponseHopLimit`; `None` to leave it as the instance has it.
    pub hop_limit: Option<u8>,
    /// The endpoints, each with the address that stands for it in every network namespace.
    pub routes: Vec<Route>,
    /// The number of connections that a front serves at once.
    pub max_connections: usize,
}

/// An endpoint and its stand-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The metadata service's address and port.
    pub endpoint: SocketAddr,
    /// The front's.
    pub front: SocketAddr,
}

/// What the fronts did; shared by all of them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections that were accepted.
    pub accepted: AtomicU64,
    /// Requests that were refused.
    pub refused: AtomicU64,
    /// Requests that were passed on.
    pub forwarded: AtomicU64,
    /// Connections whose bytes were passed on unread, because they are no HTTP.
    pub tunnelled: AtomicU64,
    /// Token responses that the rehearsed hop limit let not arrive.
    pub withheld: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Why a network namespace has no front.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrontError {
    /// The kernel does not let the thread in.
    #[error("it cannot be entered")]
    Enter(#[source] io::Error),
    /// No address could be listened on.
    #[error("the front cannot listen on {address} in it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// The front cannot be reached, as where the loopback interface is down.
    #[error("the front cannot be reached at {address} in it")]
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// It has no address of the endpoint's family.
    #[error("it has neither IPv4 nor IPv6 on its loopback interface")]
    NoFamily,
    /// The system refuses something that every program may do.
    #[error("the front cannot be started")]
    System(#[from] io::Error),
}

/// A running front. It ends when this is dropped.
pub(crate) struct Front {
    /// The cookie of its network namespace; `None` where the kernel does not tell.
    pub cookie: Option<u64>,
    /// A socket in the namespace, by which its cookie can be learned.
    pub probe: UdpSocket,
    /// The numbers of the endpoints that it stands for.
    pub served: Vec<u32>,
    stop: watch::Sender<bool>,
    has_ended: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What a front's thread reports once it listens.
struct Ready {
    cookie: Option<u64>,
    probe: UdpSocket,
    served: Vec<u32>,
}

impl Front {
    /// Starts a front in a network namespace; `None` for this process's own. `ended` is notified
    /// when it has ended, whatever ended it.
    ///
    /// # Errors
    /// Returns an error if the namespace cannot be entered, or the front cannot listen in it or be
    /// reached. Nothing is left behind then.
    pub(crate) fn start(
        namespace: Option<File>,
        settings: Arc<Settings>,
        counters: Arc<Counters>,
        marker: Marker,
        ended: Arc<Notify>,
    ) -> Result<Self, FrontError> {
        let (stop, stopped) = watch::channel(false);
        let (report, reported) = mpsc::sync_channel(1);
        let has_ended = Arc::new(AtomicBool::new(false));
        let end = End { flag: Arc::clone(&has_ended), notify: ended };
        let thread = thread::Builder::new().name("front".to_owned()).spawn(move || {
            let _end = end;
            run(namespace.as_ref(), settings, counters, marker, stopped, &report);
        })?;
        let Ready { cookie, probe, served } = reported.recv().map_err(io::Error::other)??;
        Ok(Self { cookie, probe, served, stop, has_ended, thread: Some(thread) })
    }

    /// Returns whether it still runs. One that does not, but was not stopped, has panicked.
    pub(crate) fn is_running(&self) -> bool {
        !self.has_ended.load(Ordering::Acquire)
    }

    /// Has it end: it accepts what was already redirected, and gives requests that wait for their
    /// response a moment.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // Its panic was printed already.
            thread.join().ok();
        }
    }
}

/// Reports a front's end when it is dropped, which an unwinding thread does too.
struct End {
    flag: Arc<AtomicBool>,
    notify: Arc<Notify>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.flag.store(true, Ordering::Release);
        self.notify.notify_one();
    }
}

/// What all connections of a front share.
struct Shared {
    settings: Arc<Settings>,
    counters: Arc<Counters>,
    marker: std::cell::RefCell<Marker>,
    hops: hops::Hops,
    owners: owner::Owners,
    stopped: watch::Receiver<bool>,
}

fn run(
    namespace: Option<&File>,
    settings: Arc<Settings>,
    counters: Arc<Counters>,
    marker: Marker,
    stopped: watch::Receiver<bool>,
    report: &mpsc::SyncSender<Result<Ready, FrontError>>,
) {
    let started = listen::open(namespace, &settings).and_then(|Opened { listeners, ready }| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let register = |(route, listener)| Ok((route, TcpListener::from_std(listener)?));
        let listeners = listeners.into_iter().map(register).collect::<io::Result<Vec<_>>>()?;
        drop(inside);
        Ok((listeners, ready, runtime, owner::Owners::open()?))
    });
    let (listeners, ready, runtime, owners) = match started {
        Ok(started) => started,
        Err(error) => {
            report.send(Err(error)).ok();
            return;
        }
    };
    let shared = Rc::new(Shared {
        settings,
        counters,
        marker: std::cell::RefCell::new(marker),
        hops: hops::Hops::default(),
        owners,
        stopped,
    });
    report.send(Ok(ready)).ok();
    LocalSet::new().block_on(&runtime, serve(listeners, shared));
    // Connections that still wait are reset with their sockets, and tasks end where they stand.
    runtime.shutdown_background();
}

/// Serves until the front is stopped.
async fn serve(listeners: Vec<(Route, TcpListener)>, shared: Rc<Shared>) {
    let count = shared.settings.max_connections;
    let places = Arc::new(Semaphore::new(count));
    let mut acceptors = JoinSet::new();
    for (route, listener) in listeners {
        acceptors.spawn_local(accept(route, listener, Rc::clone(&shared), Arc::clone(&places)));
    }
    while let Some(ended) = acceptors.join_next().await {
        // One that panicked leaves connects to its address unanswered: the front is to end.
        if ended.is_err() {
            return;
        }
    }
    // Every place is free again when every connection has ended.
    let all = places.acquire_many(u32::try_from(count).unwrap_or(u32::MAX));
    tokio::time::timeout(GRACE, all).await.ok();
}

async fn accept(route: Route, listener: TcpListener, shared: Rc<Shared>, places: Arc<Semaphore>) {
    let mut stopped = shared.stopped.clone();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|&stopped| stopped) => break,
        };
        match accepted {
            Ok(accepted) => serve_one(accepted, route, place, &shared),
            Err(error) => {
                log::debug!("a front cannot accept address={} error={error}", route.front);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Whatever still waits was redirected before the programs were detached.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((client, caller)) = listener.accept() {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { return };
        let client = client.set_nonblocking(true).and_then(|()| TcpStream::from_std(client));
        if let Ok(client) = client {
            serve_one((client, caller), route, place, &shared);
        }
    }
}

/// Serves a connection in a task of its own.
fn serve_one(
    (client, caller): (TcpStream, SocketAddr),
    route: Route,
    place: OwnedSemaphorePermit,
    shared: &Rc<Shared>,
) {
    Counters::add(&shared.counters.accepted);
    let shared = Rc::clone(shared);
    tokio::task::spawn_local(async move {
        let _place = place;
        Connection::new(client, caller, route, shared).run().await;
    });
}

#[cfg(test)]
mod tests;
