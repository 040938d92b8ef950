//! A new configuration for a running agent.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::{mpsc, oneshot};

use super::{
    config::{self, Config, OutputConfig, Overrides},
    metrics::Metrics,
    outputs,
};
use crate::{
    output::{queue::OutputHandle, sink::Sink},
    pipeline::Control,
};

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub(crate) struct ConfigSource {
    /// The file, if one was named.
    pub path: Option<PathBuf>,
    /// What wins over it.
    pub overrides: Overrides,
}

/// Reads the configuration again and applies it.
pub(super) struct Reloader {
    source: ConfigSource,
    config: Config,
    /// The audited host's name, which outputs may write.
    host: Arc<str>,
    changes: mpsc::Sender<Control>,
    metrics: Arc<Metrics>,
}

impl Reloader {
    /// Makes one for a running configuration.
    pub(super) const fn new(
        source: ConfigSource,
        config: Config,
        host: Arc<str>,
        changes: mpsc::Sender<Control>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { source, config, host, changes, metrics }
    }

    /// Reads the configuration and applies labels and outputs; outputs that did not change are
    /// opened anew. An invalid one changes nothing. Returns the one in force.
    pub(super) async fn reload(&mut self) -> &Config {
        match config::load(self.source.path.as_deref(), &self.source.overrides) {
            Ok(loaded) => self.apply(loaded.config).await,
            Err(problems) => {
                log::error!("the new configuration is not taken, the old one stays:\n{problems}");
                // The outputs are opened anew all the same, for whoever has moved a file.
                let config = self.config.clone();
                self.apply(config).await;
            }
        }
        &self.config
    }

    async fn apply(&mut self, new: Config) {
        for key in needs_restart(&self.config, &new) {
            log::warn!("a change needs a restart key={key}");
        }
        self.config.labels.clone_from(&new.labels);
        self.config.outputs.clone_from(&new.outputs);
        let (outputs, metrics) = (new.outputs, Arc::clone(&self.metrics));
        let host = Arc::clone(&self.host);
        let (done, applied) = oneshot::channel();
        let change = move |old: Vec<Sink>| {
            let (sinks, problems) = outputs::change(old, &outputs, &host);
            for problem in problems {
                log::error!("an output is left out error={problem}");
            }
            metrics.set_outputs(handles(&sinks, &outputs));
            log::info!("the outputs are opened anew outputs={}", sinks.len());
            // It waits for that, unless the agent ends.
            let _ = done.send(());
            sinks
        };
        for control in [Control::Labels(new.labels), Control::Outputs(Box::new(change))] {
            // An audit that has ended takes no change, and ends the agent.
            let _ = self.changes.send(control).await;
        }
        // The service manager hears of it only when events go to the new outputs.
        let _ = applied.await;
    }
}

/// Returns the outputs' handles with their names for metrics.
pub(super) fn handles(sinks: &[Sink], configs: &[OutputConfig]) -> Vec<(String, OutputHandle)> {
    let label = |sink: &Sink| {
        let config = configs.iter().find(|config| outputs::key(config) == sink.name());
        config.map(OutputConfig::label).unwrap_or_default()
    };
    sinks.iter().map(|sink| (label(sink), sink.queue().handle())).collect()
}

/// Returns the keys of what differs and cannot change in a running agent.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let Config {
        endpoints,
        source,
        ring_size,
        host_root,
        procfs,
        cgroup,
        kubelet_logs,
        host_name,
        tally_interval,
        labels: _,
        outputs: _,
        metrics,
        privileges,
    } = old;
    let differs = [
        ("endpoints", *endpoints != new.endpoints),
        ("source", *source != new.source),
        ("ring_size", *ring_size != new.ring_size),
        ("host_root", *host_root != new.host_root),
        ("procfs", *procfs != new.procfs),
        ("cgroup", *cgroup != new.cgroup),
        ("kubelet_logs", *kubelet_logs != new.kubelet_logs),
        ("host_name", *host_name != new.host_name),
        ("tally_interval", *tally_interval != new.tally_interval),
        ("metrics", *metrics != new.metrics),
        ("privileges", *privileges != new.privileges),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_restart_is_named() {
        let old = Config::default();
        let mut new =
            Config { ring_size: 4096, labels: [("a".into(), "b".into())].into(), ..old.clone() };
        new.metrics.callers = true;
        new.outputs.clear();
        assert_eq!(needs_restart(&old, &new), ["ring_size", "metrics"]);
        assert_eq!(needs_restart(&old, &old), [""; 0]);
    }

    #[tokio::test]
    async fn an_invalid_configuration_keeps_the_old_one_and_opens_its_outputs_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, "[labels]\na = 1\n").unwrap();
        let source = ConfigSource { path: Some(path.clone()), overrides: Overrides::default() };
        let (changes, mut control) = mpsc::channel(4);
        let config = Config { labels: [("a".into(), "old".into())].into(), ..Config::default() };
        let metrics = Arc::new(Metrics::new(None));
        let mut reloader = Reloader::new(source, config.clone(), "node".into(), changes, metrics);
        let mut changes = async || {
            let Some(Control::Labels(labels)) = control.recv().await else { panic!("no labels") };
            assert!(matches!(control.recv().await, Some(Control::Outputs(_))));
            labels
        };
        let (kept, labels) = tokio::join!(reloader.reload(), changes());
        assert_eq!((kept, &labels), (&config, &config.labels));
        std::fs::write(&path, "[labels]\na = \"new\"\n").unwrap();
        let (taken, labels) = tokio::join!(reloader.reload(), changes());
        assert_eq!((taken.labels["a"].as_str(), labels["a"].as_str()), ("new", "new"));
    }
}
