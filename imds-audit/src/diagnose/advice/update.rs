//! Commands that update a client.

use crate::diagnose::client::Update;
use crate::event::RequestEvent;
use crate::text::bounded::{CUT, hides};

/// Returns the command that updates a client to `first` or newer.
///
/// It names no path. A caller chooses its own, so that whoever pastes the command would run the
/// caller's file, perhaps as root; and `/proc/PID/exe` of a virtual environment's Python is the
/// base's, where the update would change nothing for the caller.
pub(super) fn command(update: Update, first: &str) -> String {
    match update {
        Update::Pip(name) => format!("python3 -m pip install --upgrade '{name}>={first}'"),
        Update::Npm(name, major) => format!("npm install {name}@{major}"),
        Update::Gem(name) => format!("gem install {name} --version '>= {first}'"),
        Update::Go(module) => format!("go get '{module}@>=v{first}'"),
        Update::Nuget(name) => format!("dotnet add package {name}"),
        Update::Composer(name) => format!("composer require '{name}:^{first}'"),
    }
}

/// Returns in which environment a Python package is to be updated, where the caller's command
/// line names an interpreter by its path.
pub(super) fn environment(update: Option<Update>, event: &RequestEvent) -> String {
    let own = match (update, event.process.args.as_deref()) {
        (Some(Update::Pip(_)), Some([own, ..])) => own,
        _ => return String::new(),
    };
    let is_python = own.rsplit('/').next().is_some_and(|file| file.starts_with("python"));
    if !own.contains('/') || !is_python || hides(own) || own.contains(CUT) {
        return String::new();
    }
    format!(", in the environment of {own}")
}
