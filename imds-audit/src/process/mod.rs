//! Says what is known of a process: who it was from the kernel's snapshot, the rest from procfs.
