//! Standard error: the log, the summary, the reason why the program ends.

use std::{
    fmt,
    io::{self, Write},
    sync::LazyLock,
};

use crate::output::{loss::LostLines, queue::Queue, writer::Writer};

/// Queue of lines for standard error, which may be a pipe that nobody reads and must not hold up the
/// audit. `None` if the thread cannot be spawned.
static QUEUE: LazyLock<Option<Queue>> = LazyLock::new(|| {
    let report = |LostLines { unwritten, .. }| {
        format!("imds-audit: {unwritten} lines were not printed here\n").into_bytes()
    };
    Queue::start(Writer::stderr(), report).ok()
});

/// Prints a text, and waits a bounded time until it is printed. A closed pipe is no error;
/// `eprintln!` would panic.
pub(super) fn print(text: fmt::Arguments<'_>) {
    let mut diagnostics = Diagnostics;
    let _ = diagnostics.write_all(text.to_string().as_bytes());
    let _ = diagnostics.flush();
    if let Some(queue) = &*QUEUE {
        queue.drain();
    }
}

/// The most bytes of an error's text that are printed. The verifier's output for a refused program
/// may have megabytes, more than is kept for a slow reader; its end says why.
const MAX_ERROR: usize = 64 << 10;

/// Prints why the program ends.
pub(super) fn print_error(error: &anyhow::Error) {
    print(format_args!("imds-audit: {}\n", shortened(&format!("{error:#}"))));
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
pub(super) struct Diagnostics;

impl Diagnostics {
    /// Waits a bounded time until everything is printed: for the end of the program.
    pub(super) fn settle(self) {
        print(format_args!(""));
    }
}

impl Write for Diagnostics {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(queue) = &*QUEUE
            && !bytes.is_empty()
        {
            queue.push(bytes, None);
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
        let reported = shortened(&text);
        assert!(reported.len() <= MAX_ERROR, "{}", reported.len());
        assert!(reported.starts_with("the program: ü") && reported.ends_with("üwhy"));
        assert_eq!(shortened("short"), "short");
    }
}
