//! Messages to the service manager (sd_notify(3)). Without one they go nowhere.

use std::time::Duration;

use sd_notify::NotifyState;

/// Says that everything is attached.
pub(super) fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the configuration is being read again; [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => log::warn!("the clock cannot be read error={error}"),
    }
}

/// Says that the agent ends.
pub(super) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Sends a sign of life at half of the time that the service manager waits for one; returns at
/// once if it waits for none.
pub(super) async fn feed_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let interval = (limit / 2).max(Duration::from_millis(1));
    loop {
        send(&[NotifyState::Watchdog]);
        tokio::time::sleep(interval).await;
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager cannot be reached error={error}");
    }
}
