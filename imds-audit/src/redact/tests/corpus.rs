//! Measurement on two corpora: marked secrets, and command lines without any.

use std::fs;
use std::path::Path;

use super::*;

/// The marks around a secret.
const MARKS: [char; 2] = ['⟪', '⟫'];

/// A form of a corpus.
struct Form {
    /// Where it stands.
    place: String,
    /// Its arguments, with the marks.
    arguments: Vec<String>,
}

/// Returns the forms of the corpus in a folder.
fn forms(folder: &str) -> Vec<Form> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus").join(folder);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut forms = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let arguments = line.split('\t').map(unescaped).collect();
            forms.push(Form { place: format!("{name}:{}", number + 1), arguments });
        }
    }
    forms
}

fn unescaped(text: &str) -> String {
    let mut characters = text.chars();
    let mut unescaped = String::new();
    while let Some(character) = characters.next() {
        unescaped.push(match character {
            '\\' => match characters.next().unwrap() {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            },
            other => other,
        });
    }
    unescaped
}

/// Returns the secrets of a form.
fn secrets(form: &Form) -> Vec<&str> {
    let parts = form.arguments.iter().flat_map(|argument| argument.split(MARKS[0]).skip(1));
    parts.map(|part| part.split(MARKS[1]).next().unwrap()).collect()
}

fn is_shown(form: &Form, words: &[String]) -> bool {
    let bytes: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let shown = arguments(bytes).iter().map(|word| word.to_vec()).collect::<Vec<_>>().join(&b'\n');
    let shown = String::from_utf8_lossy(&shown).into_owned();
    let is_shown = secrets(form).iter().any(|secret| shown.contains(secret));
    if is_shown {
        println!("{}: {}", form.place, shown.escape_debug());
    }
    is_shown
}

/// Returns the arguments of a form without its marks.
fn plain(form: &Form) -> Vec<String> {
    form.arguments.iter().map(|argument| argument.replace(MARKS, "")).collect()
}

/// Returns words as a shell reads them.
fn quoted(words: &[String]) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,%+".contains(c);
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(is_plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\"'\"'"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[test]
fn no_marked_secret_is_shown() {
    let forms = forms("secrets");
    let unmarked = forms.iter().filter(|form| secrets(form).is_empty()).count();
    assert_eq!(unmarked, 0);
    let shown = forms.iter().filter(|form| is_shown(form, &plain(form))).count();
    assert_eq!(shown, 0, "of {} forms", forms.len());
    assert!(forms.len() >= 1000, "{} forms", forms.len());
}

#[test]
fn no_marked_secret_is_shown_in_a_script_of_the_same_words() {
    let forms = forms("secrets");
    let script = |form: &Form| vec!["sh".to_owned(), "-c".to_owned(), quoted(&plain(form))];
    // A script in a script is quoted twice, which is another form.
    let once = forms.iter().filter(|form| !plain(form).contains(&"-c".to_owned()));
    let shown = once.clone().filter(|form| is_shown(form, &script(form))).count();
    assert_eq!(shown, 0, "of {} forms", once.count());
}

#[test]
fn no_harmless_argument_is_changed() {
    let forms = forms("harmless");
    assert!(forms.len() >= 1000, "{} command lines", forms.len());
    let mut changed = 0;
    for form in &forms {
        let shown = arguments(form.arguments.iter().map(|argument| argument.as_bytes()));
        let is_same = shown
            .iter()
            .zip(&form.arguments)
            .all(|(shown, argument)| shown.as_ref() == argument.as_bytes());
        if !is_same {
            let shown: Vec<_> = shown.iter().map(|word| String::from_utf8_lossy(word)).collect();
            println!("{}: {}", form.place, shown.join(" ").escape_debug());
            changed += 1;
        }
    }
    assert_eq!(changed, 0, "of {} command lines", forms.len());
}
