//! A list of phrases that a native engineer would write otherwise.

use super::SourceFile;

/// Phrases with what to write instead.
const PHRASES: [(&str, &str); 13] = [
    ("is told", "is reported, printed, logged or counted"),
    ("are told", "are reported, printed, logged or counted"),
    ("of which", "a sentence of its own"),
    ("in vain", "without success"),
    ("for ever", "indefinitely, without limit"),
    ("likewise", "also, the same"),
    ("whose it was", "the process"),
    ("who answers", "the responsible process"),
    ("none of a", "no"),
    ("kernel half", "eBPF programs"),
    ("host half", "the program"),
    ("ebpf side", "eBPF programs"),
    ("as it stands", "unchanged"),
];

/// Words that open a clause where a module's doc comment should open with a noun or a verb.
const CLAUSES: [&str; 7] = ["What", "Who", "Where", "When", "How", "Whether", "Why"];

/// Verbs that open the text of an `# Errors` section.
const ERROR_VERBS: [&str; 3] = ["Returns ", "Fails ", "Passes "];

/// Returns each line that has one of the phrases, and each module's doc comment that opens with a
/// clause.
pub fn faults(files: &[SourceFile]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| !file.path.starts_with("xtask/src/house")) {
        let opening = file.text.strip_prefix("//! ").and_then(|text| text.split(' ').next());
        if let Some(word) = opening.filter(|word| CLAUSES.contains(word)) {
            faults.push(format!("{}:1: \"{word} …\": open with a noun or a verb", file.path));
        }
        faults.extend(fragments(file));
        for (number, line) in file.text.lines().enumerate() {
            let line = line.to_lowercase();
            for (phrase, instead) in PHRASES {
                if has(&line, phrase) {
                    let place = format!("{}:{}", file.path, number + 1);
                    faults.push(format!("{place}: \"{phrase}\": write {instead}"));
                }
            }
        }
    }
    faults
}

/// Returns each `# Errors` section that opens with a fragment and not with a verb.
fn fragments(file: &SourceFile) -> Vec<String> {
    let text = |line: &str| line.trim_start().trim_start_matches("///").trim().to_owned();
    let lines: Vec<_> = file.text.lines().collect();
    let sections = lines.iter().enumerate().filter(|(_, line)| line.trim() == "/// # Errors");
    let openings = sections.filter_map(|(number, _)| {
        let rest = lines.iter().enumerate().skip(number + 1);
        rest.map(|(number, line)| (number, text(line))).find(|(_, line)| !line.is_empty())
    });
    openings
        .filter(|(_, line)| !ERROR_VERBS.iter().any(|verb| line.starts_with(verb)))
        .map(|(number, line)| {
            format!("{}:{}: \"{line}\": write \"Returns …\"", file.path, number + 1)
        })
        .collect()
}

/// Returns whether a line has a phrase, from the start of a word to the end of one.
fn has(line: &str, phrase: &str) -> bool {
    line.match_indices(phrase).any(|(place, _)| {
        let before = line.get(..place).and_then(|text| text.chars().next_back());
        let behind = line.get(place + phrase.len()..).and_then(|text| text.chars().next());
        let is_whole = !before.is_some_and(char::is_alphanumeric)
            && !behind.is_some_and(char::is_alphanumeric);
        // To be told apart is plain English.
        is_whole && !line.get(place + phrase.len()..).unwrap_or_default().starts_with(" apart")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_counts_as_a_whole_and_in_any_case() {
        assert!(has("what is told of it", "is told"));
        assert!(!has("this toldest", "is told"));
        assert!(!has("callers that are told apart", "are told"));
        let file = SourceFile { path: "a.rs".into(), text: "//! The one Who Answers.".into() };
        assert_eq!(faults(&[file]).len(), 1);
    }

    #[test]
    fn a_module_s_doc_comment_opens_with_a_noun_or_a_verb() {
        let of = |text: &str| faults(&[SourceFile { path: "a.rs".into(), text: text.into() }]);
        assert_eq!(of("//! What is kept.").len(), 1);
        assert_eq!(of("//! Bounds on the state kept.\n//! What is more.").len(), 0);
    }

    #[test]
    fn an_errors_section_opens_with_a_verb() {
        let of = |text: &str| {
            let text = format!("/// Opens it.\n///\n/// # Errors\n{text}\nfn open() {{}}");
            faults(&[SourceFile { path: "a.rs".into(), text }]).len()
        };
        assert_eq!(of("/// Where it is gone."), 1);
        assert_eq!(of("///\n/// It is gone."), 1);
        assert_eq!(of("/// Returns an error if it is gone."), 0);
    }
}
