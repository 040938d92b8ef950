//! Metrics in a file for node_exporter's textfile collector.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::MissedTickBehavior;

use super::metrics::Exposition;

/// Writes the file at every interval until it is dropped.
pub(super) async fn write_at_intervals(path: PathBuf, interval: Duration, exposition: Exposition) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut is_failing = false;
    loop {
        ticks.tick().await;
        match write(&path, &exposition) {
            Ok(()) => is_failing = false,
            Err(error) if is_failing => {
                log::debug!("the metrics are still not written error={error}")
            }
            Err(error) => {
                log::warn!("cannot write metrics path={} error={error}", path.display());
                is_failing = true;
            }
        }
    }
}

/// Writes the file under another name and renames it, so that no reader sees half of it. The
/// collector reads only names that end in `.prom`. Its owner is root and all may read it, as the
/// collector is another user.
///
/// # Errors
/// Returns what the system says.
pub(super) fn write(path: &Path, exposition: &Exposition) -> io::Result<()> {
    let page = exposition.text().map_err(io::Error::other)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    // One that a killed agent left, or a link that somebody else made.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary)?;
    let written = file.write_all(page.as_bytes()).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The next attempt says what is wrong.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, sync::Arc};

    use super::*;
    use crate::agent::metrics::Metrics;

    #[test]
    fn the_file_is_whole_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("imds_audit.prom");
        fs::write(folder.path().join("imds_audit.prom.tmp"), "left by a kill").unwrap();
        let exposition = Exposition::without_process(Arc::new(Metrics::new(None)));
        for _ in 0..2 {
            write(&path, &exposition).unwrap();
        }
        let page = fs::read_to_string(&path).unwrap();
        assert!(page.contains("imds_audit_build_info"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write(&folder.path().join("missing/a.prom"), &exposition).is_err());
    }
}
