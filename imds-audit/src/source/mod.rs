//! Sources of segments and processes.

pub(crate) mod ebpf;
pub(crate) mod packet;
pub(crate) mod pcapng;
