//! Number of cases of property tests.

use std::env;

use proptest::test_runner::Config;

/// Returns a configuration for a property whose cases are costly: with fewer of them than
/// proptest's 256 in an ordinary run, and with `PROPTEST_CASES` of them if that is set, as `cargo
/// xtask properties` does.
pub(crate) fn costly(cases: u32) -> Config {
    let config = Config::default();
    if env::var_os("PROPTEST_CASES").is_some() { config } else { Config { cases, ..config } }
}
