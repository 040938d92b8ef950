//! Changes to a running audit, by a channel.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use crate::output::sink::Sink;

/// A change to a running audit.
pub enum Control {
    /// Gives every event these labels.
    Labels(BTreeMap<String, String>),
    /// Replaces the outputs by those that the function makes of them.
    Outputs(Box<dyn FnOnce(Vec<Sink>) -> Vec<Sink> + Send>),
}

/// Waits for a change; without end if none can come.
pub(super) async fn next_control(control: &mut Option<mpsc::Receiver<Control>>) -> Control {
    let next = match control {
        Some(control) => control.recv().await,
        None => None,
    };
    match next {
        Some(control) => control,
        None => std::future::pending().await,
    }
}
