//! The program. Everything is in the library, except what belongs to the process as a whole.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Clears memory when it is freed: tokens pass through many buffers (segments, header blocks,
/// command lines), and none of them leaves anything behind on the heap.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    imds_audit::main()
}
