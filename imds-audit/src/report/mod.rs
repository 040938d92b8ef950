//! Reports: from files of events to a page that says who still uses IMDSv1.

pub(crate) mod csv;
pub(crate) mod emf;
pub(crate) mod html;
pub(crate) mod input;
pub(crate) mod json;
mod next_steps;
pub(crate) mod ocsf;
pub(crate) mod text;

pub(crate) use next_steps::{NextStep, next_steps};
