//! The server.

use std::io::{self, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::connection::Connection;
use super::content::{Content, Secrets};
use super::log::Log;
use super::settings::{HopLimit, HttpTokens, Settings, Style, TokenMode};
use super::shared::{Shared, lock};

/// How many connections a listener serves at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4_096;

/// How many log entries are kept unless the builder says otherwise.
const DEFAULT_LOG_CAPACITY: usize = 1 << 20;

/// How long the service waits after it could not accept, as when it is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the service could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener could not be handed to the runtime.
    #[error("cannot serve on the listener")]
    Listener(#[source] io::Error),
    /// The thread of the service, or its runtime, could not be started.
    #[error("cannot start the thread of the simulated service")]
    Thread(#[source] io::Error),
}

/// Makes a [`Service`].
pub struct Builder {
    settings: Settings,
    role: String,
    secrets: Secrets,
    content: Option<Content>,
    log_capacity: usize,
    log_writer: Option<Box<dyn Write + Send>>,
}

impl Builder {
    /// Sets what can also be changed later.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the name of the instance's role; `app` by default.
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = role.into();
        self
    }

    /// Sets the secret values that are handed out.
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = secrets;
        self
    }

    /// Sets the whole of the metadata, in place of the sample with its role and secrets.
    pub fn content(mut self, content: Content) -> Self {
        self.content = Some(content);
        self
    }

    /// Sets how many log entries are kept; more are counted and written, not kept.
    pub fn log_capacity(mut self, entries: usize) -> Self {
        self.log_capacity = entries;
        self
    }

    /// Has each log entry written as a JSON line, before its response is sent.
    pub fn log_writer(mut self, writer: impl Write + Send + 'static) -> Self {
        self.log_writer = Some(Box::new(writer));
        self
    }

    /// Makes the service.
    pub fn build(self) -> Service {
        let content = self.content.unwrap_or_else(|| Content::sample(&self.role, &self.secrets));
        let shared = Shared {
            settings: Mutex::new(self.settings),
            tokens: Mutex::default(),
            content,
            log: Log::new(self.log_capacity, self.log_writer),
            stop: watch::Sender::new(false),
        };
        Service { handle: Handle { shared: Arc::new(shared) }, listeners: Vec::new() }
    }
}

/// A simulated metadata service, on the tokio runtime of its caller. Ends when dropped.
#[derive(Debug)]
pub struct Service {
    handle: Handle,
    listeners: Vec<JoinHandle<()>>,
}

impl Service {
    /// Starts to make a service.
    pub fn builder() -> Builder {
        Builder {
            settings: Settings::default(),
            role: "app".to_owned(),
            secrets: Secrets::default(),
            content: None,
            log_capacity: DEFAULT_LOG_CAPACITY,
            log_writer: None,
        }
    }

    /// Serves the connections of a listener; of several, when called again. To be called inside a
    /// tokio runtime.
    pub fn serve(&mut self, listener: TcpListener) -> Result<(), ServeError> {
        listener.set_nonblocking(true).map_err(ServeError::Listener)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(ServeError::Listener)?;
        let shared = self.handle.shared.clone();
        self.listeners.push(tokio::spawn(accept(listener, shared)));
        Ok(())
    }

    /// Gives a handle, to look at the service and to change it from anywhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until the service was asked to end and has.
    pub async fn ended(mut self) {
        for listener in self.listeners.drain(..) {
            // A listener whose task was cancelled with its runtime has ended as well.
            listener.await.ok();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

/// Looks at a service and changes it, from anywhere.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Gives the ground truth.
    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    /// Gives the settings in force.
    pub fn settings(&self) -> Settings {
        self.shared.settings()
    }

    /// Changes all settings at once.
    pub fn set_settings(&self, settings: Settings) {
        *lock(&self.shared.settings) = settings;
    }

    /// Changes how token requests are treated.
    pub fn set_mode(&self, mode: TokenMode) {
        lock(&self.shared.settings).token_mode = mode;
    }

    /// Changes whether requests need a token.
    pub fn set_http_tokens(&self, http_tokens: HttpTokens) {
        lock(&self.shared.settings).http_tokens = http_tokens;
    }

    /// Changes the hop limit.
    pub fn set_hop_limit(&self, hop_limit: HopLimit) {
        lock(&self.shared.settings).hop_limit = hop_limit;
    }

    /// Changes how responses look on the wire.
    pub fn set_style(&self, style: Style) {
        lock(&self.shared.settings).style = style;
    }

    /// Gives the tokens that were handed out, oldest first, for a search; the latest 65536.
    pub fn issued_tokens(&self) -> Vec<String> {
        self.shared.tokens().issued()
    }

    /// Ends the service: closes its listeners and breaks off its connections.
    pub fn shutdown(&self) {
        self.shared.stop.send_replace(true);
    }
}

/// A service on a thread of its own, for callers without a runtime. Ends when dropped.
#[derive(Debug)]
pub struct BackgroundService {
    handle: Handle,
    thread: Option<thread::JoinHandle<()>>,
}

impl BackgroundService {
    /// Starts a service on the given listeners.
    pub fn start(builder: Builder, listeners: Vec<TcpListener>) -> Result<Self, ServeError> {
        let service = builder.build();
        let handle = service.handle();
        let (started, start) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("simulated-imds".to_owned())
            .spawn(move || serve_in_background(service, listeners, &started))
            .map_err(ServeError::Thread)?;
        let background = Self { handle, thread: Some(thread) };
        match start.recv() {
            Ok(result) => result.map(|()| background),
            Err(gone) => Err(ServeError::Thread(io::Error::other(gone))),
        }
    }

    /// Gives a handle, to look at the service and to change it from anywhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for BackgroundService {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take() {
            // Its panic was printed already, and a drop has nobody to tell.
            thread.join().ok();
        }
    }
}

fn serve_in_background(
    mut service: Service,
    listeners: Vec<TcpListener>,
    started: &mpsc::SyncSender<Result<(), ServeError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            started.send(Err(ServeError::Thread(error))).ok();
            return;
        }
    };
    runtime.block_on(async move {
        let served = listeners.into_iter().try_for_each(|listener| service.serve(listener));
        let failed = served.is_err();
        started.send(served).ok();
        if !failed {
            service.ended().await;
        }
    });
}

/// Accepts connections until the service is asked to end.
async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                match accepted {
                    Ok((stream, peer)) => {
                        shared.log.connection();
                        if let Ok(connection) = Connection::new(stream, peer, shared.clone()) {
                            connections.spawn(connection.run());
                        }
                    }
                    Err(error) => {
                        log::warn!("simulated service cannot accept error={error}");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }
}

/// Waits until the service is asked to end.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could tell.
    stop.wait_for(|stop| *stop).await.ok();
}
