use std::{io::Write, path::Path};

use super::*;
use crate::output::log_file::LogFile;

/// A disk that takes as many bytes as it has room for, then fails.
struct Disk {
    written: Vec<u8>,
    room: usize,
    error: ErrorKind,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room);
        if count == 0 {
            return Err(self.error.into());
        }
        self.room -= count;
        self.written.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn disk(room: usize) -> Writer<Disk> {
    Writer::new(Disk { written: Vec::new(), room, error: ErrorKind::StorageFull })
}

#[test]
fn a_full_disk_never_glues_a_line_to_half_of_another() {
    let mut writer = disk(7);
    writer.write(b"one\ntwo\ntri\n").unwrap();
    assert_eq!(writer.destination.written, b"one\ntwo");
    assert_eq!((writer.lost(), writer.is_failing()), (1, true));
    writer.write(b"for\n").unwrap();
    assert_eq!(writer.lost(), 2);
    writer.destination.room = 100;
    writer.write(b"fiv\n").unwrap();
    assert_eq!(writer.destination.written, b"one\ntwo\nfiv\n");
    assert!(!writer.is_failing());
    assert_eq!((writer.take_lost(), writer.take_lost()), (2, 0));
    assert_eq!((writer.written(), writer.errors()), (12, 2));
}

#[test]
fn a_closed_pipe_is_a_clean_end() {
    let mut writer = disk(0);
    writer.destination.error = ErrorKind::BrokenPipe;
    assert!(matches!(writer.write(b"a\n"), Err(WriterError::Closed)));
}

#[test]
fn a_device_that_is_full_is_counted() {
    let mut writer = Writer::new(LogFile::open(Path::new("/dev/full")).unwrap());
    writer.write(b"a\n").unwrap();
    assert_eq!(writer.lost(), 1);
    assert!(writer.last_error().unwrap().contains("No space left"));
}

/// A destination of single lines; one may be too long.
struct Datagrams(Vec<Vec<u8>>);

impl Destination for Datagrams {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap();
        if line.len() > 4 {
            return Err(Errno::MSGSIZE.into());
        }
        self.0.push(line.to_vec());
        Ok(line.len())
    }
}

#[test]
fn a_line_that_is_too_long_for_its_destination_costs_only_itself() {
    let mut writer = Writer::new(Datagrams(Vec::new()));
    writer.write(b"one\nthree\ntwo\nfour\n").unwrap();
    assert_eq!(writer.destination.0, [b"one\n", b"two\n"]);
    assert_eq!(writer.lost(), 2);
}

/// A destination whose file was moved away while half a line was in it.
struct Moved {
    old: Vec<u8>,
    new: Vec<u8>,
    room: usize,
    has_moved: bool,
}

impl Destination for Moved {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room);
        if count == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        self.room -= count;
        self.old.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn prepare(&mut self, _: usize) -> io::Result<()> {
        if std::mem::take(&mut self.has_moved) {
            std::mem::swap(&mut self.old, &mut self.new);
            self.room = 100;
        }
        Ok(())
    }

    fn has_moved(&self) -> bool {
        self.has_moved
    }
}

#[test]
fn half_a_line_in_a_file_that_is_gone_is_lost_and_no_other_line() {
    let mut writer =
        Writer::new(Moved { old: Vec::new(), new: Vec::new(), room: 6, has_moved: false });
    writer.write(b"one\ntwo\n").unwrap();
    assert_eq!(writer.lost(), 0);
    writer.destination.has_moved = true;
    writer.write(b"tri\n").unwrap();
    let Moved { old, new, .. } = &writer.destination;
    assert_eq!((old.as_slice(), new.as_slice()), (&b"tri\n"[..], &b"one\ntw"[..]));
    assert_eq!(writer.lost(), 1);
}

proptest::proptest! {
    #[test]
    fn lines_written_and_lost_are_all_lines(
        rooms in proptest::collection::vec(0_usize..24, 1..20),
    ) {
        let mut writer = disk(0);
        for room in &rooms {
            writer.destination.room = *room;
            writer.write(b"abc\nabc\n").unwrap();
        }
        writer.destination.room = 100;
        writer.write(b"abc\n").unwrap();
        let written = writer.destination.written.clone();
        let lines = written.split_inclusive(|byte| *byte == b'\n');
        proptest::prop_assert!(lines.clone().all(|line| line == b"abc\n"));
        let sent = rooms.len() as u64 * 2 + 1;
        proptest::prop_assert_eq!(lines.count() as u64 + writer.lost(), sent);
    }
}
