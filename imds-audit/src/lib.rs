//! Shows every request to the EC2 instance metadata service, says whether it was IMDSv1 or
//! IMDSv2 and what came of it, and names who made it.
//!
//! Data flows one way, and the modules are its stations:
//!
//! ```text
//! kernel ──records──▶ probe ──segments──▶ flow ──exchanges──▶ audit ──events──▶ output
//!                                                               ▲
//!                                                 process ──────┘  (who)
//! ```

pub mod audit;
pub mod command;
pub mod flow;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod output;
pub mod probe;
pub mod process;
pub mod simulator;
