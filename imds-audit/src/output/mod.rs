//! Writes events: as text for people or JSON lines for machines, and a summary at the end.

pub mod filter;
pub mod hops;
pub mod json;
pub mod printable;
pub mod queue;
pub mod sharing;
pub mod sink;
pub mod summary;
pub mod tally;
pub mod text;
pub mod who;
pub mod writer;
