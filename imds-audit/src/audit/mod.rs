//! Classifies an exchange, joins it with its process and diagnoses its caller.
//!
//! Pure: no I/O, and no clock but the times that come with its input. Everything that leaves
//! this module for an output has been redacted and bounded here.

mod address;
pub mod advice;
pub mod auditor;
pub mod build;
pub mod class;
pub mod client;
pub mod diagnosis;
pub mod event;
mod lend;
pub mod limit;
pub mod path;
pub mod people;
mod portraits;
pub mod redact;
pub mod token;

#[cfg(test)]
mod misread;
