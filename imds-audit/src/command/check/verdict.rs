//! The verdict over all items.

use serde::Serialize;

use super::finding::{Item, Status};

/// How much of this host can be audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Everything.
    Full,
    /// The audit runs, and does without something.
    Partial,
    /// The audit cannot run.
    Impossible,
}

impl Verdict {
    /// Draws it from the items.
    pub(crate) fn of(items: &[Item]) -> Self {
        let any = |status| items.iter().any(|item| item.status == status);
        if any(Status::Missing) || any(Status::Untested) {
            Self::Impossible
        } else if any(Status::Degraded) {
            Self::Partial
        } else {
            Self::Full
        }
    }

    /// Says it in one sentence.
    pub(crate) fn sentence(self, items: &[Item]) -> String {
        let names = |status| {
            let with = items.iter().filter(|item| item.status == status);
            enumerate(&with.map(|item| item.name.as_str()).collect::<Vec<_>>())
        };
        match self {
            Self::Full => "This host can be audited in full.".to_owned(),
            Self::Partial if items.iter().any(|item| item.status == Status::Missing) => format!(
                "This host can be audited in part, by a packet socket: {} missing for eBPF programs.",
                names(Status::Missing)
            ),
            Self::Partial => {
                format!("This host can be audited in part: {} limited.", names(Status::Degraded))
            }
            Self::Impossible => {
                let first = items.iter().find(|item| item.status == Status::Missing);
                let remedy = first.and_then(|item| item.remedy.as_deref());
                let remedy = remedy.map(|r| format!(" To do: {r}")).unwrap_or_default();
                format!("This host cannot be audited: {} missing.{remedy}", names(Status::Missing))
            }
        }
    }
}

/// Writes a list as a sentence has it, with its verb: `a is`, `a and b are`, `a, b and c are`.
fn enumerate(names: &[&str]) -> String {
    match names {
        [] => "something is".to_owned(),
        [name] => format!("{name} is"),
        [first @ .., last] => format!("{} and {last} are", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking(name: &str, status: Status) -> Item {
        Item::lacking(name, status, "found", "cost").remedy("do it")
    }

    #[test]
    fn a_missing_item_outweighs_degraded_ones() {
        let mut items = vec![Item::ok("a", "fine")];
        assert_eq!(Verdict::of(&items), Verdict::Full);
        items.push(lacking("b", Status::Degraded));
        assert_eq!(Verdict::of(&items), Verdict::Partial);
        items.push(lacking("c", Status::Missing));
        items.push(lacking("d", Status::Missing));
        let verdict = Verdict::of(&items);
        assert_eq!(verdict, Verdict::Impossible);
        assert_eq!(
            verdict.sentence(&items),
            "This host cannot be audited: c and d are missing. To do: do it"
        );
    }

    #[test]
    fn what_was_not_tried_is_never_taken_for_good() {
        assert_eq!(Verdict::of(&[Item::untested("a", "b is missing")]), Verdict::Impossible);
    }

    #[test]
    fn names_are_listed_as_a_sentence_has_them() {
        assert_eq!(enumerate(&["a"]), "a is");
        assert_eq!(enumerate(&["a", "b", "c"]), "a, b and c are");
    }
}
