//! Text lines for people: one line per event.

use anstyle::{AnsiColor, Style};

use crate::{
    aggregate::caller_name,
    event::{
        Body, Class, ConnectionEvent, Event, LossEvent, Origin, Outcome, Process, RequestEvent,
        StartEvent, StopEvent, TallyEvent, Time,
    },
    text::terminal::{self, columns, pad, shorten},
};

/// The columns of a class: `v2-empty-token`.
const CLASS: usize = 14;
/// The columns of an outcome with its status: `refused-method 405`.
const OUTCOME: usize = 18;
/// The columns of a method and path; a longer path pushes the rest to the right.
const REQUEST: usize = 52;
/// The columns of a process's name and number; a longer name pushes the rest to the right.
const PROCESS: usize = 20;
/// The fewest columns that a command line is shortened to.
const COMMAND: usize = 24;

/// How lines text_style.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextStyle {
    /// Whether to colour.
    pub colour: bool,
    /// The columns of the terminal; `None` where the output is none, and nothing is shortened.
    pub width: Option<usize>,
}

impl TextStyle {
    /// Returns how lines text_style on an output: coloured and shortened on a terminal only, and not
    /// coloured where `NO_COLOR` or `TERM=dumb` asks for that.
    pub fn of(output: &(impl std::os::fd::AsFd + anstream::stream::RawStream)) -> Self {
        let colour = anstream::AutoStream::choice(output) != anstream::ColorChoice::Never;
        let size = rustix::termios::tcgetwinsize(output).ok();
        let width = size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
        Self { colour, width }
    }

    fn paint(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Appends an event to `line` as one line of text and a line feed.
///
/// Times have a date and are UTC, as in JSON, so that both can be laid side by side. Whatever came from outside
/// is escaped, and quoted where it could pass for a column: nothing can forge a line.
pub(crate) fn render(event: &Event, text_style: TextStyle, line: &mut Vec<u8>) {
    let text = match &event.body {
        Body::Request(event) => request(event, text_style),
        Body::Connection(event) => connection(event, text_style),
        Body::Loss(event) => loss(event, text_style),
        Body::Start(start_event) => start(start_event, &event.origin, text_style),
        Body::Stop(event) => stop(event, text_style),
        Body::Tally(event) => tally(event, text_style),
        // Its text is many lines, which the command writes to standard error.
        Body::Rehearsal(_) | Body::Other => return,
    };
    line.extend_from_slice(text.trim_end().as_bytes());
    line.push(b'\n');
}

fn request(event: &RequestEvent, text_style: TextStyle) -> String {
    let asked = match (&event.http, event.imds.reason) {
        (Some(http), _) => {
            format!("{} {}", terminal::word(&http.method), terminal::word(&http.path))
        }
        (None, Some(reason)) => format!("({})", reason.name()),
        (None, None) => "(not seen)".to_owned(),
    };
    let status = event.http.as_ref().and_then(|http| http.status);
    let came = match status {
        Some(status) => format!("{} {status}", event.imds.outcome),
        None => event.imds.outcome.to_string(),
    };
    let class = pad(event.imds.class.name(), CLASS);
    let prefix = LinePrefix {
        time: event.time,
        class,
        style: class_style(event.imds.class),
        outcome: pad(&came, OUTCOME),
        outcome_style: outcome_style(event.imds.outcome),
    };
    prefix.line(&asked, &event.process, text_style)
}

fn connection(event: &ConnectionEvent, text_style: TextStyle) -> String {
    let prefix = LinePrefix {
        time: event.time,
        class: pad("connection", CLASS),
        style: Style::new().dimmed(),
        outcome: pad(event.connection.fate.name(), OUTCOME),
        outcome_style: Style::new(),
    };
    let endpoint = terminal::escape(&event.connection.endpoint);
    let asked = match event.connection.count {
        1 => format!("{endpoint} (no request)"),
        count => format!("{endpoint} (no request, {count} connections)"),
    };
    prefix.line(&asked, &event.process, text_style)
}

fn loss(event: &LossEvent, text_style: TextStyle) -> String {
    let loss = &event.loss;
    let text = super::loss::describe(loss);
    note(event.time, "loss", AnsiColor::Yellow.on_default().bold(), &text, text_style)
}

fn start(event: &StartEvent, origin: &Origin, text_style: TextStyle) -> String {
    let mut text = format!("auditing {}", terminal::escape(&event.endpoints.join(", ")));
    if let Some(host) = origin.host.as_ref().and_then(|host| host.name.as_ref()) {
        text.push_str(&format!(" on {}", terminal::word(host)));
    }
    if let Some(kernel) = &event.kernel {
        text.push_str(&format!(", kernel {}", terminal::word(kernel)));
    }
    for fallback in &event.fallbacks {
        let missing = terminal::escape(&fallback.name);
        text.push_str(&format!("; without {missing}: {}", terminal::escape(&fallback.consequence)));
    }
    note(event.time, "start", Style::new().bold(), &text, text_style)
}

fn tally(event: &TallyEvent, text_style: TextStyle) -> String {
    let text = format!(
        "since {}: {} requests, {} by IMDSv1 served, {} callers, {} losses",
        event.from,
        event.totals.requests,
        event.totals.counters.metadata_no_token,
        event.callers.len(),
        event.losses.iter().fold(0_u64, |sum, loss| sum.saturating_add(loss.count)),
    );
    note(event.time, "tally", Style::new().bold(), &text, text_style)
}

fn stop(event: &StopEvent, text_style: TextStyle) -> String {
    let text = format!(
        "{} requests, {} by IMDSv1 served, {} by IMDSv1 rejected, {} losses ({})",
        event.totals.requests,
        event.totals.counters.metadata_no_token,
        event.totals.counters.metadata_no_token_rejected,
        event.losses.iter().map(|loss| loss.count).fold(0, u64::saturating_add),
        event.reason.name(),
    );
    note(event.time, "stop", Style::new().bold(), &text, text_style)
}

fn note(time: Time, kind: &str, style: Style, text: &str, text_style: TextStyle) -> String {
    format!("{}  {}  {text}", clock(time), text_style.paint(style, &pad(kind, CLASS)))
}

/// The first columns of a line.
struct LinePrefix {
    time: Time,
    class: String,
    style: Style,
    outcome: String,
    outcome_style: Style,
}

impl LinePrefix {
    fn line(&self, asked: &str, process: &Process, text_style: TextStyle) -> String {
        let clock = clock(self.time);
        let asked = pad(asked, REQUEST);
        let who = pad(&caller_name::process(process), PROCESS);
        let place = place(process);
        let args = process.args.as_deref().unwrap_or_default();
        let mut command = terminal::command(args);
        if process.args_truncated {
            command.push_str(" …");
        }
        if let Some(width) = text_style.width {
            let plain = [&clock, &self.class, &self.outcome, &asked, &who, &place];
            let used = plain.iter().map(|text| columns(text) + 2).sum::<usize>();
            command = shorten(&command, width.saturating_sub(used).max(COMMAND));
        }
        format!(
            "{clock}  {}  {}  {asked}  {who}  {command}{place}",
            text_style.paint(self.style, &self.class),
            text_style.paint(self.outcome_style, &self.outcome),
        )
    }
}

/// Names who called it, and where it runs.
fn place(process: &Process) -> String {
    let above = caller_name::above(process).map(|above| format!("  ← {above}"));
    let home = caller_name::home(process).map(|home| format!("  {home}"));
    [above, home].into_iter().flatten().collect()
}

fn clock(time: Time) -> String {
    format!("{:.3}", time.0)
}

fn class_style(class: Class) -> Style {
    match class {
        Class::V1 => AnsiColor::Red.on_default().bold(),
        Class::V2EmptyToken => AnsiColor::Magenta.on_default().bold(),
        Class::V2 | Class::V2Token => AnsiColor::Green.on_default(),
        Class::Foreign => AnsiColor::Blue.on_default(),
        Class::Unknown => AnsiColor::Yellow.on_default(),
    }
}

fn outcome_style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Served => Style::new(),
        _ => AnsiColor::Yellow.on_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Container, Loss, LossUnit, tests};

    const EXAMPLE: &str = "2026-11-22T01:02:03.123Z  v1              served 200          \
        GET /latest/meta-data/iam/security-credentials/app    curl[4242]            \
        curl -s http://169.254.169.254/x  ← bash[4200]  refresh.service\n";

    fn rendered(event: impl Into<Event>, text_style: TextStyle) -> String {
        let mut line = Vec::new();
        render(&event.into(), text_style, &mut line);
        String::from_utf8(line).unwrap()
    }

    fn with_arguments(args: &[&str]) -> RequestEvent {
        RequestEvent { process: Arc::new(tests::process(args)), ..tests::example() }
    }

    #[test]
    fn the_example_of_the_design_is_one_aligned_line() {
        assert_eq!(rendered(tests::example(), TextStyle::default()), EXAMPLE);
    }

    #[test]
    fn colours_add_nothing_but_themselves() {
        let coloured = rendered(tests::example(), TextStyle { colour: true, width: None });
        assert_ne!(coloured, EXAMPLE);
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), EXAMPLE);
    }

    #[test]
    fn a_command_line_is_shortened_on_a_terminal_only() {
        let long = "x".repeat(400);
        let event = with_arguments(&[&long]);
        let wide = rendered(event.clone(), TextStyle { colour: false, width: Some(220) });
        assert!(columns(wide.trim_end()) <= 220, "{wide}");
        assert!(wide.ends_with("refresh.service\n"));
        assert!(rendered(event, TextStyle::default()).contains(&long));
    }

    #[test]
    fn no_argument_forges_a_line_or_a_column() {
        let event = with_arguments(&["a\n01:02:03.123  v2", "\x1b[2K\u{202e}"]);
        let line = rendered(event, TextStyle::default());
        assert_eq!(line.lines().count(), 1);
        assert!(line.contains(r"'a\n01:02:03.123  v2' '\x1b[2K\u{202e}'"), "{line}");
    }

    #[test]
    fn a_container_is_named_before_its_unit() {
        let mut event = tests::example();
        Arc::make_mut(&mut event.process).container = Some(Container {
            id: "0123456789abcdef".into(),
            runtime: Some("docker".into()),
            ..Container::default()
        });
        assert!(rendered(event, TextStyle::default()).ends_with("  container 0123456789ab\n"));
    }

    #[test]
    fn a_loss_has_a_line() {
        let event = LossEvent {
            time: tests::example().time,
            loss: Loss {
                reason: "ring-full".into(),
                what: LossUnit::Records,
                count: 3,
                process: None,
            },
            window: None,
        };
        let line = rendered(Body::from(event), TextStyle::default());
        assert_eq!(line, "2026-11-22T01:02:03.123Z  loss            3 records (ring-full)\n");
    }
}
