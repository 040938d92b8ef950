//! Shows every request to the EC2 instance metadata service, says whether it was IMDSv1 or
//! IMDSv2 and what the service answered, and names the process that made it.
//!
//! Data flows one way through the modules:
//!
//! ```text
//! kernel ──records──▶ source ──segments──▶ flow ──exchanges──▶ audit ──events──▶ output
//!                                                                ▲
//!                                                  process ──────┘
//! ```
//!
//! Public are the [`event`] types with their reader, and the [`simulator`] that the tests and the
//! demonstration use. `xtask/public-api.txt` lists all of it, and a test compares.

#![warn(unreachable_pub)]

mod agent;
mod aggregate;
mod audit;
mod capture;
mod classify;
mod command;
mod diagnose;
pub mod event;
mod flow;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
#[doc(hidden)]
pub mod internal;
mod output;
mod pipeline;
mod process;
#[cfg(test)]
mod property;
mod redact;
mod rehearsal;
mod report;
mod seal;
mod segment;
pub mod simulator;
mod snapshot;
mod source;
mod text;

pub use command::{cli::definition, main};
