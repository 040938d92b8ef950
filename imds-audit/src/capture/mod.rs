//! A forensic record of packets: pcapng, with the process in each packet's comment, and without
//! secrets.
//!
//! Packets are rebuilt from the segments that a source reports. A request's bytes are written once
//! its header block was seen and cleaned; until then they exist here as zeros, so that whatever goes
//! wrong, what is written is clean.

mod blocks;
pub(crate) mod bundle;
mod clean;
mod files;
mod held;
mod packet;
mod pending_losses;
mod recorder;
mod requests;
mod responses;
mod writer;

pub(crate) use files::{CaptureFiles, FileLimits, SectionInfo};
pub(crate) use recorder::{CaptureRecorder, CaptureTotals};

#[cfg(test)]
mod tests;
