//! Writes the manual pages and the shell completions into a folder, from the one definition of the
//! options. `cargo xtask manual` runs it.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(folder), Some(date)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        return Err("usage: manual FOLDER DATE".into());
    };
    let pages = folder.join("man1");
    fs::create_dir_all(&pages)?;
    let mut command = imds_audit::definition().disable_help_subcommand(true);
    command.build();
    write_page(command, &pages, &date.to_string_lossy())?;
    let completions = folder.join("completions");
    fs::create_dir_all(&completions)?;
    for shell in Shell::value_variants() {
        clap_complete::generate_to(
            *shell,
            &mut imds_audit::definition(),
            "imds-audit",
            &completions,
        )?;
    }
    Ok(())
}

/// Writes the page of a command, and those of its subcommands.
fn write_page(command: Command, folder: &Path, date: &str) -> Result<(), Box<dyn Error>> {
    for subcommand in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        write_page(subcommand.clone(), folder, date)?;
    }
    let source = concat!("imds-audit ", env!("CARGO_PKG_VERSION"));
    let page = Man::new(command).date(date).source(source).manual("User Commands");
    let mut text = Vec::new();
    page.render(&mut text)?;
    // Line breaks around an empty line, which mandoc warns of, stand for a paragraph's end.
    let text = String::from_utf8(text)?.replace("\n.br\n\n.br\n", "\n.sp\n");
    fs::write(folder.join(page.get_filename()), text)?;
    Ok(())
}
