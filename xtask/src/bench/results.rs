//! Results as they are committed: samples, machine and date, without any words about them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The document that is made of the results, from the workspace's root.
pub const DOCUMENT: &str = "BENCHMARKS.md";

/// The file of the results, from the workspace's root.
pub const FILE: &str = "xtask/baselines/benchmarks.json";

/// Everything that was measured, by the section's name.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The sections that were measured, each when it was last.
    pub sections: BTreeMap<String, Measured>,
}

/// A section's measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Where it was run.
    pub place: Place,
    /// On which day, as `YYYY-MM-DD`.
    pub date: String,
    /// The commit; `-dirty` behind it if the tree had changes.
    pub commit: String,
    /// The samples.
    pub rows: Vec<Row>,
}

/// Where something was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The processor, how many of it, and the memory; for a virtual machine what emulates it.
    pub machine: String,
    /// The kernel's release.
    pub kernel: String,
    /// Whether it is an emulated machine, whose clock may count instructions.
    pub is_emulated: bool,
}

/// What was measured of one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// In what: `ns`, `Gbit/s`.
    pub unit: String,
    /// The samples by column. Those of one round have the same place in each column.
    pub columns: BTreeMap<String, Vec<f64>>,
}

impl Results {
    /// Reads the committed file; nothing where there is none yet.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Writes the file.
    pub fn write(&self, root: &Path) -> Result<()> {
        let path = root.join(FILE);
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(&path, on_one_line(&text)).with_context(|| path.display().to_string())
    }
}

impl Row {
    /// Returns the samples of a column; none where it was not measured.
    pub fn samples(&self, column: &str) -> &[f64] {
        self.columns.get(column).map_or(&[], Vec::as_slice)
    }

    /// Cuts the samples to six digits: more were never measured, and would be noise in the file.
    pub fn cut(&mut self) {
        for sample in self.columns.values_mut().flatten() {
            *sample = format!("{sample:.5e}").parse().unwrap_or(*sample);
        }
    }
}

/// Puts each series of samples on one line: lists of numbers are all that this file has.
fn on_one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_numbers = false;
    for line in text.lines() {
        let word = line.trim();
        if in_numbers {
            out.push_str(word);
            if word.ends_with(',') && !word.starts_with(']') {
                out.push(' ');
            }
            in_numbers = !word.starts_with(']');
            if !in_numbers {
                out.push('\n');
            }
            continue;
        }
        out.push_str(line);
        // The rows themselves are a list too, of objects.
        in_numbers = word.ends_with('[') && word != "\"rows\": [";
        if !in_numbers {
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Makes a measurement with one row of two columns.
    pub(in crate::bench) fn example() -> Measured {
        let columns = [("without", vec![1.0, 2.5]), ("with", vec![1.25, 3.0])];
        let columns = columns.map(|(name, samples)| (name.to_owned(), samples));
        Measured {
            place: Place {
                machine: "a machine".to_owned(),
                kernel: "6.1".to_owned(),
                is_emulated: false,
            },
            date: "2026-01-02".to_owned(),
            commit: "abc".to_owned(),
            rows: vec![Row {
                name: "a thing".to_owned(),
                unit: "ns".to_owned(),
                columns: columns.into(),
            }],
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = std::env::temp_dir().join(format!("xtask-results-{}", std::process::id()));
        fs::create_dir_all(folder.join("xtask/baselines")).unwrap();
        let sections = [("a".to_owned(), example()), ("b".to_owned(), example())];
        let results = Results { sections: sections.into() };
        results.write(&folder).unwrap();
        let text = fs::read_to_string(folder.join(FILE)).unwrap();
        let read = Results::read(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(read, results);
        assert!(text.contains("\"with\": [1.25, 3.0]"), "{text}");
    }

    #[test]
    fn samples_are_cut_to_six_digits() {
        let mut row = example().rows.remove(0);
        row.columns.insert("with".to_owned(), vec![1_234.567_89, 0.000_123_456_789]);
        row.cut();
        assert_eq!(row.samples("with"), [1_234.57, 0.000_123_457]);
    }
}
