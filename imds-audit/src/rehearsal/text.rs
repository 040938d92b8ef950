//! Result of a rehearsal as text, for people.

use std::{fmt::Write, time::Duration};

use crate::{
    event::{
        RehearsalEvent, RehearsalVerdict, RehearsedCaller, RehearsedCommand, RehearsedSettings,
    },
    text::terminal,
};

/// The most columns that a command takes in the sentence for a change request.
const COMMAND_WIDTH: usize = 160;

/// Returns the line that says what is rehearsed now, and until when.
pub(crate) fn announcement(event: &RehearsalEvent, duration: Option<Duration>) -> String {
    let end = match duration {
        Some(duration) => format!("for {}, or until Ctrl-C", humantime::format_duration(duration)),
        None => "until Ctrl-C".to_owned(),
    };
    let (settings, target) = (settings(&event.settings), terminal::escape(&event.target));
    let mut text = format!("rehearsing {settings} for {target} {end}\n");
    if event.open_before > 0 {
        let open = counted(event.open_before, "connection");
        line(&mut text, &format!("{open} to the service {OPEN_BEFORE}"));
    }
    text
}

/// What becomes of connections that were open before.
const OPEN_BEFORE: &str = "open before are left alone; restart the caller to rehearse it";

/// Renders the result. Whatever came from outside is escaped: nothing forges a line.
pub(crate) fn render(event: &RehearsalEvent, host: Option<&str>) -> String {
    let mut text = String::new();
    let (requests, refused) = event.callers.iter().fold((0u64, 0u64), |(requests, refused), c| {
        (requests.saturating_add(c.requests), refused.saturating_add(c.refused))
    });
    line(
        &mut text,
        &format!(
            "\nrehearsed {} for {}: {} of {} refused",
            settings(&event.settings),
            terminal::escape(&event.target),
            refused,
            counted(requests, "request")
        ),
    );
    for caller in &event.callers {
        render_caller(&mut text, caller);
    }
    if event.callers.is_empty() {
        line(&mut text, "\nNOT EXERCISED   nothing in it made a request");
    }
    if event.more_callers > 0 {
        line(
            &mut text,
            &format!("{} more callers were not followed: too many at once", event.more_callers),
        );
    }
    text.push('\n');
    if let Some(command) = &event.command {
        line(&mut text, &format!("the command {}", ending(command)));
    }
    for note in notes(event) {
        line(&mut text, &note);
    }
    line(&mut text, &format!("for the change request: {}", sentence(event, host)));
    text
}

/// Returns the sentence that sums the rehearsal up, for readers who have seen nothing else of it.
fn sentence(event: &RehearsalEvent, host: Option<&str>) -> String {
    let count = |verdict| event.callers.iter().filter(|c| c.verdict == verdict).count() as u64;
    let (breaks, adapts, not) = (
        count(RehearsalVerdict::Breaks),
        count(RehearsalVerdict::Adapts),
        count(RehearsalVerdict::NotExercised),
    );
    let subject = match &event.command {
        Some(command) => terminal::shorten(&terminal::command(&command.args), COMMAND_WIDTH),
        None => terminal::escape(&event.target),
    };
    let host = host.map(|host| format!(" on {}", terminal::escape(host))).unwrap_or_default();
    let length = length(event.time.0.duration_since(event.from.0).as_secs());
    format!(
        "on {}, {subject} was rehearsed{host} for {length} with {}: of its callers {breaks} broke, \
         {adapts} went on with tokens, {not} were not exercised; the instance was not changed.",
        event.from.to_string().get(..10).unwrap_or_default(),
        settings(&event.settings),
    )
}

/// Returns a length of time in its largest whole unit.
fn length(seconds: i64) -> String {
    match seconds {
        ..1 => "less than 1 s".to_owned(),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

fn settings(settings: &RehearsedSettings) -> String {
    let first = if settings.disabled { "HttpEndpoint=disabled" } else { "HttpTokens=required" };
    match settings.hop_limit {
        Some(limit) => format!("{first}, HttpPutResponseHopLimit={limit}"),
        None => first.to_owned(),
    }
}

fn render_caller(text: &mut String, caller: &RehearsedCaller) {
    let verdict = match caller.verdict {
        RehearsalVerdict::Breaks => "BREAKS",
        RehearsalVerdict::Adapts => "ADAPTS",
        RehearsalVerdict::NotExercised => "NOT EXERCISED",
    };
    // Titles are made of words that are quoted already.
    let home = caller.caller.home.as_deref().map(|home| format!("  {}", terminal::escape(home)));
    line(
        text,
        &format!(
            "\n{}{}{}",
            terminal::pad(verdict, 16),
            terminal::escape(&caller.caller.title),
            home.unwrap_or_default()
        ),
    );
    line(text, &format!("    {}", terminal::escape(&caller.reason)));
    for request in &caller.sequence {
        let status = request.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        let clock = request.time.to_string();
        line(
            text,
            &format!(
                "      {}  {}  {}  {}{}",
                clock.get(11..23).unwrap_or(&clock),
                terminal::pad(request.class.name(), 14),
                terminal::pad(&status, 3),
                terminal::escape(&request.request),
                request.pid.map(|pid| format!("  [{pid}]")).unwrap_or_default()
            ),
        );
    }
    let more = caller.requests.saturating_sub(caller.sequence.len() as u64);
    if more > 0 {
        line(text, &format!("      … and {}", counted(more, "more request")));
    }
    if let Some(advice) = &caller.advice {
        line(text, &format!("    fix: {}", terminal::escape(&advice.text)));
        if let Some(command) = &advice.command {
            line(text, &format!("      {}", terminal::escape(command)));
        }
    }
}

fn ending(command: &RehearsedCommand) -> String {
    match (command.exit_status, command.signal) {
        (Some(status), _) => format!("ended with exit status {status}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "still ran".to_owned(),
    }
}

fn notes(event: &RehearsalEvent) -> impl Iterator<Item = String> {
    let passed = (event.passed > 0).then(|| {
        format!(
            "{} passed unrehearsed: from a network namespace that had no front, or none yet",
            counted(event.passed, "connect")
        )
    });
    let bound = (event.passed_bound_to_device > 0).then(|| {
        format!(
            "{} passed unrehearsed: their sockets are bound to a network device",
            counted(event.passed_bound_to_device, "connect")
        )
    });
    let before = (event.open_before > 0).then(|| {
        format!("{} to the service {OPEN_BEFORE}", counted(event.open_before, "connection"))
    });
    let alone = event.left_alone.iter().map(|network| {
        format!(
            "network namespace {} was left alone: {}",
            network.netns,
            terminal::escape(&network.reason)
        )
    });
    [passed, bound, before].into_iter().flatten().chain(alone).collect::<Vec<_>>().into_iter()
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", line.trim_end());
}

#[cfg(test)]
mod tests;
