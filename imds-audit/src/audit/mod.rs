//! Joins an exchange with its process and builds an event of both.
//!
//! Pure: no I/O, and no clock but the times that come with its input. Everything that leaves
//! this module for an output has been redacted and bounded here.

pub(crate) mod attribution;
pub(crate) mod auditor;
pub(crate) mod clock;
mod connection_fold;
pub(crate) mod describe;
mod held;
mod process_cache;
mod relays;
mod sanitizer;
mod segmented_lru;
pub(crate) mod token;
mod unowned;

#[cfg(test)]
mod attribution_laws;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod flood_laws;
#[cfg(test)]
mod misclassification;
