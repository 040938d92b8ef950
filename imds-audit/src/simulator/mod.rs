//! A simulated EC2 instance metadata service, and the private networks that it lives in.
//!
//! The `demo` command and the end-to-end tests audit it. It follows the public documentation and
//! captures of the real service; where those are silent, an assumption is stated at the place
//! that makes it. What it was asked and what it answered is kept in a [ground truth](Log) that
//! shares no code with the stations under test, not even the reading of HTTP.
//!
//! ```text
//! network ── namespace, link                 where it lives
//! service ── connection ── request           what it is asked
//!                       ── answer            what it decides  (token, content)
//!                       ── response          how that looks on the wire
//!                       ── log               what is remembered of it
//! ```

mod answer;
mod connection;
mod content;
mod link;
mod log;
mod namespace;
mod netlink;
mod network;
mod request;
mod response;
mod service;
mod settings;
mod shared;
mod status;
mod token;

#[cfg(test)]
mod network_tests;
#[cfg(test)]
mod service_tests;

pub use content::{Content, Secrets};
pub use log::{Counters, Entry, Log, TokenHeader};
pub use namespace::{Namespace, NamespaceError};
pub use network::{GATEWAY_V4, Network, NetworkError, SERVICE_V4, SERVICE_V6, Topology};
pub use service::{BackgroundService, Builder, Handle, ServeError, Service};
pub use settings::{
    Framing, HopLimit, HopLimitError, HttpTokens, ResponseVersion, Settings, Style, TokenMode,
};
pub use status::Status;
