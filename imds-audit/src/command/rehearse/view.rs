//! Every event of a rehearsal: those of other processes are left out, the front's address becomes the
//! endpoint that it stands for, and each caller's requests are followed.

use std::{cell::RefCell, net::SocketAddr, rc::Rc};

use imds_audit_ebpf::rehearsal::Connect;

use crate::{
    event::{Body, Event, LeftAlone, RehearsalEvent, RehearsedCommand, RehearsedSettings, Time},
    pipeline::View,
    rehearsal::{front::Route, redirection::Redirection, target::Target, verdict::Verdicts},
};

/// What a rehearsal has found so far.
#[derive(Debug)]
pub(super) struct Findings {
    verdicts: Option<Verdicts>,
    event: RehearsalEvent,
    result: Option<RehearsalEvent>,
}

impl Findings {
    pub(super) fn new(target: &Target, settings: RehearsedSettings) -> Self {
        let now = Time(jiff::Timestamp::now());
        let (title, path) = (target.title.clone(), target.path.clone());
        let event = RehearsalEvent::begun(now, title, path, settings);
        Self { verdicts: Some(Verdicts::default()), event, result: None }
    }

    /// Notes the moment from which connects are redirected.
    pub(super) fn begin(&mut self, time: Time) {
        self.event.from = time;
    }

    /// Notes how many connections were open before.
    pub(super) fn open_before(&mut self, connections: u64) {
        self.event.open_before = connections;
    }

    /// Returns the result as far as it is known.
    pub(super) fn event(&self) -> &RehearsalEvent {
        &self.event
    }

    /// Notes what the programs and the fronts did.
    pub(super) fn end(&mut self, redirection: &Redirection, command: Option<RehearsedCommand>) {
        let event = &mut self.event;
        let count = |connect| redirection.count(connect);
        event.redirected = count(Connect::Redirected);
        event.passed = count(Connect::NoFront).saturating_add(count(Connect::NoMemory));
        event.passed_bound_to_device = count(Connect::BoundToDevice);
        event.command = command;
        event.left_alone = redirection
            .left_alone()
            .map(|(netns, reason)| LeftAlone { netns, reason: reason.to_owned() })
            .collect();
    }

    /// Returns the result, once everything has been seen.
    pub(super) fn take(&mut self) -> Option<RehearsalEvent> {
        self.result.take()
    }
}

/// The view of a rehearsal's audit.
pub(super) struct RehearsalView {
    findings: Rc<RefCell<Findings>>,
    cgroup: Option<String>,
    /// Each front's address as events have it, with the endpoint's.
    routes: Vec<(String, String)>,
}

impl RehearsalView {
    pub(super) fn new(
        findings: Rc<RefCell<Findings>>,
        cgroup: Option<String>,
        routes: Vec<Route>,
    ) -> Self {
        let text = |address: SocketAddr| address.to_string();
        let routes = routes.iter().map(|route| (text(route.front), text(route.endpoint))).collect();
        Self { findings, cgroup, routes }
    }

    /// Puts the endpoint in the place of the front. Returns whether it was one.
    fn restore(&self, endpoint: &mut String) -> bool {
        let route = self.routes.iter().find(|(front, _)| front == endpoint);
        if let Some((_, meant)) = route {
            endpoint.clone_from(meant);
        }
        route.is_some()
    }

    /// Puts the endpoint in the place of the front in a text. The port of HTTP is left out.
    fn restore_in(&self, text: &mut String) {
        for (front, meant) in &self.routes {
            if text.contains(front.as_str()) {
                *text = text.replace(front.as_str(), meant.strip_suffix(":80").unwrap_or(meant));
            }
        }
    }

    /// Returns whether a process that reached the service itself is one of those rehearsed.
    fn is_rehearsed(&self, cgroup: Option<&str>, pid: Option<u32>) -> bool {
        if pid == Some(std::process::id()) {
            return false;
        }
        let (Some(own), Some(cgroup)) = (self.cgroup.as_deref(), cgroup) else { return false };
        own == "/"
            || cgroup.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl View for RehearsalView {
    fn admit(&mut self, event: &mut Event) -> bool {
        match &mut event.body {
            Body::Request(request) => {
                let at_front = self.restore(&mut request.imds.endpoint);
                if at_front && let Some(advice) = &mut request.advice {
                    self.restore_in(&mut advice.text);
                    if let Some(command) = &mut advice.command {
                        self.restore_in(command);
                    }
                }
                let process = &request.process;
                let is_ours = at_front || self.is_rehearsed(process.cgroup.as_deref(), process.pid);
                if is_ours && let Some(verdicts) = &mut self.findings.borrow_mut().verdicts {
                    verdicts.add(request, at_front);
                }
                is_ours
            }
            Body::Connection(connection) => {
                let at_front = self.restore(&mut connection.connection.endpoint);
                let process = &connection.process;
                // The front's own first connect, which shows that it can be reached.
                let is_own = process.pid == Some(std::process::id());
                (at_front && !is_own) || self.is_rehearsed(process.cgroup.as_deref(), process.pid)
            }
            Body::Start(_)
            | Body::Loss(_)
            | Body::Stop(_)
            | Body::Tally(_)
            | Body::Rehearsal(_)
            | Body::Other => true,
        }
    }

    fn closing(&mut self, time: Time) -> Option<Event> {
        let mut findings = self.findings.borrow_mut();
        let (callers, more_callers) = findings.verdicts.take()?.finish();
        let event = RehearsalEvent { time, callers, more_callers, ..findings.event.clone() };
        findings.result = Some(event.clone());
        Some(Event::from(event))
    }
}
