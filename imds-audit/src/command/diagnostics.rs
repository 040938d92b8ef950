//! What is told on standard error: the log, the summary, why the program ends.

use std::{
    fmt,
    io::{self, Write},
    sync::LazyLock,
};

use crate::output::{queue::Queue, writer::Writer};

/// Standard error may be a pipe that nobody reads, too; it must not hold up the audit either.
/// `None` where there is none, or no thread to be had.
static QUEUE: LazyLock<Option<Queue>> = LazyLock::new(|| {
    let report = |lost| format!("imds-audit: {lost} lines were not told here\n").into_bytes();
    Queue::start(Writer::stderr().ok()?, report).ok()
});

/// Tells a person something, and waits until it is told, a bounded time. Where nobody reads it any
/// more the program goes on: a closed pipe is no error, and `eprintln!` would panic.
pub fn tell(text: fmt::Arguments<'_>) {
    let mut diagnostics = Diagnostics;
    let _ = diagnostics.write_all(text.to_string().as_bytes());
    let _ = diagnostics.flush();
    if let Some(queue) = &*QUEUE {
        queue.settle();
    }
}

/// Standard error as a place for whole lines, which never waits.
#[derive(Clone, Copy, Debug)]
pub struct Diagnostics;

impl Diagnostics {
    /// Waits until everything is told, a bounded time: for the end of the program.
    pub fn settle(self) {
        tell(format_args!(""));
    }
}

impl Write for Diagnostics {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(queue) = &*QUEUE
            && !bytes.is_empty()
        {
            queue.push(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // A reader that went away is no error.
        if let Some(queue) = &*QUEUE {
            let _ = queue.flush();
        }
        Ok(())
    }
}
