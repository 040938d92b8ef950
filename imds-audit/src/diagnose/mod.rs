//! Diagnosis of IMDSv1 use: its cause, the client software behind it, and the advice for both.

mod advice;
mod client;
mod diagnosis;
mod facts;
mod header_argument;
mod relay;
mod token_requests;
mod tool_group;
mod tracker;

pub(crate) use advice::advise;
pub(crate) use client::{recognise, script_above};
#[cfg(test)]
pub(crate) use diagnosis::{Diagnosis, Refusal};
pub(crate) use facts::{Facts, ProcessInstance};
pub(crate) use relay::is_relay;
pub(crate) use tracker::DiagnosisTracker;
