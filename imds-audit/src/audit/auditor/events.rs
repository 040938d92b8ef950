//! Events of observations whose process is known.

use std::sync::Arc;

use imds_audit_ebpf::{COMM_LENGTH, Task};

use super::Auditor;
use crate::audit::attribution::Actor;
use crate::audit::clock::Clock;
use crate::audit::connection_fold::FoldKey;
use crate::audit::describe::{self, ProcessPart};
use crate::audit::held::Attributed;
use crate::classify::Traits;
use crate::diagnose::{Facts, ProcessInstance, advise};
use crate::event::{self, Attribution, Body, Class, Event, RelayPart, RequestEvent};
use crate::flow::{Exchange, FlowEvent, IdleConnection, Request, Response, WaitingRequest};
use crate::redact::Known;
use crate::segment::{EndpointPair, Timestamp};

impl Auditor {
    /// Turns an observation into an event of the audit.
    pub(super) fn describe(&mut self, observed: Attributed) {
        let Attributed { event, attribution, actor } = observed;
        match event {
            FlowEvent::RequestWaiting(waiting) => self.token_pending(&waiting, attribution, actor),
            FlowEvent::Exchange(exchange) => {
                let event = self.exchange(&exchange, attribution, actor);
                self.events.push_back(event);
            }
            FlowEvent::IdleConnection(idle) => self.idle(&idle, attribution, actor),
        }
    }

    fn exchange(
        &mut self,
        exchange: &Exchange,
        attribution: Attribution,
        actor: Option<Actor>,
    ) -> Event {
        let Exchange { connection, ends, request, response } = exchange;
        let (mut event, process) = self.request(attribution, actor, ends, request, response);
        let waiting = self.tracker.waiting();
        event.relay = self.relays.part(&event, *connection, ends, request, waiting);
        let traits = traits(request, &event);
        let facts = Facts {
            process,
            started: request.started,
            traits: &traits,
            is_closed_by_service: matches!(response, Response::None { by_service: true, .. }),
        };
        let diagnosis = self.diagnosis.observe(&event, &facts);
        // The request that a relay repeats has its advice with its own event.
        if event.relay != Some(RelayPart::Repetition) {
            event.advice = diagnosis.map(|diagnosis| advise(&diagnosis, &event));
        }
        Event::from(Body::from(event))
    }

    /// Treats a token request as unanswered while it waits; the final exchange corrects it. A
    /// response dropped by the hop limit never arrives, and the fallback to IMDSv1 comes first.
    fn token_pending(
        &mut self,
        waiting: &WaitingRequest,
        attribution: Attribution,
        actor: Option<Actor>,
    ) {
        let WaitingRequest { connection: _, ends, request } = waiting;
        let silence = Response::None { time: request.started, by_service: false };
        let (event, process) = self.request(attribution, actor, ends, request, &silence);
        let traits = traits(request, &event);
        let facts = Facts {
            process,
            started: request.started,
            traits: &traits,
            is_closed_by_service: false,
        };
        self.diagnosis.token_pending(&event, &facts);
    }

    /// Builds the event of a request, without advice. Returns it with the process that made it.
    fn request(
        &mut self,
        attribution: Attribution,
        actor: Option<Actor>,
        ends: &EndpointPair,
        request: &Request,
        response: &Response,
    ) -> (RequestEvent, Option<ProcessInstance>) {
        let secrets = describe::secrets(request);
        let clock = self.describer.clock;
        let part = self.part(actor.as_ref(), attribution, clock, &secrets);
        let event = self.describer.request(ends, request, response, part, &secrets);
        let instance = |Actor { task, .. }: Actor| ProcessInstance {
            pid: task.pid,
            start_time: task.start_time,
        };
        (event, actor.filter(|actor| actor.task.pid != 0).map(instance))
    }

    fn idle(&mut self, idle: &IdleConnection, attribution: Attribution, actor: Option<Actor>) {
        let (clock, secrets) = (self.describer.clock, Known::default());
        let part = self.part(actor.as_ref(), attribution, clock, &secrets);
        let key = FoldKey {
            process: actor.map(|actor| actor.task.process()),
            endpoint: idle.ends.endpoint,
            result: idle.result,
            netns: idle.ends.netns,
        };
        let event = self.describer.connection(idle, part.process);
        self.connections.add(key, event, idle.ended);
        self.drain_connections();
    }

    /// Describes the process of a task at a time, without these secrets. Returns whether a fuller
    /// description follows.
    pub(crate) fn process_of(
        &mut self,
        task: Task,
        comm: [u8; COMM_LENGTH],
        time: Timestamp,
        secrets: &Known<'_>,
    ) -> (Arc<event::Process>, bool) {
        let process = self.attribution.find(task, time);
        let is_pending = process.as_ref().is_some_and(|process| process.is_pending);
        let actor = Actor { task, comm, process };
        let clock = self.describer.clock;
        let part = self.process_parts.get(Some(&actor), Attribution::Writer, clock, secrets);
        (part.process, is_pending)
    }

    fn part(
        &mut self,
        actor: Option<&Actor>,
        attribution: Attribution,
        clock: Clock,
        secrets: &Known<'_>,
    ) -> ProcessPart {
        match actor.and_then(|actor| self.described.get(&actor.task)) {
            Some(process) => ProcessPart::of_described(process, attribution),
            None => self.process_parts.get(actor, attribution, clock, secrets),
        }
    }
}

/// Returns the peculiarities of a request that a diagnosis may need.
fn traits(request: &Request, event: &RequestEvent) -> Traits {
    match (&request.head, event.imds.class) {
        (Ok(head), Class::V1 | Class::V2Token) => Traits::of(head.target(), head.headers()),
        _ => Traits::default(),
    }
}
