//! Outputs as the configuration describes them.

use std::io;

use crate::{
    agent::config::{OutputConfig, OutputFormat, OutputKind},
    output::{
        destination::{BlockingFile, Destination},
        filter::{ClassFilter, EventFilter},
        rotate::{RotatingFile, Rotation},
        sink::{Format, Sink},
        syslog::Syslog,
        text::TextStyle,
        writer::Writer,
    },
};

/// Opens an output of a host, whose name stands in the head of syslog messages.
///
/// A file that cannot be opened now, or a syslog daemon that is away, is tried again before every
/// chunk, and what is lost meanwhile is counted.
///
/// # Errors
/// Returns an error if no thread can be started.
pub(super) fn open(config: &OutputConfig, host: &str) -> io::Result<Sink> {
    let destination: Box<dyn Destination> = match config.kind {
        OutputKind::File => Box::new(RotatingFile::open(&config.path, rotation(config))),
        OutputKind::Stdout => Box::new(BlockingFile::from(io::stdout())),
        OutputKind::Syslog => Box::new(Syslog::new(config.address.clone(), config.facility, host)),
    };
    let format = match config.format {
        OutputFormat::Json => Format::Json,
        OutputFormat::Text => Format::Text(TextStyle::default()),
    };
    let filter = EventFilter {
        classes: ClassFilter::of(config.classes.clone()),
        kinds: config.kinds.clone(),
    };
    let writer = Writer::new(destination);
    let writer = if config.seal { writer.sealed() } else { writer };
    Ok(Sink::start(format, filter, writer)?.named(key(config)))
}

/// Makes the outputs of a new configuration out of those of the old one: an output that did not
/// change goes on and is opened anew, the others end before new ones begin. Returns what cannot be
/// opened too.
pub(super) fn change(
    mut old: Vec<Sink>,
    new: &[OutputConfig],
    host: &str,
) -> (Vec<Sink>, Vec<String>) {
    let mut kept: Vec<Option<Sink>> = new
        .iter()
        .map(|config| {
            let key = key(config);
            let at = old.iter().position(|sink| sink.name() == key)?;
            Some(old.swap_remove(at))
        })
        .collect();
    // Two writers of one file would be in each other's way.
    drop(old);
    let mut problems = Vec::new();
    let sinks = new.iter().zip(&mut kept).filter_map(|(config, kept)| match kept.take() {
        Some(sink) => {
            sink.queue().handle().reopen();
            Some(sink)
        }
        None => open(config, host)
            .map_err(|error| problems.push(format!("{}: {error}", config.label())))
            .ok(),
    });
    (sinks.collect(), problems)
}

/// Returns what tells an output from every other one.
pub(super) fn key(config: &OutputConfig) -> String {
    format!("{config:?}")
}

fn rotation(config: &OutputConfig) -> Rotation {
    Rotation {
        max_size: config.max_size,
        max_age: config.max_age,
        max_total_size: config.max_total_size,
        min_free_space: config.min_free_space,
        min_free_percent: config.min_free_percent,
        compress_after: config.compress_after,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::{
        event::{Event, tests::example},
        output::syslog::SyslogAddress,
    };

    #[test]
    fn an_output_that_did_not_change_goes_on_and_the_others_end_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| OutputConfig {
            path: folder.path().join(name),
            min_free_percent: 0,
            ..OutputConfig::default()
        };
        let read = |name: &str| {
            let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
            text.lines().count()
        };
        let mut sinks = vec![open(&file("a"), "node").unwrap(), open(&file("b"), "node").unwrap()];
        let write = |sinks: &mut Vec<Sink>| {
            for sink in sinks {
                sink.write(&Event::from(example()));
                assert!(sink.queue().drain());
            }
        };
        write(&mut sinks);
        let larger = OutputConfig { max_size: 1 << 20, ..file("b") };
        let (mut sinks, problems) = change(sinks, &[file("c"), larger, file("a")], "node");
        assert!(problems.is_empty(), "{problems:?}");
        write(&mut sinks);
        assert_eq!((read("a"), read("b"), read("c")), (2, 2, 1));
        assert_eq!(sinks[2].queue().status().written, 2 * sinks[0].queue().status().written);
    }

    #[test]
    fn a_syslog_message_names_the_audited_host_at_the_start_and_after_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        let syslog = OutputConfig {
            kind: OutputKind::Syslog,
            address: SyslogAddress::Unix(path),
            ..OutputConfig::default()
        };
        let heads = |sinks: &mut Vec<Sink>| {
            sinks[0].write(&Event::from(example()));
            assert!(sinks[0].queue().drain());
            let mut message = vec![0; 65_536];
            let length = server.recv(&mut message).unwrap();
            let message = String::from_utf8(message[..length].to_vec()).unwrap();
            let words: Vec<_> = message.split(' ').map(str::to_owned).collect();
            (words[0].clone(), words[2].clone())
        };
        let mut sinks = vec![open(&syslog, "node-1").unwrap()];
        assert_eq!(heads(&mut sinks), ("<30>1".to_owned(), "node-1".to_owned()));
        let other = OutputConfig { facility: 16, ..syslog };
        let (mut sinks, problems) = change(sinks, &[other], "node-1");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(heads(&mut sinks), ("<134>1".to_owned(), "node-1".to_owned()));
    }
}
