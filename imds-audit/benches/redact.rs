//! Benchmark of redaction on megabytes of hostile text: `cargo bench --bench redact`.
//! Four times the text is to take four times as long.

use divan::{Bencher, counter::BytesCount};
use imds_audit::internal::redact;

/// Pieces that make a scanner look at the same bytes again and again if it can be made to.
const HOSTILE: [&str; 8] = [
    "token ",
    "token='$(",
    "-u=",
    "://",
    "\\\"token: ",
    "token: %s' a %% (",
    "Authorization: $(",
    "token=\"\"'a",
];

#[divan::bench(args = HOSTILE, consts = [1, 4])]
fn text<const MEGABYTES: usize>(bencher: Bencher<'_, '_>, piece: &str) {
    let text = piece.repeat((MEGABYTES << 20) / piece.len());
    bencher
        .counter(BytesCount::new(text.len()))
        .bench(|| redact(divan::black_box(text.as_bytes())).len());
}

fn main() {
    divan::main();
}
