//! What the end-to-end tests stand on: the real program, a simulated metadata service in a
//! private network, real clients in it, and the comparison of what the service was asked with
//! what the program reported.
//!
//! ```text
//! scene ── stage ── network, service      what is audited      (of the simulator)
//!                ── caller                who asks
//!       ── audit                          the program under test
//!       ── findings                       ground truth and report, side by side
//!       ── line                           a connection whose both ends the test holds
//!       ── memory                         what a process holds in its memory
//!       ── memory_limit                   a bound on that
//!       ── confined                       where the program may do or see less
//!       ── bpf                            other programs in the kernel
//!       ── netem                          a network that spoils packets
//!       ── systemd                        units of the test's own, and a systemd that runs them
//!       ── trap                           a root folder in which nothing is ever found
//!       ── needle                         a secret, in every form that it could be written in
//! ```
//!
//! A broken promise of the program is a panic here: this is test code.

mod audit;
pub mod bpf;
mod caller;
mod cgroup;
pub mod confined;
mod findings;
mod gate;
mod line;
mod memory;
mod memory_limit;
mod needle;
pub mod netem;
mod prerequisites;
mod scene;
mod stage;
mod systemd;
mod trap;
mod wait;

pub use audit::{Audit, Report, Setup, kinds};
pub use caller::{Caller, Running, become_user};
pub use cgroup::Cgroup;
pub use findings::{Exchange, Findings, text};
pub use line::{Desk, Line};
pub use memory::{Region, regions};
pub use memory_limit::MemoryLimit;
pub use needle::{Needle, assert_absent};
pub use prerequisites::{in_ci, node_modules, program, public_copy, python, root, skip};
pub use scene::{Scene, own_port};
pub use stage::Stage;
pub use systemd::Systemd;
pub use trap::Trap;
pub use wait::{PATIENCE, is_asleep, until, until_exit};
