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

/// The most of an error's text that is told: of a refused program the verifier's output may have
/// megabytes, more than is kept for a slow reader. Its end says why.
const MAX_ERROR: usize = 64 << 10;

/// Tells why the program ends.
pub fn tell_error(error: &anyhow::Error) {
    tell(format_args!("imds-audit: {}\n", shortened(&format!("{error:#}"))));
}

/// Returns a text without its middle, where it is too long.
fn shortened(text: &str) -> String {
    if text.len() <= MAX_ERROR {
        return text.to_owned();
    }
    let (mut head, mut tail) = (MAX_ERROR / 8, text.len() - MAX_ERROR / 2);
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    let part = |range| text.get(range).unwrap_or_default();
    format!("{}\n…\n{}", part(0..head), part(tail..text.len()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_s_output_of_megabytes_keeps_its_beginning_and_its_end() {
        let text = format!("the program: {}why", "ü".repeat(2 << 20));
        let told = shortened(&text);
        assert!(told.len() <= MAX_ERROR, "{}", told.len());
        assert!(told.starts_with("the program: ü") && told.ends_with("üwhy"));
        assert_eq!(shortened("short"), "short");
    }
}
