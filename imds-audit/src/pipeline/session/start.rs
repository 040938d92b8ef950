//! The `start` event: the host, the programs, and the fallbacks in use.

use std::path::Path;

use super::Session;
use crate::{
    event::{Body, Event, Fallback, StartEvent},
    pipeline::{fallbacks, host_network::host_netns, input::Input},
    process::{Procfs, Roots},
    segment::Timestamp,
    source::ebpf::{
        host::{Host, Rights},
        loader::Options,
    },
};

impl Session {
    /// Builds the `start` event.
    pub(super) fn start_event(
        &self,
        options: &Options,
        roots: &Roots,
        mut fallbacks: Vec<Fallback>,
    ) -> Event {
        let host = Host::read();
        let of_kernel = match &self.source {
            Input::Ebpf(source) => source.fallbacks(),
            Input::Packet(input) => {
                fallbacks.extend(input.fallbacks());
                &[]
            }
        };
        fallbacks.extend(fallbacks::all(of_kernel, &host, Rights::read(), roots));
        Event::from(Body::from(StartEvent {
            time: self.auditor.clock().time(self.started),
            // Nanoseconds since boot are 0 then.
            boot: Some(self.auditor.clock().time(Timestamp(0))),
            container_start: container_start(&host, roots)
                .map(|start| self.auditor.clock().time(start)),
            kernel: Some(host.kernel),
            architecture: Some(host.architecture),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            programs: self.source.programs(),
            endpoints: options.endpoints.iter().map(ToString::to_string).collect(),
            fallbacks,
            netns: host_netns(roots),
        }))
    }
}

/// Returns the start time of the container in which this program runs.
fn container_start(host: &Host, roots: &Roots) -> Option<Timestamp> {
    if host.initial_pid_namespace || roots.procfs != Path::new("/proc") {
        return None;
    }
    Procfs::open(&roots.procfs).ok()?.first_start().map(Timestamp)
}
