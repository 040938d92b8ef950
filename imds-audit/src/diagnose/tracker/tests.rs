use std::sync::Arc;

use super::*;
use crate::aggregate::hop_limit::Needed;
use crate::classify::Lifetime;
use crate::event::tests::example;
use crate::event::{Ancestor, Process, Responsible, Rule};
use crate::segment::Timestamp;

const READ: Class = Class::V1;
const TOKEN: Class = Class::V2Token;

/// A request at a time, with the facts beside its event.
#[derive(Clone)]
struct Observed {
    event: RequestEvent,
    traits: Traits,
    at: u64,
    is_closed: bool,
    is_pending: bool,
}

/// A request of curl under one shell, in the host's network.
fn of(class: Class, outcome: Outcome) -> Observed {
    let mut event = example();
    event.imds.class = class;
    event.imds.outcome = outcome;
    event.network.host_network = Some(true);
    event.client = client::recognise(Some(b"curl/8"), None, None);
    if let Some(http) = &mut event.http
        && class == TOKEN
    {
        http.method = "PUT".into();
        http.status = status(outcome);
    }
    let traits = Traits { lifetime: Lifetime::Valid, has_host: true, ..Traits::default() };
    Observed { event, traits, at: 0, is_closed: false, is_pending: false }
}

fn status(outcome: Outcome) -> Option<u16> {
    match outcome {
        Outcome::Served => Some(200),
        Outcome::Forbidden => Some(403),
        Outcome::NotFound => Some(404),
        Outcome::RefusedMethod => Some(405),
        Outcome::ServerError => Some(500),
        Outcome::ClientError => Some(400),
        _ => None,
    }
}

impl Observed {
    fn process(mut self, change: impl FnOnce(&mut Process)) -> Self {
        change(Arc::make_mut(&mut self.event.process));
        self
    }

    /// The same from a network namespace of its own.
    fn away(mut self) -> Self {
        self.event.network.host_network = Some(false);
        self.event.network.netns = Some(77);
        self
    }

    /// The same with this time to live, in this network namespace.
    fn arrives(mut self, ttl: u8, netns: u32) -> Self {
        self.event.network.response_ttl = Some(ttl);
        self.event.network.netns = Some(netns);
        self
    }

    /// The same from another process.
    fn pid(self, pid: u32) -> Self {
        self.process(|process| process.pid = Some(pid))
    }

    /// The same from a process that runs this program, below this parent.
    fn runs(self, exe: &str, parent: u32) -> Self {
        self.process(|process| {
            process.exe = Some(exe.into());
            process.name = exe.rsplit('/').next().map(Into::into);
            process.ancestors = vec![Ancestor { pid: parent, name: Some("sh".into()), args: None }];
        })
    }

    /// The same, for which this process with this script is responsible.
    fn under(self, rule: Rule, pid: u32, script: &str) -> Self {
        let script = Some(script.to_owned());
        let found = Responsible { pid, name: Some("bash".into()), script, args: None, rule };
        self.process(|process| process.responsible = Some(found))
    }

    /// The same from a client with this user agent.
    fn agent(mut self, user_agent: &str) -> Self {
        self.event.client = client::recognise(Some(user_agent.as_bytes()), None, None);
        self
    }

    fn args(self, args: &[&str]) -> Self {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        self.process(|process| process.args = Some(args))
    }

    fn path(mut self, path: &str) -> Self {
        self.event.http.as_mut().unwrap().path = path.to_owned();
        let with = Traits::of(path.as_bytes(), std::iter::empty());
        self.traits.is_token_path = with.is_token_path;
        self.traits.is_credentials_path = with.is_credentials_path;
        self
    }

    fn traits(mut self, change: impl FnOnce(&mut Traits)) -> Self {
        change(&mut self.traits);
        self
    }

    fn status(mut self, status: u16) -> Self {
        self.event.http.as_mut().unwrap().status = Some(status);
        self.event.imds.outcome = Outcome::of_status(status);
        self
    }

    /// The same, begun at this time rather than after the one before.
    fn at(mut self, at: u64) -> Self {
        self.at = at;
        self
    }

    fn closed(mut self) -> Self {
        self.is_closed = true;
        self
    }

    fn pending(mut self) -> Self {
        self.is_pending = true;
        self
    }
}

fn observe(tracker: &mut DiagnosisTracker, observed: &Observed) -> Option<Diagnosis> {
    let Observed { event, traits, at, is_closed, is_pending } = observed;
    let process = event.process.pid.map(|pid| ProcessInstance { pid, start_time: 1 });
    let facts =
        Facts { process, started: Timestamp(*at), traits, is_closed_by_service: *is_closed };
    if *is_pending {
        tracker.token_pending(event, &facts);
        return None;
    }
    tracker.observe(event, &facts)
}

/// Gives the diagnosis of the last of these requests, begun in this order unless they say when.
fn diagnosed(requests: &[Observed]) -> Option<Diagnosis> {
    let mut tracker = DiagnosisTracker::default();
    let numbered = requests.iter().enumerate().map(|(i, request)| {
        let at = if request.at == 0 { 1000 + i as u64 } else { request.at };
        request.clone().at(at)
    });
    numbered.map(|request| observe(&mut tracker, &request)).last().unwrap()
}

fn at() -> Option<crate::event::Time> {
    Some(example().time)
}

fn refused(outcome: Outcome, fault: Option<TokenFault>) -> Diagnosis {
    Diagnosis::Refused { refusal: Refusal { outcome, fault }, at: at() }
}

fn unanswered(silence: Silence) -> Diagnosis {
    Diagnosis::Unanswered { silence, at: at() }
}

fn hop_limit(limit: Option<u8>, needed: u8) -> Silence {
    Silence::HopLimit { is_own_network: true, limit, needed: Needed::AtLeast(needed) }
}

fn empty(token_request: TokenLoss) -> Diagnosis {
    Diagnosis::EmptyToken { token_request }
}

#[test]
fn a_caller_without_a_token_request_never_asks() {
    assert_eq!(diagnosed(&[of(READ, Outcome::Served)]), Some(Diagnosis::NeverAsks));
}

#[test]
fn a_fallback_after_silence_is_the_hop_limit_that_was_seen() {
    let near = of(TOKEN, Outcome::Served).arrives(1, 1).pid(1).runs("/usr/bin/other", 1);
    let away = [of(TOKEN, Outcome::NoResponse).away(), of(READ, Outcome::Served).away()];
    let [ask, read] = away;
    let expected = unanswered(hop_limit(Some(1), 2));
    assert_eq!(diagnosed(&[near, ask, read]), Some(expected));
}

#[test]
fn a_caller_needs_more_than_brought_a_token_to_other_containers() {
    // Row 14: another container has its token with one hop left, this one is further away.
    let other = of(TOKEN, Outcome::Served).away().arrives(1, 5).pid(1).runs("/opt/other", 1);
    let [ask, read] = [of(TOKEN, Outcome::NoResponse).away(), of(READ, Outcome::Served).away()];
    assert_eq!(diagnosed(&[other, ask, read]), Some(unanswered(hop_limit(None, 3))));
}

#[test]
fn a_time_to_live_of_64_in_the_hosts_network_leaves_nothing_to_raise() {
    let near = of(TOKEN, Outcome::Served).arrives(64, 1).pid(1).runs("/usr/bin/other", 1);
    let [ask, read] = [of(TOKEN, Outcome::NoResponse).away(), of(READ, Outcome::Served).away()];
    let needed = Needed::Unreachable;
    let expected = Silence::HopLimit { is_own_network: true, limit: None, needed };
    assert_eq!(diagnosed(&[near, ask, read]), Some(unanswered(expected)));
}

#[test]
fn a_connection_that_the_service_ends_has_lost_no_response() {
    let ask = of(TOKEN, Outcome::NoResponse).away().closed();
    let read = of(READ, Outcome::Served).away();
    assert_eq!(diagnosed(&[ask, read]), Some(unanswered(Silence::Closed)));
}

#[test]
fn where_token_responses_arrive_the_hop_limit_is_not_the_cause() {
    let other = of(TOKEN, Outcome::Served).away().arrives(64, 77).pid(1).runs("/opt/other", 1);
    let [ask, read] = [of(TOKEN, Outcome::NoResponse).away(), of(READ, Outcome::Served).away()];
    assert_eq!(diagnosed(&[other, ask, read]), Some(unanswered(Silence::TooLate)));
}

#[test]
fn a_silence_in_the_hosts_own_network_is_known_as_such() {
    let [ask, read] = [of(TOKEN, Outcome::NoResponse), of(READ, Outcome::Served)];
    assert_eq!(diagnosed(&[ask, read]), Some(unanswered(Silence::HostNetwork)));
}

#[test]
fn where_the_hosts_network_is_not_known_nothing_is_guessed() {
    let mut requests = [of(TOKEN, Outcome::NoResponse), of(READ, Outcome::Served)];
    requests.iter_mut().for_each(|request| request.event.network.host_network = None);
    let needed = Needed::AtLeast(2);
    let expected = Silence::HopLimit { is_own_network: false, limit: None, needed };
    assert_eq!(diagnosed(&requests), Some(unanswered(expected)));
}

#[test]
fn a_client_that_never_falls_back_is_explained_by_its_token_request() {
    // Row 10. One that falls back may be forbidden to.
    let unanswered = Diagnosis::Unanswered { silence: hop_limit(None, 2), at: None };
    for (agent, expected) in [
        ("aws-sdk-rust/1.7.0", Some(unanswered.clone())),
        ("Go-http-client/1.1", Some(unanswered.clone())),
        ("curl/8", Some(unanswered.clone())),
        ("Boto3/1.44.5", Some(unanswered)),
    ] {
        let ask = of(TOKEN, Outcome::NoResponse).away().agent(agent);
        assert_eq!(diagnosed(&[ask]), expected, "{agent}");
    }
    let refusal = Refusal { outcome: Outcome::Forbidden, fault: None };
    let expected = Diagnosis::Refused { refusal, at: None };
    let ask = |agent| of(TOKEN, Outcome::Forbidden).agent(agent);
    assert_eq!(diagnosed(&[ask("aws-sdk-rust/1.7.0")]), Some(expected));
    assert_eq!(diagnosed(&[ask("curl/8")]), None);
}

#[test]
fn a_fallback_after_a_refusal_names_it() {
    for outcome in [
        Outcome::Forbidden,
        Outcome::NotFound,
        Outcome::RefusedMethod,
        Outcome::ClientError,
        Outcome::ServerError,
    ] {
        let requests = [of(TOKEN, outcome), of(READ, Outcome::Served)];
        assert_eq!(diagnosed(&requests), Some(refused(outcome, None)));
    }
}

#[test]
fn the_fault_of_a_token_request_is_named_and_no_proxy_blamed() {
    // Row 13.
    type Change = fn(&mut Traits);
    let rows: [(u16, Change, TokenFault); 9] = [
        (403, |traits| traits.is_forwarded = true, TokenFault::Forwarded),
        (403, |traits| traits.has_trailing_slash = true, TokenFault::TrailingSlash),
        (404, |traits| traits.has_trailing_slash = true, TokenFault::TrailingSlash),
        (403, |traits| traits.is_dated = true, TokenFault::DatedPath),
        (400, |traits| traits.lifetime = Lifetime::Absent, TokenFault::NoLifetime),
        (400, |traits| traits.lifetime = Lifetime::Invalid, TokenFault::BadLifetime),
        (400, |traits| traits.has_host = false, TokenFault::NoHost),
        (417, |traits| traits.has_expect = true, TokenFault::Expect),
        (400, |traits| traits.is_forwarded = true, TokenFault::Forwarded),
    ];
    for (status, change, fault) in rows {
        let ask = of(TOKEN, Outcome::Served).traits(change).status(status);
        let outcome = ask.event.imds.outcome;
        let expected =
            Diagnosis::Refused { refusal: Refusal { outcome, fault: Some(fault) }, at: None };
        assert_eq!(diagnosed(std::slice::from_ref(&ask)), Some(expected), "{fault:?}");
        let read = of(READ, Outcome::Served);
        assert_eq!(diagnosed(&[ask, read]), Some(refused(outcome, Some(fault))));
    }
    let ask = of(TOKEN, Outcome::Served).traits(|traits| traits.is_forwarded = true);
    let requests = [ask.status(500), of(READ, Outcome::Served)];
    assert_eq!(diagnosed(&requests), Some(refused(Outcome::ServerError, None)));
}

#[test]
fn a_token_that_is_asked_for_with_get_is_a_fault_of_the_method() {
    // E18c.
    let get = of(READ, Outcome::RefusedMethod).path("/latest/api/token");
    let refusal = Refusal { outcome: Outcome::RefusedMethod, fault: Some(TokenFault::Method) };
    let expected = Diagnosis::Refused { refusal, at: None };
    assert_eq!(diagnosed(std::slice::from_ref(&get)), Some(expected));
    let dropped = of(READ, Outcome::Served).args(&["curl", "-H", "X-aws-ec2-metadata-token: "]);
    let requests = [get, dropped.pid(9)];
    assert_eq!(diagnosed(&requests), Some(empty(TokenLoss::Refused(refusal))));
}

#[test]
fn an_empty_token_is_explained_by_the_token_request_of_its_script() {
    // E16.
    let dropped = of(READ, Outcome::Served).pid(9).args(&["curl", "-HX-aws-ec2-metadata-token:"]);
    let on_the_wire = of(Class::V2EmptyToken, Outcome::Rejected).pid(9).away();
    assert_eq!(diagnosed(std::slice::from_ref(&dropped)), Some(empty(TokenLoss::NotObserved)));
    let refusal = Refusal { outcome: Outcome::NotFound, fault: None };
    for (outcome, expected) in [
        (Outcome::NoResponse, TokenLoss::Unanswered(hop_limit(None, 2))),
        (Outcome::NotFound, TokenLoss::Refused(refusal)),
        (Outcome::Served, TokenLoss::Served),
        (Outcome::Unobserved, TokenLoss::NotObserved),
    ] {
        let ask = of(TOKEN, outcome).away();
        for read in [dropped.clone().away(), on_the_wire.clone()] {
            let mut requests = [ask.clone(), read];
            requests.iter_mut().for_each(|request| request.event.network.netns = None);
            assert_eq!(diagnosed(&requests), Some(empty(expected)));
        }
    }
}

#[test]
fn an_empty_token_is_said_of_what_sent_one_and_of_nothing_later() {
    // E21.
    let empty = of(Class::V2EmptyToken, Outcome::Rejected);
    let served = of(TOKEN, Outcome::Served);
    let v2 = of(Class::V2, Outcome::Served);
    let read = of(READ, Outcome::Served);
    let requests = [empty.clone(), served, v2, read.clone()];
    assert_eq!(diagnosed(&requests), Some(Diagnosis::Unused));
    assert_eq!(diagnosed(&[empty, read.clone()]), Some(Diagnosis::NeverAsks));
    // Only curl and HTTPie leave the header out, and only without a value.
    let python = read.clone().runs("/usr/bin/python3", 1).agent("Python-urllib/3.11");
    let code = python.args(&["python3", "-c", "h={'X-aws-ec2-metadata-token': t}"]);
    assert_eq!(diagnosed(&[code]), Some(Diagnosis::NeverAsks));
    let filled = read.args(&["curl", "-H", "X-aws-ec2-metadata-token: <redacted>"]);
    assert_eq!(diagnosed(&[filled]), Some(Diagnosis::NeverAsks));
}

#[test]
fn a_one_liner_that_asks_and_falls_back_did_not_send_an_empty_token() {
    let args = ["python3", "-c", "h={'X-aws-ec2-metadata-token': t}"];
    let read = of(READ, Outcome::Served).args(&args);
    let requests = [of(TOKEN, Outcome::NotFound), read];
    assert_eq!(diagnosed(&requests), Some(refused(Outcome::NotFound, None)));
}

#[test]
fn the_tools_of_one_script_are_one_caller_in_subshells_and_functions_too() {
    // Row 8: the token request's parent is a subshell, the read's is the script.
    let script = |request: Observed| request.under(Rule::Script, 4200, "/opt/net.sh");
    let read = script(of(READ, Outcome::Served).runs("/usr/bin/curl", 4200).pid(3));
    for (outcome, expected) in [
        (Outcome::Forbidden, refused(Outcome::Forbidden, None)),
        (Outcome::NoResponse, unanswered(Silence::HostNetwork)),
        (Outcome::Served, Diagnosis::Unused),
    ] {
        let mut ask = script(of(TOKEN, outcome).runs("/usr/bin/curl", 4201).pid(2));
        ask.event.network.netns = None;
        assert_eq!(diagnosed(&[ask.clone(), read.clone()]), Some(expected.clone()));
        // Another tool of the same script.
        let wget = script(of(READ, Outcome::Served).runs("/usr/bin/wget", 4200).pid(4));
        assert_eq!(diagnosed(&[ask, wget.agent("Wget/1.21")]), Some(expected));
    }
}

#[test]
fn a_script_is_not_explained_by_another_under_the_same_parent() {
    // E4: one supervisor, one interpreter, two scripts.
    let ask = of(TOKEN, Outcome::NoResponse).agent("Python-urllib/3.11").pid(2);
    let read = of(READ, Outcome::Served).agent("Python-urllib/3.11").pid(3);
    for exe in ["/usr/bin/python3", "/usr/bin/node", "/usr/bin/java", "/opt/app/server"] {
        for under in [
            |request: Observed, _: u32| request.under(Rule::Script, 4200, "both.sh"),
            |request: Observed, pid| request.under(Rule::Script, pid, "own.py"),
            |request: Observed, _| request.under(Rule::Container, 1, ""),
            |request: Observed, _| request,
        ] {
            let requests =
                [under(ask.clone().runs(exe, 4200), 2), under(read.clone().runs(exe, 4200), 3)];
            assert_eq!(diagnosed(&requests), Some(Diagnosis::NeverAsks), "{exe}");
        }
    }
    // Two scripts that call curl, in one container.
    let curl = |request: Observed, pid| request.runs("/usr/bin/curl", pid);
    let requests = [
        curl(of(TOKEN, Outcome::Served).pid(2), 20).under(Rule::Script, 20, "a.sh"),
        curl(of(READ, Outcome::Served).pid(3), 30).under(Rule::Script, 30, "b.sh"),
    ];
    assert_eq!(diagnosed(&requests), Some(Diagnosis::NeverAsks));
}

#[test]
fn a_script_that_only_fetches_a_token_explains_the_one_that_called_it() {
    let main = ["bash", "/opt/main.sh"];
    let ancestor = |pid, args: &[&str]| Ancestor {
        pid,
        name: Some("bash".into()),
        args: Some(args.iter().map(|&arg| arg.to_owned()).collect()),
    };
    let run = |request: Observed, pid, script: &str, args: &[&str], ancestors| {
        request.under(Rule::Script, pid, script).process(|process| {
            let args = args.iter().map(|&arg| arg.to_owned()).collect();
            process.responsible.as_mut().unwrap().args = Some(args);
            process.ancestors = ancestors;
        })
    };
    let helper = ["bash", "/opt/token.sh"];
    // The subshell of `$(/opt/token.sh)` stands between the two.
    let above = vec![
        ancestor(30, &helper),
        ancestor(21, &main),
        ancestor(20, &main),
        ancestor(9, &["bash", "-l"]),
    ];
    let fetch =
        |outcome| run(of(TOKEN, outcome), 30, "/opt/token.sh", &helper, above.clone()).pid(2);
    let read = |pid, args: &[&str]| {
        run(of(READ, Outcome::Served), pid, args[1], args, vec![ancestor(pid, args)]).pid(3)
    };
    let own = read(20, &main);
    assert_eq!(diagnosed(&[fetch(Outcome::Served), own.clone()]), Some(Diagnosis::Unused));
    let refusal = Some(refused(Outcome::Forbidden, None));
    assert_eq!(diagnosed(&[fetch(Outcome::Forbidden), own.clone()]), refusal);
    // The one that called that, and another one with its number.
    for (pid, args) in [(9, ["bash", "-l"]), (20, ["bash", "/opt/other.sh"])] {
        let other = read(pid, &args);
        assert_eq!(diagnosed(&[fetch(Outcome::Served), other]), Some(Diagnosis::NeverAsks));
    }
    // The helper used its token itself.
    let used = run(of(Class::V2, Outcome::Served), 30, "/opt/token.sh", &helper, above.clone());
    let requests = [fetch(Outcome::Served), used.pid(4), own];
    assert_eq!(diagnosed(&requests), Some(Diagnosis::NeverAsks));
}

#[test]
fn tools_of_two_programs_that_one_shell_started_are_not_one_caller() {
    // Two programs that somebody typed; each one runs commands.
    let below = |request: Observed, shell, program| {
        let ancestor = |pid, name: &str| Ancestor { pid, name: Some(name.into()), args: None };
        let ancestors = vec![ancestor(shell, "sh"), ancestor(program, "make"), ancestor(9, "bash")];
        request
            .under(Rule::Command, 9, "")
            .pid(shell + 1000)
            .process(|process| process.ancestors = ancestors)
    };
    let ask = below(of(TOKEN, Outcome::Served), 20, 2);
    let read = below(of(READ, Outcome::Served), 30, 3);
    assert_eq!(diagnosed(&[ask.clone(), read]), Some(Diagnosis::NeverAsks));
    let sibling = below(of(READ, Outcome::Served), 20, 2).pid(5);
    assert_eq!(diagnosed(&[ask.clone(), sibling]), Some(Diagnosis::Unused));
    // Each line of a makefile has a shell of its own, and some have none.
    let line = below(of(READ, Outcome::Served), 21, 2).pid(6);
    assert_eq!(diagnosed(&[ask, line]), Some(Diagnosis::Unused));
}

#[test]
fn a_tool_is_not_explained_by_an_sdk_of_the_same_script_nor_an_sdk_by_a_tool() {
    let script = |request: Observed| request.under(Rule::Script, 4200, "/opt/nightly.sh");
    let sdk_asks = script(of(TOKEN, Outcome::Served).agent("Boto3/1.44.5").pid(2));
    let curl_reads = script(of(READ, Outcome::Served).pid(3));
    assert_eq!(diagnosed(&[sdk_asks, curl_reads]), Some(Diagnosis::NeverAsks));
    let curl_asks = script(of(TOKEN, Outcome::Forbidden).pid(2));
    let sdk_reads = script(of(READ, Outcome::Served).agent("Boto3/1.9.200").pid(3));
    assert_eq!(diagnosed(&[curl_asks, sdk_reads]), Some(Diagnosis::NeverAsks));
}

#[test]
fn without_a_responsible_process_the_parent_makes_tools_one_caller() {
    let requests = [of(TOKEN, Outcome::Forbidden).pid(1), of(READ, Outcome::Served).pid(2)];
    assert_eq!(diagnosed(&requests), Some(refused(Outcome::Forbidden, None)));
}

#[test]
fn a_token_request_counts_by_its_own_time() {
    // E11: the first one is given up last.
    let late = of(TOKEN, Outcome::NoResponse).at(10);
    let newer = of(TOKEN, Outcome::Served).at(20);
    let read = |at| of(READ, Outcome::Served).at(at);
    let order = [newer.clone(), late.clone(), read(30)];
    assert_eq!(diagnosed(&order), Some(Diagnosis::Unused));
    let between = [late, newer.clone(), read(15)];
    assert!(matches!(diagnosed(&between), Some(Diagnosis::Unanswered { .. })));
    // One that was made later explains nothing.
    assert_eq!(diagnosed(&[newer, read(15)]), Some(Diagnosis::NeverAsks));
}

#[test]
fn a_token_request_that_still_waits_counts() {
    // E18a.
    let waits = of(TOKEN, Outcome::NoResponse).pending();
    let requests = [waits.clone().at(5), of(READ, Outcome::Served)];
    assert_eq!(diagnosed(&requests), Some(unanswered(Silence::HostNetwork)));
    let served = of(TOKEN, Outcome::Served).at(5);
    let requests = [waits.at(5), served, of(READ, Outcome::Served)];
    assert_eq!(diagnosed(&requests), Some(Diagnosis::Unused));
}

#[test]
fn a_caller_that_asks_only_after_a_rejection_prefers_imdsv1() {
    // Row 9, as seen: v1, 401, PUT, v2 of the same path.
    let rejected = of(READ, Outcome::Rejected);
    let prefers = Some(Diagnosis::PrefersV1 { is_observed: true });
    let adapts = [rejected.clone(), of(TOKEN, Outcome::Served), of(Class::V2, Outcome::Served)];
    assert_eq!(diagnosed(&adapts[..1]), Some(Diagnosis::NeverAsks));
    assert_eq!(diagnosed(&adapts[..2]), None);
    assert_eq!(diagnosed(&adapts), prefers);
    let again = [&adapts[..], &[of(READ, Outcome::Served)]].concat();
    assert_eq!(diagnosed(&again), prefers);
    // Another path may be asked for by another part of the program.
    let other = [rejected, of(TOKEN, Outcome::Served), of(Class::V2, Outcome::Served).path("/x")];
    assert_eq!(diagnosed(&other), None);
}

#[test]
fn a_version_that_asks_only_after_a_rejection_prefers_imdsv1() {
    // Row 9, by the table.
    let read = |agent| of(READ, Outcome::Served).agent(agent);
    let by_table = Some(Diagnosis::PrefersV1 { is_observed: false });
    assert_eq!(diagnosed(&[read("amazon-ssm-agent/2.3.814.0")]), by_table);
    for agent in ["amazon-ssm-agent/2.3.0.0", "amazon-ssm-agent/3.0.413.0", "amazon-ssm-agent"] {
        assert_eq!(diagnosed(&[read(agent)]), Some(Diagnosis::NeverAsks), "{agent}");
    }
}

#[test]
fn a_call_that_never_sends_a_token_is_told_from_a_fallback() {
    // Row 11.
    let read = |agent, path| of(READ, Outcome::Served).agent(agent).path(path);
    let zone = "/latest/meta-data/placement/availability-zone";
    let credentials = "/latest/meta-data/iam/security-credentials/";
    for agent in ["aws-sdk-nodejs/2.1693.0", "aws-sdk-cpp/1.11.100"] {
        let found = diagnosed(&[read(agent, zone)]);
        assert!(matches!(found, Some(Diagnosis::PlainCall { .. })), "{agent} {found:?}");
        assert_eq!(diagnosed(&[read(agent, credentials)]), Some(Diagnosis::NeverAsks));
        let asks = of(TOKEN, Outcome::NotFound).agent(agent);
        let expected = refused(Outcome::NotFound, None);
        assert_eq!(diagnosed(&[asks, read(agent, zone)]), Some(expected));
    }
    let old = read("aws-sdk-nodejs/2.574.0", zone);
    assert_eq!(diagnosed(&[old]), Some(Diagnosis::NeverAsks));
}

#[test]
fn a_header_with_another_name_is_named() {
    // Row 12.
    let named = |name: &str| {
        let name = Some(name.to_owned());
        diagnosed(&[of(READ, Outcome::Served).traits(|traits| traits.misnamed_header = name)])
    };
    let misnamed = HeaderMistake::Misnamed("X-aws-metadata-token".into());
    assert_eq!(named("X-aws-metadata-token"), Some(Diagnosis::WrongHeader(misnamed)));
    let lifetime = Diagnosis::WrongHeader(HeaderMistake::Lifetime);
    assert_eq!(named("X-aws-ec2-metadata-token-ttl-seconds"), Some(lifetime));
}

#[test]
fn a_header_that_the_shell_splits_is_named() {
    // Row 17.
    let args = ["curl", "-H", "\"X-aws-ec2-metadata-token:", "<redacted>\"", "http://x"];
    let requests = [of(TOKEN, Outcome::Served), of(READ, Outcome::Served).pid(9).args(&args)];
    assert_eq!(diagnosed(&requests), Some(Diagnosis::WrongHeader(HeaderMistake::Split)));
}

#[test]
fn a_probe_of_another_cloud_is_harmless() {
    // E17.
    let probe = of(READ, Outcome::Served).traits(|traits| traits.is_other_clouds = true);
    assert_eq!(diagnosed(&[probe]), Some(Diagnosis::OtherCloudProbe));
}

#[test]
fn an_old_sdk_is_not_taken_for_its_neighbour_that_asks() {
    let requests = [
        of(TOKEN, Outcome::Forbidden).agent("Boto3/1.44.5").pid(1),
        of(READ, Outcome::Served).agent("Boto3/1.9.200").pid(2),
    ];
    assert_eq!(diagnosed(&requests), Some(Diagnosis::NeverAsks));
}

#[test]
fn a_client_without_a_user_agent_is_explained_by_its_own_requests() {
    let mut requests = [
        of(TOKEN, Outcome::NotFound),
        of(TOKEN, Outcome::Served).pid(9),
        of(READ, Outcome::Served),
    ];
    requests.iter_mut().for_each(|request| request.event.client = None);
    assert_eq!(diagnosed(&requests), Some(refused(Outcome::NotFound, None)));
}

#[test]
fn a_token_that_is_not_used_is_named() {
    let requests = [of(TOKEN, Outcome::Served), of(READ, Outcome::Served)];
    assert_eq!(diagnosed(&requests), Some(Diagnosis::Unused));
}

#[test]
fn a_token_request_whose_answer_was_not_observed_explains_nothing() {
    let requests = [of(TOKEN, Outcome::Unobserved), of(READ, Outcome::Served)];
    assert_eq!(diagnosed(&requests), None);
}

#[test]
fn requests_with_a_token_have_no_diagnosis() {
    for (class, outcome) in [
        (TOKEN, Outcome::Served),
        (TOKEN, Outcome::Unobserved),
        (Class::V2, Outcome::Served),
        (Class::Foreign, Outcome::NotFound),
        (Class::Unknown, Outcome::Unobserved),
    ] {
        assert_eq!(diagnosed(&[of(class, outcome)]), None, "{class}");
    }
}

#[test]
fn a_flood_of_callers_is_bounded_and_each_that_is_forgotten_counted() {
    let mut tracker = DiagnosisTracker::default();
    let most = u32::try_from(MAX_CALLERS.get()).unwrap();
    let ask = |pid| of(TOKEN, Outcome::Served).pid(pid).runs("/usr/bin/curl", pid);
    for pid in 0..most {
        observe(&mut tracker, &ask(pid));
    }
    // Asking again makes nobody be forgotten.
    observe(&mut tracker, &ask(most - 1));
    assert_eq!(tracker.evicted(), 0);
    for pid in most..most + 10 {
        observe(&mut tracker, &ask(pid));
    }
    assert_eq!(tracker.processes.len(), MAX_CALLERS.get());
    assert_eq!(tracker.tools.len(), MAX_CALLERS.get());
    // As a process and as a group of tools.
    assert_eq!(tracker.evicted(), 2 * 10);
}

#[test]
fn a_relay_is_not_told_to_change() {
    // Row 15.
    let mut forwarded = of(READ, Outcome::Served);
    forwarded.event.http.as_mut().unwrap().forwarded_for = Some("10.1.0.7".into());
    let address = Some("10.1.0.7".to_owned());
    assert_eq!(diagnosed(&[forwarded]), Some(Diagnosis::Relayed { address }));
    let transparent = of(READ, Outcome::Served).runs("/usr/bin/slirp4netns", 1);
    assert_eq!(diagnosed(&[transparent]), Some(Diagnosis::Relayed { address: None }));
    for (exe, args) in [
        ("/usr/bin/pasta.avx2", &["pasta"][..]),
        ("/usr/libexec/qemu-kvm", &["qemu-kvm"]),
        ("/usr/sbin/sshd", &["sshd: me@pts/0"]),
        ("/usr/bin/socat", &["socat", "TCP4-LISTEN:80,fork", "TCP:169.254.169.254:80"]),
    ] {
        let relayed = of(READ, Outcome::Served).runs(exe, 1).args(args);
        assert_eq!(diagnosed(&[relayed]), Some(Diagnosis::Relayed { address: None }), "{exe}");
    }
    for (exe, args) in [
        ("/usr/bin/nginx", &["nginx"][..]),
        ("/usr/bin/socat", &["socat", "-", "TCP:169.254.169.254:80"]),
    ] {
        let own = of(READ, Outcome::Served).runs(exe, 1).args(args);
        assert_eq!(diagnosed(&[own]), Some(Diagnosis::NeverAsks), "{exe}");
    }
}
