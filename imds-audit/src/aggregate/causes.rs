//! Causes of a caller's requests: counted for each cause and client, and nothing replaces another.
//!
//! A client seems never to ask for a token until it does so, so its causes change. Sums keep the
//! counts apart, in every window; [`folded`] joins for people what has one explanation.

use std::cmp::Reverse;

use crate::event::{AskedClient, CallerAdvice, CallerTally, Cause, Class, RequestEvent, Time};

/// The number of pairs of cause and client that are kept of one caller, and of its clients that
/// requested a token.
pub(crate) const MAX_ADVICE: usize = 16;

/// The reason that takes the place of "never asks for a token" once the client asks for one.
const ASKED_LATER: &str = "made requests without a token before it asked for one";

/// Returns whether a request of this class stops working when IMDSv2 is enforced.
pub(crate) const fn is_without_token(class: Class) -> bool {
    matches!(class, Class::V1 | Class::V2EmptyToken)
}

/// Counts the cause of a request.
pub(super) fn add(tally: &mut CallerTally, event: &RequestEvent) {
    if event.imds.class == Class::V2Token {
        ask(&mut tally.asked, event.client.as_ref().map(|client| client.name.as_str()), event.time);
    }
    let Some(advice) = &event.advice else {
        let is_unexplained = is_without_token(event.imds.class);
        tally.unexplained = tally.unexplained.saturating_add(u64::from(is_unexplained));
        return;
    };
    let new = CallerAdvice {
        client: event.client.clone(),
        advice: advice.clone(),
        requests: 1,
        last: Some(event.time),
    };
    let has_room = tally.advice.len() < MAX_ADVICE;
    match tally.advice.iter_mut().find(|known| is_same(known, &new)) {
        Some(known) => {
            renew(known, new);
            known.requests = known.requests.saturating_add(1);
        }
        None if has_room => tally.advice.push(new),
        None => tally.advice_dropped = tally.advice_dropped.saturating_add(1),
    }
}

/// Takes note of a token request of a client.
pub(crate) fn ask(asked: &mut Vec<AskedClient>, client: Option<&str>, time: Time) {
    let has_room = asked.len() < MAX_ADVICE;
    match asked.iter_mut().find(|known| known.client.as_deref() == client) {
        Some(known) => known.last = known.last.max(time),
        None if has_room => {
            asked.push(AskedClient { client: client.map(str::to_owned), last: time });
        }
        None => {}
    }
}

/// Returns whether two pieces of advice are about the same cause and client.
pub(crate) fn is_same(a: &CallerAdvice, b: &CallerAdvice) -> bool {
    a.advice.cause == b.advice.cause && client_name(a) == client_name(b)
}

/// Puts newer advice on the same cause and client in the place of older advice; the number of
/// requests stays. Of two that are equally old the same one stays, whichever came first. Returns
/// whether the new one took the place.
pub(crate) fn renew(known: &mut CallerAdvice, new: CallerAdvice) -> bool {
    let rank = |of: &CallerAdvice| {
        let version = of.client.as_ref().and_then(|client| client.version.clone());
        let advice = &of.advice;
        (of.last, advice.reason.clone(), advice.text.clone(), advice.command.clone(), version)
    };
    let is_newer = new.last > known.last || rank(&new) >= rank(known);
    if is_newer {
        *known = CallerAdvice { requests: known.requests, ..new };
    }
    is_newer
}

/// Returns the advice for people, that of most requests first.
///
/// A client that was seen to ask once it was rejected is said never to ask of the request that
/// was: as many of these as it adapted to belong to the other cause.
pub(crate) fn folded(advice: &[CallerAdvice], asked: &[AskedClient]) -> Vec<CallerAdvice> {
    let of_cause = |cause, of: &CallerAdvice| {
        let is_meant = |known: &&CallerAdvice| {
            known.advice.cause == cause && client_name(known) == client_name(of)
        };
        advice.iter().find(is_meant).map_or(0, |known| known.requests)
    };
    let fold = |known: &CallerAdvice| {
        let mut known = known.clone();
        let (never, adapted) =
            (of_cause(Cause::NeverAsks, &known), of_cause(Cause::PrefersV1, &known));
        match known.advice.cause {
            Cause::NeverAsks if adapted > 0 && adapted >= never => return None,
            Cause::NeverAsks => {
                let is_of_client =
                    |asked: &&AskedClient| asked.client.as_deref() == client_name(&known);
                let asked = asked.iter().find(is_of_client).map(|asked| asked.last);
                if asked.is_some() && asked > known.last {
                    ASKED_LATER.clone_into(&mut known.advice.reason);
                }
            }
            Cause::PrefersV1 if adapted >= never => {
                known.requests = known.requests.saturating_add(never);
            }
            _ => {}
        }
        Some(known)
    };
    let mut folded: Vec<_> = advice.iter().filter_map(fold).collect();
    folded.sort_by(|a, b| {
        let rank = |of: &CallerAdvice| (Reverse(of.requests), of.advice.cause.name());
        (rank(a), client_name(a)).cmp(&(rank(b), client_name(b)))
    });
    folded
}

/// Returns whether a caller with this advice goes on working when IMDSv2 is enforced.
pub(crate) fn are_harmless(folded: &[CallerAdvice]) -> bool {
    let is_harmless = |known: &CallerAdvice| {
        matches!(known.advice.cause, Cause::PrefersV1 | Cause::OtherCloudProbe)
    };
    !folded.is_empty() && folded.iter().all(is_harmless)
}

pub(crate) fn client_name(advice: &CallerAdvice) -> Option<&str> {
    advice.client.as_ref().map(|client| client.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::callers::Callers;
    use crate::event::Advice;
    use crate::event::tests::example;

    fn advised(cause: Cause) -> RequestEvent {
        let mut event = example();
        event.imds.class = Class::V1;
        let reason = cause.name().to_owned();
        event.advice = Some(Advice { cause, reason, text: String::new(), command: None });
        event
    }

    fn later(event: RequestEvent, seconds: i64) -> RequestEvent {
        let time = event.time.0 + jiff::SignedDuration::from_secs(seconds);
        RequestEvent { time: Time(time), ..event }
    }

    fn tally(events: &[RequestEvent]) -> CallerTally {
        let mut callers = Callers::default();
        events.iter().for_each(|event| callers.add(event));
        callers.sorted()[0].clone()
    }

    fn reasons(events: &[RequestEvent]) -> Vec<(String, u64)> {
        let tally = tally(events);
        let folded = folded(&tally.advice, &tally.asked);
        folded.into_iter().map(|known| (known.advice.reason, known.requests)).collect()
    }

    #[test]
    fn a_client_that_adapts_is_not_said_never_to_ask() {
        let [never, prefers] = [advised(Cause::NeverAsks), advised(Cause::PrefersV1)];
        for events in [[never.clone(), prefers.clone()], [prefers, never]] {
            assert_eq!(reasons(&events), [("prefers-v1".to_owned(), 2)]);
        }
    }

    #[test]
    fn a_client_that_adapted_once_still_never_asked_the_other_times() {
        let [never, prefers] = [advised(Cause::NeverAsks), advised(Cause::PrefersV1)];
        let events = [never.clone(), never.clone(), prefers, never];
        let expected = [("never-asks".to_owned(), 3), ("prefers-v1".to_owned(), 1)];
        assert_eq!(reasons(&events), expected);
        let counts: Vec<_> = tally(&events).advice.iter().map(|known| known.requests).collect();
        assert_eq!(counts, [3, 1]);
    }

    #[test]
    fn a_client_that_asks_by_now_is_not_said_never_to_ask() {
        // E18b. Another client of the same caller still never asks.
        let mut other = advised(Cause::NeverAsks);
        other.client.as_mut().unwrap().name = "Boto3".to_owned();
        let mut token = later(example(), 1);
        token.imds.class = Class::V2Token;
        let mut events = vec![advised(Cause::NeverAsks), other, token];
        let expected = |first: &str| [("never-asks".to_owned(), 1), (first.to_owned(), 1)];
        assert_eq!(reasons(&events), expected(ASKED_LATER));
        events.push(later(advised(Cause::NeverAsks), 2));
        let expected = [("never-asks".to_owned(), 2), ("never-asks".to_owned(), 1)];
        assert_eq!(reasons(&events), expected);
    }

    #[test]
    fn causes_beyond_the_bound_and_requests_without_one_are_counted() {
        let of_client = |number: usize| {
            let mut event = advised(Cause::NeverAsks);
            event.client.as_mut().unwrap().name = number.to_string();
            event
        };
        let mut events: Vec<_> = (0..MAX_ADVICE + 3).map(of_client).collect();
        events.push(RequestEvent { advice: None, ..advised(Cause::NeverAsks) });
        let tally = tally(&events);
        assert_eq!((tally.advice.len(), tally.advice_dropped), (MAX_ADVICE, 3));
        assert_eq!(tally.unexplained, 1);
    }
}
