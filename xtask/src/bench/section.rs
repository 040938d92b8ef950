//! Section of the benchmarks: method, columns, goals.

use anyhow::Result;

use super::environment::BenchEnvironment;
use super::results::{Measured, Row};
use super::statistics::Spread;

/// A part of the benchmarks that can be run by itself.
pub struct Section {
    /// Its name on the command line and in the file of results.
    pub name: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// How it is measured, in Markdown.
    pub method: &'static str,
    /// The columns of its table, in order.
    pub columns: &'static [&'static str],
    /// What is made of the columns, pair by pair.
    pub comparisons: &'static [Comparison],
    /// What it is to be.
    pub goals: &'static [Goal],
    /// What is to be said of the figures, in Markdown.
    pub remarks: &'static str,
    /// Measures it.
    pub measure: fn(&BenchEnvironment<'_>) -> Result<Measured>,
}

/// What is made of the samples of two columns that were taken in the same round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The first divided by the second.
    Ratio(&'static str, &'static str),
    /// The first less the second.
    Difference(&'static str, &'static str),
}

/// A figure that is to be held.
pub struct Goal {
    /// What is to be held, as a person would say it.
    pub what: &'static str,
    /// The rows whose names begin with this; each is to hold it.
    pub rows: &'static str,
    /// What of a row is looked at.
    pub quantity: Quantity,
    /// The bound on its median.
    pub bound: Bound,
    /// Why it is not held, where it is not: what a profile shows.
    pub miss: &'static str,
}

/// What of a row a goal looks at.
#[derive(Clone, Copy, Debug)]
pub enum Quantity {
    /// A column.
    Column(&'static str),
    /// What is made of two.
    Comparison(Comparison),
}

/// The bound on a median.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

impl Comparison {
    /// Compares a row's columns.
    pub fn of(self, row: &Row) -> Option<Spread> {
        match self {
            Self::Ratio(one, other) => {
                Spread::of_pairs(row.samples(one), row.samples(other), |one, other| one / other)
            }
            Self::Difference(one, other) => {
                Spread::of_pairs(row.samples(one), row.samples(other), |one, other| one - other)
            }
        }
    }

    /// Returns a column's heading.
    pub fn heading(self) -> String {
        match self {
            Self::Ratio(one, other) => format!("{one} ÷ {other}"),
            Self::Difference(one, other) => format!("{one} − {other}"),
        }
    }
}

impl Quantity {
    /// Looks at a row.
    fn of(self, row: &Row) -> Option<Spread> {
        match self {
            Self::Column(name) => Spread::of(row.samples(name)),
            Self::Comparison(comparison) => comparison.of(row),
        }
    }
}

impl Bound {
    /// Tells whether a figure is within it.
    pub fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtMost(bound) => figure <= bound,
            Self::AtLeast(bound) => figure >= bound,
        }
    }

    /// Returns the worse of two figures.
    fn worse(self, one: f64, other: f64) -> f64 {
        match self {
            Self::AtMost(_) => one.max(other),
            Self::AtLeast(_) => one.min(other),
        }
    }
}

impl Goal {
    /// Returns the worst of the medians that it is about; `None` where none was measured.
    pub fn worst(&self, measured: &Measured) -> Option<f64> {
        measured
            .rows
            .iter()
            .filter(|row| row.name.starts_with(self.rows))
            .filter_map(|row| self.quantity.of(row))
            .map(|spread| spread.median)
            .reduce(|one, other| self.bound.worse(one, other))
    }

    /// Returns the unit of what it is about.
    pub fn unit<'a>(&self, measured: &'a Measured) -> &'a str {
        match self.quantity {
            Quantity::Comparison(Comparison::Ratio(..)) => "",
            Quantity::Column(_) | Quantity::Comparison(Comparison::Difference(..)) => measured
                .rows
                .iter()
                .find(|row| row.name.starts_with(self.rows))
                .map_or("", |row| &row.unit),
        }
    }
}
