//! The report as JSON.

use schemars::JsonSchema;
use serde::Serialize;

use super::{NextStep, next_steps};
use crate::aggregate::readiness::Report;

/// The report with the steps that follow from it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "Report")]
pub(crate) struct Document<'a> {
    /// The report.
    #[serde(flatten)]
    pub report: &'a Report,
    /// What to do, in order.
    pub next_steps: Vec<NextStep>,
}

/// Renders a report as one JSON object.
///
/// # Errors
/// Returns an error if it cannot be rendered.
pub(crate) fn render(report: &Report) -> Result<String, serde_json::Error> {
    let document = Document { report, next_steps: next_steps(report) };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_checked_in_schema_is_the_one_the_code_has() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/report.schema.json");
        let schema =
            serde_json::to_string_pretty(&schemars::schema_for!(Document<'_>)).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(&path, &schema).unwrap();
        }
        let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            checked_in == schema,
            "run this test with UPDATE_SCHEMA=1 and look at the difference"
        );
    }
}
