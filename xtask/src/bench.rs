//! Measures what the program costs and what it holds, and writes `BENCHMARKS.md`.

mod bed;
mod emulated;
mod others;
mod own;
mod render;
mod results;
mod rivals;
mod section;
mod statistics;
mod tools;

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

use bed::Bed;
use results::Results;
use section::Section;

/// Every section, in the order of the document.
const SECTIONS: [&Section; 13] = [
    &others::PACKET,
    &others::LOOPBACK,
    &others::VETH,
    &emulated::INSTRUCTIONS,
    &rivals::RIVALS,
    &rivals::RIVALS_HERE,
    &own::LATENCY,
    &own::CAPACITY,
    &own::VOLUME,
    &own::GROWTH,
    &own::DELAY,
    &own::ENGINE,
    &own::FOOTPRINT,
];

/// Measures the named sections, or all; with `only_render` none, and only writes the document.
///
/// # Errors
/// A section is unknown or cannot be measured; those measured before it are kept.
pub fn run(workspace: &Workspace, names: &[String], only_render: bool) -> Result<()> {
    let chosen = select(names)?;
    let mut results = Results::read(&workspace.root)?;
    if !only_render {
        let bed = Bed::make(workspace)?;
        for section in chosen {
            let start = Instant::now();
            let measured = (section.measure)(&bed)
                .with_context(|| format!("section {} cannot be measured", section.name))?;
            println!("\n{}, {:.0} s\n", section.title, start.elapsed().as_secs_f64());
            print!("{}", render::table(section, &measured));
            results.sections.insert(section.name.to_owned(), measured);
            results.write(&workspace.root)?;
        }
    }
    let path = workspace.root.join(render::FILE);
    fs::write(&path, render::document(&SECTIONS, &results))
        .with_context(|| path.display().to_string())
}

/// Returns the named sections, or all.
fn select(names: &[String]) -> Result<Vec<&'static Section>> {
    if names.is_empty() {
        return Ok(SECTIONS.to_vec());
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
