//! Runs the commands of docs/forensics.md.

use std::fs;
use std::process::Command;

use imds_audit_tests::{program, root};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/forensics.md");

/// Gives the blocks of commands with their names, in order.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(fence)) => {
                if let Some(name) = fence.strip_prefix("sh ") {
                    open = Some((name.to_owned(), String::new()));
                } else if !fence.is_empty() {
                    open = Some((String::new(), String::new()));
                }
            }
            (Some(_), Some("")) => found.extend(open.take().filter(|(name, _)| !name.is_empty())),
            (Some((_, text)), _) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

#[test]
fn every_command_of_the_page_works() {
    let Some(program) = program().filter(|_| root()) else { return };
    let page = fs::read_to_string(PAGE).unwrap();
    let blocks = blocks(&page);
    let names: Vec<_> = blocks.iter().map(|(name, _)| name.as_str()).collect();
    let expected =
        ["bundle", "capture", "tshark", "replay", "seal", "checkpoint", "standard", "sums", "sign"];
    assert_eq!(names, expected);
    let folder = tempfile::tempdir().unwrap();
    let path = format!(
        "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        program.parent().unwrap().display()
    );
    for (name, commands) in blocks {
        // Nobody asks: the captures of this test may be short.
        let commands = commands.replace("--duration 10m", "--duration 1s");
        let output = Command::new("sh")
            .args(["-euc", &commands])
            .current_dir(folder.path())
            .env("PATH", &path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
        if name == "standard" {
            let printed = String::from_utf8(output.stdout).unwrap();
            assert!(printed.contains(" lines, the last one "), "{printed}");
            assert_altered_is_found(folder.path(), &commands);
        }
    }
}

/// Asserts that the recipe with standard tools finds each altered byte that `verify` finds.
fn assert_altered_is_found(folder: &std::path::Path, recipe: &str) {
    let path = folder.join("sealed.jsonl");
    let whole = fs::read(&path).unwrap();
    let length = whole.len();
    for place in [0, 20, length / 2, length - 60, length - 5] {
        let mut altered = whole.clone();
        altered[place] ^= 1;
        fs::write(&path, altered).unwrap();
        let output =
            Command::new("sh").args(["-euc", recipe]).current_dir(folder).output().unwrap();
        assert!(!output.status.success(), "a change of byte {place} is not found");
    }
    fs::write(&path, whole).unwrap();
}
