//! Samples, as `xtask/src/bench/results.rs` reads them.

use std::collections::BTreeMap;

use serde::Serialize;

/// Samples by what was measured and in which variant.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Rows(Vec<Row>);

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    unit: &'static str,
    columns: BTreeMap<String, Vec<f64>>,
}

impl Rows {
    /// Adds a sample; rows keep the order of their first samples.
    pub fn add(&mut self, name: &str, unit: &'static str, column: &str, sample: f64) {
        let place = match self.0.iter().position(|row| row.name == name) {
            Some(place) => place,
            None => {
                self.0.push(Row { name: name.to_owned(), unit, columns: BTreeMap::new() });
                self.0.len() - 1
            }
        };
        if let Some(row) = self.0.get_mut(place) {
            row.columns.entry(column.to_owned()).or_default().push(sample);
        }
    }
}
