//! The direction of imports between the program's modules, and files that import each other.

use std::collections::{BTreeMap, BTreeSet};

use super::SourceFile;

/// The program's modules, the ground floor first: each imports only from floors below its own.
const FLOORS: [&[&str]; 8] = [
    &["event", "redact", "text", "simulator"],
    &["classify", "aggregate", "segment", "snapshot", "seal"],
    &["frame"],
    &["flow", "process", "source", "diagnose", "output", "report"],
    &["audit", "rehearsal"],
    &["pipeline"],
    &["agent", "capture"],
    &["command"],
];

/// Where the program's modules lie.
const ROOT: &str = "imds-audit/src/";

/// Returns each import that points up or across, and each pair of files that import each other.
pub fn faults(files: &[SourceFile]) -> Vec<String> {
    let modules: BTreeMap<String, String> = files
        .iter()
        .filter(|file| is_product(&file.path))
        .filter_map(|file| Some((module_of(&file.path)?, code_of(&file.text))))
        .collect();
    let imports: BTreeMap<&str, BTreeSet<&str>> = modules
        .iter()
        .map(|(module, code)| (module.as_str(), imports_of(module, code, &modules)))
        .collect();
    let mut faults = Vec::new();
    for (module, targets) in &imports {
        for target in targets {
            let (from, to) = (room(module), room(target));
            if from != to && floor(from).zip(floor(to)).is_some_and(|(from, to)| from <= to) {
                faults.push(format!("{module} imports {target}: not a floor below its own"));
            }
            // A module and those within it are one thing in several files.
            let is_family = is_within(module, target) || is_within(target, module);
            if module < target
                && !is_family
                && imports.get(target).is_some_and(|t| t.contains(module))
            {
                faults.push(format!("{module} and {target} import each other"));
            }
        }
    }
    faults
}

fn is_product(path: &str) -> bool {
    let is_test = |part: &str| matches!(part, "tests" | "tests.rs" | "fixture.rs" | "forms.rs");
    path.starts_with(ROOT)
        && path.ends_with(".rs")
        && !path.split('/').any(|part| is_test(part) || part.ends_with("_tests.rs"))
}

/// Returns the path of a file's module: `flow::connection` for `flow/connection.rs`.
fn module_of(path: &str) -> Option<String> {
    let path = path.strip_prefix(ROOT)?.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let top = path.split('/').next()?;
    floor(top).map(|_| path.replace('/', "::"))
}

/// Returns the code without comments and without the tests at its end.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    text.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

/// Returns the modules that a module names.
fn imports_of<'a>(
    module: &str,
    code: &str,
    modules: &'a BTreeMap<String, String>,
) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    for path in paths(module, code) {
        let mut path = path.as_str();
        // `event::Class` is found in `event`.
        loop {
            if let Some((known, _)) = modules.get_key_value(path) {
                if known != module {
                    found.insert(known.as_str());
                }
                break;
            }
            match path.rsplit_once("::") {
                Some((front, _)) => path = front,
                None => break,
            }
        }
    }
    found
}

/// Returns the paths that code names from `crate` and from `super`, groups taken apart.
fn paths(module: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (place, _) in code.match_indices("crate::") {
        expand(String::new(), code.get(place + 7..).unwrap_or_default(), &mut found);
    }
    let above = |levels: usize| {
        let parts: Vec<&str> = module.split("::").collect();
        let kept = parts.len().saturating_sub(levels);
        parts.into_iter().take(kept).map(|part| format!("{part}::")).collect::<String>()
    };
    for (place, _) in code.match_indices("super::") {
        // The second of `super::super::` is taken with the first.
        if code.get(..place).unwrap_or_default().ends_with("super::") {
            continue;
        }
        let (mut rest, mut levels) = (code.get(place..).unwrap_or_default(), 0);
        while let Some(below) = rest.strip_prefix("super::") {
            (rest, levels) = (below, levels + 1);
        }
        expand(above(levels), rest, &mut found);
    }
    found
}

/// Adds the paths of a tree such as `a::{b, c::{d, e}}`, with `front` before them.
fn expand(front: String, tree: &str, found: &mut Vec<String>) {
    let end = tree.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    let (path, rest) = tree.split_at(end.unwrap_or(tree.len()));
    let front = front + path;
    let Some(group) = rest.strip_prefix('{').filter(|_| front.is_empty() || front.ends_with("::"))
    else {
        found.push(front.trim_end_matches(':').to_owned());
        return;
    };
    let (mut depth, mut start) = (0_usize, 0);
    for (place, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let item = group.get(start..place).unwrap_or_default().trim();
                if !item.is_empty() {
                    expand(front.clone(), item, found);
                }
                start = place + 1;
                if character == '}' {
                    return;
                }
            }
            _ => {}
        }
    }
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn is_within(module: &str, parent: &str) -> bool {
    module.strip_prefix(parent).is_some_and(|rest| rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| SourceFile {
                path: format!("{ROOT}{path}"),
                text: (*text).to_owned(),
            })
            .collect();
        faults(&files)
    }

    #[test]
    fn an_import_that_points_up_is_a_fault() {
        let audit = ("audit/mod.rs", "use crate::{\n    event::Event,\n    flow::{Tracker},\n};");
        let flow = ("flow/mod.rs", "use crate::segment::Segment;");
        let segment = ("segment.rs", "");
        let event = ("event/mod.rs", "");
        assert_eq!(faults_of(&[audit, flow, segment, event]), Vec::<String>::new());
        let up = ("event/mod.rs", "use crate::audit::Auditor;");
        // It points up, and the two import each other.
        assert_eq!(faults_of(&[audit, flow, segment, up]).len(), 2);
        let across = ("flow/mod.rs", "fn f() { crate::process::read() }");
        assert_eq!(faults_of(&[across, ("process/mod.rs", "")]).len(), 1);
    }

    #[test]
    fn two_files_that_import_each_other_are_a_fault_and_a_parent_is_not() {
        let a = ("flow/a.rs", "use super::b::B;");
        let b = ("flow/b.rs", "use super::{a::{A, C}, Tracker};");
        let parent = ("flow/mod.rs", "mod a;\npub use a::A;\nuse crate::flow::a::C;");
        assert_eq!(faults_of(&[a, b, parent]), ["flow::a and flow::b import each other"]);
        assert_eq!(faults_of(&[a, ("flow/b.rs", ""), parent]), Vec::<String>::new());
    }

    #[test]
    fn tests_and_comments_may_name_what_they_like() {
        let text = "// crate::audit\n#[cfg(test)]\nmod tests {\n    use crate::audit::A;\n}";
        let tests = ("event/tests.rs", "use crate::audit::A;");
        assert_eq!(
            faults_of(&[("event/mod.rs", text), tests, ("audit/mod.rs", "")]),
            Vec::<String>::new()
        );
    }
}
