//! What the end-to-end tests stand on: the real program, a simulated metadata service in a
//! private network, real clients in it, and the comparison of what the service was asked with
//! what the program reported.
//!
//! ```text
//! scene ── network, service      what is audited      (of the simulator)
//!       ── audit                 the program under test
//!       ── caller                who asks
//!       ── findings              ground truth and report, side by side
//! ```
//!
//! A broken promise of the program is a panic here: this is test code.

mod audit;
mod caller;
mod cgroup;
mod findings;
mod gate;
mod prerequisites;
mod scene;
mod wait;

pub use audit::{Audit, Report, kinds};
pub use caller::{Caller, Running, become_user};
pub use cgroup::Cgroup;
pub use findings::{Exchange, Findings, text};
pub use prerequisites::{in_ci, node_modules, program, public_copy, python, root, skip};
pub use scene::Scene;
pub use wait::{PATIENCE, until, until_exit};
