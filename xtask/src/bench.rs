//! Measures what the program costs and what it holds, and writes `BENCHMARKS.md`.

mod caller_cost;
mod captures;
mod comparison;
mod emulated;
mod environment;
mod other_traffic;
mod packet_source;
mod rehearsal;
mod render;
mod report;
mod results;
mod section;
mod service;
mod statistics;
mod tools;

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

use environment::BenchEnvironment;
use results::Results;
use section::Section;

/// Every section, in the order of the document.
const SECTIONS: [&Section; 21] = [
    &other_traffic::PACKET,
    &other_traffic::LOOPBACK,
    &other_traffic::VETH,
    &emulated::INSTRUCTIONS,
    &comparison::RIVALS,
    &comparison::RIVALS_HERE,
    &caller_cost::LATENCY,
    &caller_cost::CAPACITY,
    &packet_source::PACKET_SOURCE,
    &caller_cost::VOLUME,
    &caller_cost::GROWTH,
    &caller_cost::DELAY,
    &caller_cost::ENGINE,
    &caller_cost::FOOTPRINT,
    &service::SERVICE,
    &service::NEIGHBOURS,
    &service::SOAK,
    &report::REPORT,
    &captures::REPLAY,
    &captures::CAPTURE,
    &rehearsal::REHEARSAL,
];

/// Measures the named sections, or all but [`service::SOAK`]; with `only_render` none, and only writes
/// the document.
///
/// # Errors
/// Returns an error if a section is unknown or cannot be measured; those measured before it are
/// kept.
pub fn run(workspace: &Workspace, names: &[String], only_render: bool) -> Result<()> {
    let chosen = select(names)?;
    let mut results = Results::read(&workspace.root)?;
    if !only_render {
        let environment = BenchEnvironment::make(workspace)?;
        for section in chosen {
            let start = Instant::now();
            let measured = (section.measure)(&environment)
                .with_context(|| format!("section {} cannot be measured", section.name))?;
            println!("\n{}, {:.0} s\n", section.title, start.elapsed().as_secs_f64());
            print!("{}", render::table(section, &measured));
            results.sections.insert(section.name.to_owned(), measured);
            results.write(&workspace.root)?;
        }
    }
    write_document(workspace, &results)
}

/// Has the agent run for so many minutes under a constant load, and writes down what a whole hour
/// shows.
///
/// # Errors
/// Returns an error if a request is not accounted for, memory or descriptors grow, or the agent does
/// not work.
pub fn soak(workspace: &Workspace, minutes: u32) -> Result<()> {
    let environment = BenchEnvironment::make(workspace)?;
    let measured = service::soak(&environment, minutes)?;
    print!("{}", render::table(&service::SOAK, &measured));
    if minutes != service::HOUR {
        return Ok(());
    }
    let mut results = Results::read(&workspace.root)?;
    results.sections.insert(service::SOAK.name.to_owned(), measured);
    results.write(&workspace.root)?;
    write_document(workspace, &results)
}

fn write_document(workspace: &Workspace, results: &Results) -> Result<()> {
    let path = workspace.root.join(results::DOCUMENT);
    fs::write(&path, render::document(&SECTIONS, results))
        .with_context(|| path.display().to_string())
}

/// Returns the named sections, or all but [`service::SOAK`], which takes an hour.
fn select(names: &[String]) -> Result<Vec<&'static Section>> {
    if names.is_empty() {
        let is_short = |section: &&Section| section.name != service::SOAK.name;
        return Ok(SECTIONS.into_iter().filter(is_short).collect());
    }
    names
        .iter()
        .map(|name| match SECTIONS.iter().find(|section| section.name == name) {
            Some(section) => Ok(*section),
            None => {
                let known: Vec<_> = SECTIONS.iter().map(|section| section.name).collect();
                bail!("no section {name}; there are {}", known.join(", "))
            }
        })
        .collect()
}
