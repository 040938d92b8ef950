//! Tests that the page on security names: each has to be there.

use super::SourceFile;

/// The page whose claims name their tests.
const PAGE: &str = "docs/security.md";

/// Where tests are looked for.
const ROOTS: [&str; 2] = ["tests/tests/e2e/", "imds-audit/src/"];

/// Returns each name of a test on the page that no file has.
pub fn faults(files: &[SourceFile]) -> Vec<String> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![format!("{PAGE} is missing")];
    };
    let names: Vec<_> = names(&page.text).collect();
    if names.is_empty() {
        return vec![format!("{PAGE} names no test")];
    }
    let missing = names.into_iter().filter(|name| !is_there(name, files));
    missing.map(|name| format!("{PAGE} names {name}: there is no such test")).collect()
}

/// Returns what stands in backticks in the last column of the page's tables and has a `::`.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let last = rows.filter_map(|row| row.rsplit(" | ").next());
    last.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(|name| name.contains("::"))
}

/// Returns whether a module or a test has this name; one that ends in `…` stands for all that begin
/// like it.
fn is_there(name: &str, files: &[SourceFile]) -> bool {
    let parts: Vec<&str> = name.split("::").collect();
    let Some((test, modules)) = parts.split_last() else { return false };
    !modules_of(&parts, files).is_empty()
        || modules_of(modules, files).iter().any(|file| match test.strip_suffix('…') {
            Some(beginning) => words(&file.text).any(|word| word.starts_with(beginning)),
            None => words(&file.text).any(|word| word == *test),
        })
}

/// Returns the files of the modules with a path: one of the end-to-end tests and one of the program
/// may share it. A module `tests` may stand in the file that it tests.
fn modules_of<'a>(parts: &[&str], files: &'a [SourceFile]) -> Vec<&'a SourceFile> {
    let path = parts.join("/");
    let is_file = |file: &&SourceFile| {
        ROOTS.iter().any(|root| {
            let name = file.path.strip_prefix(root).and_then(|name| name.strip_suffix(".rs"));
            name.is_some_and(|name| name.strip_suffix("/mod").unwrap_or(name) == path)
        })
    };
    let own: Vec<_> = files.iter().filter(|file| !path.is_empty() && is_file(file)).collect();
    match parts.strip_suffix(&["tests"]) {
        Some(tested) if own.is_empty() => modules_of(tested, files),
        _ => own,
    }
}

/// Returns the names in a file.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_name_without_a_test_is_a_fault() {
        let row = |name: &str| format!("| who | tries | what | `{name}`, as `root` |");
        for (name, is_known) in [
            ("send::sendfile", true),
            ("send::send", false),
            ("forged::a_forged_…", true),
            ("forged::…", true),
            ("forged::b_…", false),
            ("flow::tests::claims::one", true),
            ("flow::tests::claims", true),
            ("flow::tests::claim", false),
            ("flow::limits::tests::bound", true),
            ("other::one", false),
        ] {
            let files = [
                file(PAGE, &row(name)),
                file("tests/tests/e2e/send.rs", "rows! { sendfile => 1 }"),
                file("tests/tests/e2e/forged.rs", "fn a_forged_end() {}"),
                file("imds-audit/src/flow/tests/claims.rs", "fn one() {}"),
                file("imds-audit/src/flow/limits.rs", "mod tests { fn bound() {} }"),
            ];
            assert_eq!(faults(&files).is_empty(), is_known, "{name}: {:?}", faults(&files));
        }
        assert_eq!(faults(&[file(PAGE, "| who | `root` |")]).len(), 1);
    }
}
