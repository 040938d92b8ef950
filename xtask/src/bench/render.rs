//! Makes tables of what was measured: for the terminal, and the whole of `BENCHMARKS.md`.

use std::fmt::Write;

use super::results::{Measured, Results, Row};
use super::section::{Bound, Section};
use super::statistics::Spread;

const PREFACE: &str = "\
# What imds-audit costs, and what it holds

Made by `cargo xtask bench` from `xtask/baselines/benchmarks.json`; it is not edited by hand, and a unit test
compares the two. `cargo xtask bench SECTION` measures one section again, as root, on a machine
that does nothing else.

A cell is the median of all samples and, in parentheses, the quartiles between which the middle
half of them lies. Comparisons are made within each round, in which all variants were measured one
right after the other, in an order that changes from round to round; so what changes slowly on the
machine is in none of them.
";

/// Writes `BENCHMARKS.md`.
pub fn document(sections: &[&Section], results: &Results) -> String {
    let mut out = PREFACE.to_owned();
    let measured: Vec<_> = sections
        .iter()
        .filter_map(|section| Some((*section, results.sections.get(section.name)?)))
        .collect();
    goals(&mut out, &measured);
    for (section, measured) in measured {
        _ = write!(out, "\n## {}\n\n{}\n\n", section.title, section.method);
        out.push_str(&table(section, measured));
        if !section.remarks.is_empty() {
            _ = write!(out, "\n{}\n", section.remarks);
        }
        let Measured { place, date, commit, .. } = measured;
        _ = write!(
            out,
            "\n`cargo xtask bench {}`, {date}, at {commit}, on {}, Linux {}.\n",
            section.name, place.machine, place.kernel
        );
    }
    out
}

/// Returns the table of a section.
pub fn table(section: &Section, measured: &Measured) -> String {
    let mut out = String::new();
    let comparisons = section.comparisons.iter().map(|comparison| comparison.heading());
    let columns = section.columns.iter().map(|&column| column.to_owned());
    let headings: Vec<_> = columns.chain(comparisons).collect();
    _ = writeln!(out, "| | unit | {} |", headings.join(" | "));
    _ = writeln!(out, "|---|---|{}", "--:|".repeat(headings.len()));
    for row in &measured.rows {
        _ = writeln!(out, "| {} | {} | {} |", row.name, row.unit, cells(section, row).join(" | "));
    }
    out
}

fn cells(section: &Section, row: &Row) -> Vec<String> {
    let columns = section.columns.iter().map(|column| Spread::of(row.samples(column)));
    let comparisons = section.comparisons.iter().map(|comparison| comparison.of(row));
    columns.chain(comparisons).map(|spread| spread.map(cell).unwrap_or_default()).collect()
}

fn cell(Spread { median, low, high }: Spread) -> String {
    let [low, median, high] = [low, median, high].map(number);
    if low == high { median } else { format!("{median} ({low}–{high})") }
}

/// Writes the table of all goals, and why one is missed.
fn goals(out: &mut String, measured: &[(&Section, &Measured)]) {
    out.push_str(
        "\n## The figures to hold\n\n| what | to be | is | section |\n|---|--:|--:|---|\n",
    );
    let mut misses = String::new();
    for (section, measured) in measured {
        for goal in section.goals {
            let Some(worst) = goal.worst(measured) else { continue };
            let (sign, bound) = match goal.bound {
                Bound::AtMost(bound) => ('≤', bound),
                Bound::AtLeast(bound) => ('≥', bound),
            };
            let unit = goal.unit(measured);
            let missed = if goal.bound.holds(worst) { "" } else { "**missed**: " };
            let [bound, worst] = [bound, worst]
                .map(|figure| format!("{} {unit}", number(figure)).trim_end().to_owned());
            _ = writeln!(
                out,
                "| {} | {sign} {bound} | {missed}{worst} | {} |",
                goal.what, section.name
            );
            let why = format!("\n**{}**: {}\n", goal.what, goal.miss);
            // Sections that measure the same in two places may miss it for one reason.
            if !missed.is_empty() && !misses.contains(&why) {
                misses.push_str(&why);
            }
        }
    }
    out.push_str(&misses);
}

/// Writes a figure with four digits that count.
pub fn number(figure: f64) -> String {
    if figure == 0.0 {
        return "0".to_owned();
    }
    let whole_digits = figure.abs().log10().floor() as i32 + 1;
    let decimals = usize::try_from((4 - whole_digits).clamp(0, 4)).unwrap_or(0);
    let text = format!("{figure:.decimals$}");
    if decimals > 0 {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    grouped(&text)
}

/// Parts a whole number's digits in groups of three by a narrow space.
fn grouped(text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let mut out = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digits.len() > 4 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use anyhow::bail;

    use super::super::SECTIONS;
    use super::super::results::tests::example;
    use super::super::section::{Comparison, Goal, Quantity};
    use super::*;

    const SECTION: Section = Section {
        name: "a",
        title: "A",
        method: "So.",
        columns: &["without", "with"],
        comparisons: &[Comparison::Difference("with", "without")],
        goals: &[Goal {
            what: "little more",
            rows: "a ",
            quantity: Quantity::Comparison(Comparison::Difference("with", "without")),
            bound: Bound::AtMost(0.25),
            miss: "It is slow.",
        }],
        remarks: "",
        measure: |_| bail!("only to be shown"),
    };

    #[test]
    fn the_document_is_what_is_made_of_the_results() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let written = fs::read_to_string(root.join(crate::bench::results::DOCUMENT)).unwrap();
        let made = document(&SECTIONS, &Results::read(root).unwrap());
        assert_eq!(written, made, "cargo xtask bench --render writes it anew");
    }

    #[test]
    fn a_goal_that_is_missed_is_explained() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let results = Results::read(root).unwrap();
        for section in SECTIONS {
            let Some(measured) = results.sections.get(section.name) else { continue };
            for goal in section.goals {
                let worst = goal.worst(measured);
                let worst = worst.unwrap_or_else(|| panic!("{}: {}", section.name, goal.what));
                assert!(
                    goal.bound.holds(worst) || !goal.miss.is_empty(),
                    "{}: {} is {worst}",
                    section.name,
                    goal.what
                );
            }
        }
    }

    #[test]
    fn medians_quartiles_and_comparisons_stand_in_the_table() {
        let table = table(&SECTION, &example());
        let row = "| a thing | ns | 1.75 (1.375–2.125) | 2.125 (1.688–2.562) | \
                   0.375 (0.3125–0.4375) |";
        assert_eq!(table.lines().last(), Some(row));
    }

    #[test]
    fn a_missed_goal_is_said_to_be_and_why() {
        let mut out = String::new();
        goals(&mut out, &[(&SECTION, &example())]);
        assert!(out.contains("| little more | ≤ 0.25 ns | **missed**: 0.375 ns | a |"), "{out}");
        assert!(out.ends_with("\n**little more**: It is slow.\n"), "{out}");
    }

    #[test]
    fn numbers_have_four_digits_that_count() {
        let numbers = [0.0, 0.98765, 1.0, 12.346, 1234.5, 20_000.0, 1_234_567.0, -12_345.6];
        let texts = numbers.map(number);
        let wanted =
            ["0", "0.9877", "1", "12.35", "1234", "20\u{202f}000", "1\u{202f}234\u{202f}567"];
        assert_eq!(texts[..7], wanted);
        assert_eq!(texts[7], "-12\u{202f}346");
    }
}
