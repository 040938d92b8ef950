//! The variables by which Databricks names a cluster to its processes.

/// A cluster of Databricks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its id, as `1234-567890-reef123`.
    pub id: Box<[u8]>,
    /// What its owner calls it.
    pub name: Option<Box<[u8]>>,
}

/// The variables that Databricks sets (docs.databricks.com, "Set and use environment variables
/// with init scripts").
const ID: &[u8] = b"DB_CLUSTER_ID";
const NAME: &[u8] = b"DB_CLUSTER_NAME";
/// A longer name is none.
const MAX_NAME: usize = 256;
/// The most digits and letters behind an id's second dash.
const MAX_TAIL: usize = 32;

impl Cluster {
    /// Finds the cluster among variables; `find` returns a variable's value.
    ///
    /// Others call variables so too, for databases: an id of another form is not a cluster's.
    pub fn of<'a>(find: impl Fn(&[u8]) -> Option<&'a [u8]>) -> Option<Self> {
        let id = find(ID).filter(|id| is_id(id))?;
        let name = find(NAME).filter(|name| !name.is_empty() && name.len() <= MAX_NAME);
        Some(Self { id: id.into(), name: name.map(Into::into) })
    }

    /// Returns the number of bytes held.
    pub(super) fn len(&self) -> usize {
        self.id.len() + self.name.as_ref().map_or(0, |name| name.len())
    }
}

/// Returns whether this is a cluster's id: four digits, six digits, letters and digits, with
/// dashes between them (docs.databricks.com, Clusters API).
fn is_id(id: &[u8]) -> bool {
    let mut parts = id.splitn(3, |&byte| byte == b'-');
    let digits = |part: Option<&[u8]>, count| {
        part.is_some_and(|part| part.len() == count && part.iter().all(u8::is_ascii_digit))
    };
    digits(parts.next(), 4)
        && digits(parts.next(), 6)
        && parts.next().is_some_and(|tail| {
            (1..=MAX_TAIL).contains(&tail.len())
                && tail.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::environment::Environment;
    use proptest::prelude::*;

    fn reported(environment: &str, truncated: bool) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Environment::of(environment.as_bytes(), truncated).cluster.map_or(
            "-".to_owned(),
            |cluster| {
                format!(
                    "{} {}",
                    text(&cluster.id),
                    cluster.name.as_deref().map_or("-".into(), text)
                )
            },
        )
    }

    #[test]
    fn the_platform_s_variables_are_found_among_others() {
        for (environment, expected) in [
            (
                "A=1\0DB_CLUSTER_ID=1234-567890-reef123\0TOKEN=secret\0DB_CLUSTER_NAME=etl nightly\0",
                "1234-567890-reef123 etl nightly",
            ),
            ("DB_CLUSTER_ID=0923-164208-meows279", "0923-164208-meows279 -"),
            ("DB_CLUSTER_ID=0923-164208-x\0DB_CLUSTER_NAME=\0", "0923-164208-x -"),
            // The first counts, as it does for getenv(3).
            ("DB_CLUSTER_ID=1111-222222-a\0DB_CLUSTER_ID=3333-444444-b\0", "1111-222222-a -"),
            // A cluster of a database, and what only looks like the variable.
            ("DB_CLUSTER_ID=orders-aurora\0DB_CLUSTER_NAME=orders\0", "-"),
            ("DB_CLUSTER_ID=1234-567890-\0", "-"),
            ("DB_CLUSTER_ID=1234-567890-Reef\n1\0", "-"),
            ("MY_DB_CLUSTER_ID=1234-567890-reef123\0", "-"),
            ("DB_CLUSTER_IDS=1234-567890-reef123\0", "-"),
            ("DB_CLUSTER_NAME=alone\0", "-"),
            ("", "-"),
        ] {
            assert_eq!(reported(environment, false), expected, "{environment:?}");
        }
    }

    #[test]
    fn a_variable_that_is_cut_off_is_none() {
        let environment = "A=1\0DB_CLUSTER_ID=1234-567890-reef123";
        assert_eq!(reported(environment, false), "1234-567890-reef123 -");
        assert_eq!(reported(environment, true), "-");
        assert_eq!(reported(&format!("{environment}\0B=2"), true), "1234-567890-reef123 -");
    }

    #[test]
    fn a_name_that_is_none_is_left_out() {
        let long = "n".repeat(MAX_NAME + 1);
        let environment = format!("DB_CLUSTER_ID=1-2-3\0DB_CLUSTER_NAME={long}\0");
        assert_eq!(reported(&environment, false), "-");
        let environment = format!("DB_CLUSTER_ID=1111-222222-a\0DB_CLUSTER_NAME={long}\0");
        assert_eq!(reported(&environment, false), "1111-222222-a -");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), truncated: bool) {
            let _ = Environment::of(&bytes, truncated);
        }

        #[test]
        fn nothing_but_the_two_variables_is_kept(values in proptest::collection::vec("[A-Z_]{1,20}=[a-z0-9-]{0,20}", 0..8)) {
            let environment = values.join("\0") + "\0DB_CLUSTER_ID=1111-222222-a\0";
            let cluster = Environment::of(environment.as_bytes(), false).cluster;
            prop_assert!(cluster.is_some_and(|cluster| cluster.len() < 40));
        }
    }
}
