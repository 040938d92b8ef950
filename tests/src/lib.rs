//! Test bed of the end-to-end tests: the real program, a simulated metadata service in a
//! private network, real clients in it, and the comparison of what the service was asked with
//! what the program reported.
//!
//! ```text
//! testbed ── test_network ── network, service   (of the simulator)
//!                         ── caller             clients, and how they are started
//!         ── audit                              the program under test
//!         ── events                             its events, read back
//!         ── capturing                          the program capturing
//!         ── rehearsal                          the program rehearsing
//!         ── comparison                         ground truth and report, side by side
//!         ── loopback                           a connection whose both ends the test holds
//!         ── memory                             memory of a process
//!         ── memory_limit                       a bound on it
//!         ── chart                              the Helm chart, rendered
//!         ── sandbox                            fewer rights for the program
//!         ── bpf                                other programs in the kernel
//!         ── thread_fault                       a panic in a thread of the program
//!         ── netem                              a network that spoils packets
//!         ── vlan                               virtual LANs and frames with their tags
//!         ── node                               a container of a real runtime, as a node of a cluster
//!         ── systemd                            units of the test's own, and a systemd that runs them
//!         ── hanging_fs                         a root folder that never answers
//!         ── planted_secret                     a secret, in every form that it could be written in
//! ```
//!
//! A broken promise of the program is a panic here: this is test code.

mod audit;
mod audit_slots;
pub mod bpf;
mod caller;
mod capturing;
mod cgroup;
pub mod chart;
mod comparison;
mod events;
mod hanging_fs;
mod loopback;
mod memory;
mod memory_limit;
pub mod netem;
mod netlink;
mod node;
mod planted_secret;
mod prerequisites;
mod rehearsal;
pub mod sandbox;
mod systemd;
mod test_network;
mod testbed;
pub mod thread_fault;
pub mod vlan;
mod wait;

pub use audit::{Audit, Report, Setup};
pub use caller::{Caller, Running, become_user};
pub use capturing::Capturing;
pub use cgroup::Cgroup;
pub use comparison::{Comparison, Exchange};
pub use events::Events;
pub use hanging_fs::HangingFs;
pub use loopback::{ConnectionPair, Listener};
pub use memory::{Region, regions};
pub use memory_limit::MemoryLimit;
pub use node::{Disk, Node, NodeSetup};
pub use planted_secret::{PlantedSecret, assert_absent};
pub use prerequisites::{
    in_ci, node_modules, program, public_copy, python, root, samples, skip, skip_on_this_kernel,
};
pub use rehearsal::{Rehearsal, Rehearsed};
pub use systemd::Systemd;
pub use test_network::TestNetwork;
pub use testbed::{TestBed, own_port};
pub use wait::{TIMEOUT, is_asleep, until, until_exit, written_so_far};
