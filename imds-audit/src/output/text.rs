//! One line an event that a person reads at a glance.

use anstyle::{AnsiColor, Style};

use super::printable::{self, columns, pad, shorten};
use super::who;
use crate::audit::class::{Class, Outcome};
use crate::audit::event::{
    Body, ConnectionEvent, Event, LossEvent, Process, RequestEvent, StartEvent, StopEvent, Time,
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

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether to colour.
    pub colour: bool,
    /// The columns of the terminal; `None` where the output is none, and nothing is shortened.
    pub width: Option<usize>,
}

impl Look {
    /// Returns how lines look on an output: coloured and shortened on a terminal only, and not
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
/// Times are UTC, as in JSON, so that both can be laid side by side. Whatever came from outside
/// is escaped, and quoted where it could pass for a column: nothing can forge a line.
pub fn render(event: &Event, look: Look, line: &mut Vec<u8>) {
    let text = match &event.body {
        Body::Request(event) => request(event, look),
        Body::Connection(event) => connection(event, look),
        Body::Loss(event) => loss(event, look),
        Body::Start(event) => start(event, look),
        Body::Stop(event) => stop(event, look),
    };
    line.extend_from_slice(text.trim_end().as_bytes());
    line.push(b'\n');
}

fn request(event: &RequestEvent, look: Look) -> String {
    let asked = match (&event.http, event.imds.reason) {
        (Some(http), _) => {
            format!("{} {}", printable::word(&http.method), printable::word(&http.path))
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
    let front = Front {
        time: event.time,
        class,
        style: class_style(event.imds.class),
        outcome: pad(&came, OUTCOME),
        outcome_style: outcome_style(event.imds.outcome),
    };
    front.line(&asked, &event.process, look)
}

fn connection(event: &ConnectionEvent, look: Look) -> String {
    let front = Front {
        time: event.time,
        class: pad("connection", CLASS),
        style: Style::new().dimmed(),
        outcome: pad(event.connection.fate.name(), OUTCOME),
        outcome_style: Style::new(),
    };
    let asked = format!("{} (no request)", printable::escape(&event.connection.endpoint));
    front.line(&asked, &event.process, look)
}

fn loss(event: &LossEvent, look: Look) -> String {
    let loss = &event.loss;
    let text = printable::loss(loss);
    note(event.time, "loss", AnsiColor::Yellow.on_default().bold(), &text, look)
}

fn start(event: &StartEvent, look: Look) -> String {
    let mut text = format!("auditing {}", printable::escape(&event.endpoints.join(", ")));
    if let Some(host) = &event.host {
        text.push_str(&format!(" on {}", printable::word(host)));
    }
    if let Some(kernel) = &event.kernel {
        text.push_str(&format!(", kernel {}", printable::word(kernel)));
    }
    for fallback in &event.fallbacks {
        let missing = printable::escape(&fallback.name);
        text.push_str(&format!(
            "; without {missing}: {}",
            printable::escape(&fallback.consequence)
        ));
    }
    note(event.time, "start", Style::new().bold(), &text, look)
}

fn stop(event: &StopEvent, look: Look) -> String {
    let text = format!(
        "{} requests, {} by IMDSv1 served, {} by IMDSv1 rejected, {} losses ({})",
        event.totals.requests,
        event.totals.counters.metadata_no_token,
        event.totals.counters.metadata_no_token_rejected,
        event.losses.iter().map(|loss| loss.count).fold(0, u64::saturating_add),
        event.reason.name(),
    );
    note(event.time, "stop", Style::new().bold(), &text, look)
}

fn note(time: Time, kind: &str, style: Style, text: &str, look: Look) -> String {
    format!("{}  {}  {text}", clock(time), look.paint(style, &pad(kind, CLASS)))
}

/// The first columns of a line.
struct Front {
    time: Time,
    class: String,
    style: Style,
    outcome: String,
    outcome_style: Style,
}

impl Front {
    fn line(&self, asked: &str, process: &Process, look: Look) -> String {
        let clock = clock(self.time);
        let asked = pad(asked, REQUEST);
        let who = pad(&who::process(process), PROCESS);
        let place = place(process);
        let args = process.args.as_deref().unwrap_or_default();
        let mut command = printable::command(args);
        if process.args_truncated {
            command.push_str(" …");
        }
        if let Some(width) = look.width {
            let plain = [&clock, &self.class, &self.outcome, &asked, &who, &place];
            let used = plain.iter().map(|text| columns(text) + 2).sum::<usize>();
            command = shorten(&command, width.saturating_sub(used).max(COMMAND));
        }
        format!(
            "{clock}  {}  {}  {asked}  {who}  {command}{place}",
            look.paint(self.style, &self.class),
            look.paint(self.outcome_style, &self.outcome),
        )
    }
}

/// Names who called it, and where it runs.
fn place(process: &Process) -> String {
    let above = who::above(process).map(|above| format!("  ← {above}"));
    let home = who::home(process).map(|home| format!("  {home}"));
    [above, home].into_iter().flatten().collect()
}

fn clock(time: Time) -> String {
    let text = time.to_string();
    text.get(11..23).unwrap_or(&text).to_owned()
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
    use crate::audit::event::{Container, Loss, LossUnit, tests};

    const EXAMPLE: &str = "01:02:03.123  v1              served 200          \
        GET /latest/meta-data/iam/security-credentials/app    curl[4242]            \
        curl -s http://169.254.169.254/x  ← bash[4200]  refresh.service\n";

    fn rendered(event: impl Into<Event>, look: Look) -> String {
        let mut line = Vec::new();
        render(&event.into(), look, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn the_example_of_the_design_is_one_aligned_line() {
        assert_eq!(rendered(tests::example(), Look::default()), EXAMPLE);
    }

    #[test]
    fn colours_add_nothing_but_themselves() {
        let coloured = rendered(tests::example(), Look { colour: true, width: None });
        assert_ne!(coloured, EXAMPLE);
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), EXAMPLE);
    }

    #[test]
    fn a_command_line_is_shortened_on_a_terminal_only() {
        let long = "x".repeat(400);
        let event = tests::request(&[], &[long.as_bytes()]);
        let wide = rendered(event.clone(), Look { colour: false, width: Some(200) });
        assert!(columns(wide.trim_end()) <= 200, "{wide}");
        assert!(wide.ends_with("refresh.service\n"));
        assert!(rendered(event, Look::default()).contains(&long));
    }

    #[test]
    fn no_argument_forges_a_line_or_a_column() {
        let event = tests::request(&[], &[b"a\n01:02:03.123  v2", b"\x1b[2K\xe2\x80\xae"]);
        let line = rendered(event, Look::default());
        assert_eq!(line.lines().count(), 1);
        assert!(line.contains(r"'a\n01:02:03.123  v2' '\x1b[2K\u{202e}'"), "{line}");
    }

    #[test]
    fn a_container_is_named_before_its_unit() {
        let mut event = tests::example();
        Arc::make_mut(&mut event.process).container =
            Some(Container { id: "0123456789abcdef".into(), runtime: Some("docker".into()) });
        assert!(rendered(event, Look::default()).ends_with("  container 0123456789ab\n"));
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
        };
        let line = rendered(Body::from(event), Look::default());
        assert_eq!(line, "01:02:03.123  loss            3 records (ring-full)\n");
    }
}
