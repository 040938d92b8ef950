//! Rules on dependencies that need no tool: `deny.toml` says the same to cargo-deny.

#[cfg(test)]
mod tests {
    use spdx::{Expression, Licensee};

    use crate::dependencies::Dependencies;
    use crate::workspace::Workspace;

    /// The part of `deny.toml` that is read here.
    #[derive(serde::Deserialize)]
    struct Rules {
        licenses: Licenses,
    }

    #[derive(serde::Deserialize)]
    struct Licenses {
        allow: Vec<String>,
    }

    fn allowed() -> Vec<Licensee> {
        let rules: Rules = toml::from_str(include_str!("../../../deny.toml")).unwrap();
        rules.licenses.allow.iter().map(|name| Licensee::parse(name).unwrap()).collect()
    }

    fn is_allowed(expression: &str, allowed: &[Licensee]) -> bool {
        let expression = Expression::parse(expression).unwrap();
        expression.evaluate(|wanted| allowed.iter().any(|licensee| licensee.satisfies(wanted)))
    }

    #[test]
    fn each_crate_may_be_in_a_static_program_under_mit_or_apache() {
        let allowed = allowed();
        let dependencies = Dependencies::read(&Workspace::locate().unwrap()).unwrap();
        let refused: Vec<_> =
            dependencies.all.iter().filter(|one| !is_allowed(&one.licence, &allowed)).collect();
        assert!(refused.is_empty(), "{refused:#?}");
        for copyleft in ["GPL-3.0-only", "LGPL-2.1-or-later", "MPL-2.0", "MIT AND GPL-2.0-only"] {
            assert!(!is_allowed(copyleft, &allowed), "{copyleft}");
        }
    }

    #[test]
    fn each_crate_is_of_this_workspace_or_of_crates_io_and_is_summed() {
        let lock = include_str!("../../../Cargo.lock");
        let sources: Vec<_> =
            lock.lines().filter_map(|line| line.strip_prefix("source = ")).collect();
        let public = "\"registry+https://github.com/rust-lang/crates.io-index\"";
        assert!(sources.iter().all(|source| *source == public));
        assert_eq!(lock.matches("\nchecksum = \"").count(), sources.len());
    }
}
