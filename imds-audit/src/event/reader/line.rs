//! The members of a line that sums over many lines need, borrowed from it.
//!
//! A full [`Event`](crate::event::Event) of 3 KiB takes several allocations and some microseconds
//! to read; a line is looked through once and copied nowhere.

use std::str::{self, Utf8Error};

use thiserror::Error;

use super::event_part;
use super::members::{Damaged, Members, plain};
use crate::event::{Class, Outcome, RelayPart, Resource, Time};

/// A line, with the members that sums need.
#[derive(Debug)]
pub struct Line<'a> {
    /// What happened.
    pub kind: LineKind<'a>,
    /// The host, as JSON.
    pub host: Option<&'a str>,
    /// The run's id, as JSON.
    pub run: Option<&'a str>,
    /// The labels, as JSON.
    pub labels: Option<&'a str>,
    /// The line belongs to a rehearsal, during which IMDSv1 was refused.
    pub is_rehearsal: bool,
    /// The event, as JSON.
    pub json: &'a [u8],
}

/// What a line is about.
#[derive(Debug)]
pub enum LineKind<'a> {
    /// A request.
    Request(RequestLine<'a>),
    /// An event that is rare, and worth reading in full.
    Rare,
    /// A kind that sums do not need, or that this version does not know.
    Other,
}

/// A request.
#[derive(Debug)]
pub struct RequestLine<'a> {
    /// When its first byte passed.
    pub time: Time,
    /// Its class.
    pub class: Class,
    /// What came of it.
    pub outcome: Outcome,
    /// What it asked for.
    pub resource: Option<Resource>,
    /// The caller, as JSON; absent in lines of version 0.1.
    pub caller: Option<&'a str>,
    /// The client, as JSON.
    pub client: Option<&'a str>,
    /// The advice, as JSON.
    pub advice: Option<&'a str>,
    /// Its part where a relay on this host repeats requests.
    pub relay: Option<RelayPart>,
    /// Its way, as JSON.
    pub network: Option<&'a str>,
    /// The number of the time window whose tally counts it.
    pub window: Option<u64>,
}

/// A caller whose texts have no escapes, borrowed from its JSON.
#[derive(Debug)]
pub(crate) struct CallerLine<'a> {
    /// Its id; empty if that has escapes.
    pub id: &'a str,
    /// The caller for people; `None` if that or the place it runs in has escapes.
    pub title: Option<&'a str>,
    /// The place it runs in.
    pub home: Option<&'a str>,
}

impl<'a> CallerLine<'a> {
    /// Reads a caller.
    ///
    /// # Errors
    /// Returns an error if it is damaged.
    pub(crate) fn parse(json: &'a str) -> Result<Self, DamagedLine> {
        let (mut id, mut title, mut home) = (None, None, None);
        let mut members = Members::of(json.as_bytes())?;
        while let Some((name, value)) = members.next()? {
            match name {
                b"id" => id = plain(value),
                b"title" => title = plain(value),
                b"home" => home = Some(value).filter(|value| *value != b"null"),
                _ => {}
            }
        }
        // A home with escapes is not the same as none.
        let is_escaped = home.is_some() && home.and_then(plain).is_none();
        let title = title.filter(|_| !is_escaped);
        Ok(Self { id: id.unwrap_or_default(), title, home: home.and_then(plain) })
    }
}

/// What a reader of lines takes for a damaged event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a damaged event")]
pub struct DamagedLine;

impl From<Damaged> for DamagedLine {
    fn from(Damaged: Damaged) -> Self {
        Self
    }
}

impl From<serde_json::Error> for DamagedLine {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

impl From<Utf8Error> for DamagedLine {
    fn from(_: Utf8Error) -> Self {
        Self
    }
}

/// The members of a line that are looked at.
#[derive(Default)]
struct Known<'a> {
    kind: Option<&'a [u8]>,
    time: Option<&'a [u8]>,
    imds: Option<&'a [u8]>,
    caller: Option<&'a [u8]>,
    client: Option<&'a [u8]>,
    advice: Option<&'a [u8]>,
    relay: Option<&'a [u8]>,
    network: Option<&'a [u8]>,
    window: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
    run: Option<&'a [u8]>,
    labels: Option<&'a [u8]>,
    rehearsal: Option<&'a [u8]>,
}

impl<'a> Known<'a> {
    fn of(json: &'a [u8]) -> Result<Self, DamagedLine> {
        let mut known = Self::default();
        let mut members = Members::of(json)?;
        while let Some((name, value)) = members.next()? {
            let member = match name {
                b"kind" => &mut known.kind,
                b"time" => &mut known.time,
                b"imds" => &mut known.imds,
                b"caller" => &mut known.caller,
                b"client" => &mut known.client,
                b"advice" => &mut known.advice,
                b"relay" => &mut known.relay,
                b"network" => &mut known.network,
                b"window" => &mut known.window,
                b"host" => &mut known.host,
                b"run" => &mut known.run,
                b"labels" => &mut known.labels,
                b"rehearsal" => &mut known.rehearsal,
                _ => continue,
            };
            // Two values for one name would be two events in one line.
            if member.replace(value).is_some() {
                return Err(DamagedLine);
            }
        }
        Ok(known)
    }
}

impl<'a> Line<'a> {
    /// Reads a line. Returns `Ok(None)` if it is not an event of this program.
    ///
    /// # Errors
    /// Returns an error if it is a damaged event.
    pub fn parse(line: &'a [u8]) -> Result<Option<Self>, DamagedLine> {
        let Some(json) = event_part(line) else { return Ok(None) };
        let known = Known::of(json)?;
        let kind = match known.kind {
            Some(br#""request""#) => LineKind::Request(request(&known)?),
            Some(br#""start""# | br#""stop""# | br#""tally""# | br#""loss""#) => LineKind::Rare,
            Some(_) => LineKind::Other,
            None => return Ok(None),
        };
        Ok(Some(Self {
            kind,
            host: text(known.host)?,
            run: text(known.run)?,
            labels: text(known.labels)?,
            is_rehearsal: known.rehearsal == Some(b"true"),
            json,
        }))
    }
}

fn request<'a>(known: &Known<'a>) -> Result<RequestLine<'a>, DamagedLine> {
    let (mut class, mut outcome, mut resource) = (None, None, None);
    let mut members = Members::of(known.imds.ok_or(DamagedLine)?)?;
    while let Some((name, value)) = members.next()? {
        match name {
            b"class" => class = Some(value),
            b"outcome" => outcome = Some(value),
            b"resource" => resource = Some(value),
            _ => {}
        }
    }
    Ok(RequestLine {
        time: time(known.time.ok_or(DamagedLine)?)?,
        class: serde_json::from_slice(class.unwrap_or(br#""unknown""#))?,
        outcome: serde_json::from_slice(outcome.unwrap_or(br#""unobserved""#))?,
        resource: serde_json::from_slice(resource.unwrap_or(b"null"))?,
        caller: text(known.caller)?,
        client: text(known.client)?,
        advice: text(known.advice)?,
        relay: serde_json::from_slice(known.relay.unwrap_or(b"null"))?,
        network: text(known.network)?,
        window: known.window.and_then(|window| serde_json::from_slice(window).ok()),
    })
}

/// Returns a member as text; one that is null counts as absent.
fn text(value: Option<&[u8]>) -> Result<Option<&str>, Utf8Error> {
    value.filter(|value| *value != b"null").map(str::from_utf8).transpose()
}

/// Reads a time. Those of this program all have one form, which takes no parser of forms.
fn time(value: &[u8]) -> Result<Time, serde_json::Error> {
    match plain(value).and_then(own_time) {
        Some(time) => Ok(time),
        None => serde_json::from_slice(value),
    }
}

/// Reads `2026-11-22T01:02:03.123456Z`.
fn own_time(text: &str) -> Option<Time> {
    let bytes: &[u8; 27] = text.as_bytes().try_into().ok()?;
    let number = |from: usize, to: usize| {
        bytes.get(from..to)?.iter().try_fold(0_i32, |number, byte| {
            byte.is_ascii_digit().then(|| number * 10 + i32::from(byte - b'0'))
        })
    };
    let signs = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (26, b'Z')];
    if signs.iter().any(|(place, sign)| bytes.get(*place) != Some(sign)) {
        return None;
    }
    let date = jiff::civil::Date::new(
        number(0, 4)?.try_into().ok()?,
        number(5, 7)?.try_into().ok()?,
        number(8, 10)?.try_into().ok()?,
    );
    let (date, hour, minute, second) =
        (date.ok()?, number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = i64::from(days_since_1970(date));
    let seconds = days * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
    jiff::Timestamp::new(seconds, number(20, 26)? * 1000).ok().map(Time)
}

/// Returns the number of a day, from 0 for 1970-01-01: the years begin in March, so that a leap day is
/// the last of one.
fn days_since_1970(date: jiff::civil::Date) -> i32 {
    let month = i32::from(date.month());
    let year = i32::from(date.year()) - i32::from(month <= 2);
    let (era, in_era) = (year.div_euclid(400), year.rem_euclid(400));
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + i32::from(date.day()) - 1;
    era * 146_097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_is_the_one_that_was_written(microseconds in -62_135_596_800_000_000..253_402_207_200_000_000_i64) {
            let time = Time(jiff::Timestamp::from_microsecond(microseconds).unwrap());
            prop_assert_eq!(own_time(&time.to_string()), Some(time));
        }
    }

    #[test]
    fn a_time_of_another_form_is_read_too() {
        let expected = Time("2026-11-22T01:02:03Z".parse().unwrap());
        for text in ["2026-11-22T01:02:03Z", "2026-11-22T02:02:03.000000+01:00"] {
            assert_eq!(time(format!("\"{text}\"").as_bytes()).unwrap(), expected);
        }
        for text in ["2026-02-30T01:02:03.000000Z", "2026-11-22T24:02:03.000000Z", "now"] {
            assert!(time(format!("\"{text}\"").as_bytes()).is_err(), "{text}");
        }
    }
}
