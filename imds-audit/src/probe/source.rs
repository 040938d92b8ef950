//! Reads the records of the attached kernel half.

use std::{collections::BTreeMap, io, os::fd::AsRawFd};

use aya::maps::{HashMap, MapData, PerCpuArray, RingBuf};
use aya_log::EbpfLogger;
use imds_audit_ebpf::{Loss, LossCount, LossKey};
use tokio::io::unix::{AsyncFd, AsyncFdReadyMutGuard};

use super::{
    host::CgroupRoot,
    loader::{Fallback, LOSERS, LOSSES, Loaded, Options, ProbeError, RECORDS},
    losses::{Ledger, Lost, Totals},
};

/// A [`LossKey`] and a [`LossCount`] as they lie in the map.
type LossKeyBytes = [u8; size_of::<LossKey>()];
type LossCountBytes = [u8; size_of::<LossCount>()];

/// The attached kernel half. Dropping it detaches everything.
pub struct Source {
    /// Keeps the programs attached.
    loaded: Loaded,
    records: AsyncFd<RingBuf<MapData>>,
    losses: PerCpuArray<MapData, u64>,
    losers: HashMap<MapData, LossKeyBytes, LossCountBytes>,
    ledger: Ledger,
    /// Keeps the kernel half's own log open, where it was asked for.
    log: Option<AsyncFd<EbpfLogger<&'static dyn log::Log>>>,
}

impl Source {
    /// Loads the kernel half and attaches it to the root of cgroup v2. It must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// Where this build has no kernel half, or the host does not allow it.
    pub fn start(options: &Options) -> Result<Self, ProbeError> {
        let mut loaded = Loaded::load(options)?;
        let root = CgroupRoot::find()?;
        let records = take_map(&mut loaded, RECORDS)?;
        let records = RingBuf::try_from(records).map_err(|error| map_error(RECORDS, error))?;
        let losses = take_map(&mut loaded, LOSSES)?;
        let losses = PerCpuArray::try_from(losses).map_err(|error| map_error(LOSSES, error))?;
        let losers = take_map(&mut loaded, LOSERS)?;
        let losers = HashMap::try_from(losers).map_err(|error| map_error(LOSERS, error))?;
        let log = if options.log_level == 0 { None } else { open_log(&loaded) };
        let records = register(records).map_err(ProbeError::Ring)?;
        loaded.attach(&root)?;
        Ok(Self { loaded, records, losses, losers, ledger: Ledger::default(), log })
    }

    /// Returns what the audit does without on this host.
    pub fn fallbacks(&self) -> &[Fallback] {
        &self.loaded.fallbacks
    }

    /// Waits until there are records, or lines of the kernel half's own log, which it passes on.
    ///
    /// # Errors
    /// Where the ring cannot be waited for.
    pub async fn wait(&mut self) -> io::Result<()> {
        loop {
            let Some(log) = &mut self.log else {
                // Ready until `drain` meets the end of the ring.
                return self.records.readable_mut().await.map(drop);
            };
            tokio::select! {
                ready = self.records.readable_mut() => return ready.map(drop),
                ready = log.readable_mut() => flush_log(ready?),
            }
        }
    }

    /// Hands out the records that are there, at most `most`. Returns whether the ring is empty.
    pub fn drain(&mut self, most: usize, mut take: impl FnMut(&[u8])) -> bool {
        for _ in 0..most {
            let Some(record) = self.records.get_mut().next() else {
                self.rest();
                return true;
            };
            take(&record);
        }
        false
    }

    /// Lets the next [`wait`](Self::wait) wait.
    ///
    /// A record that came after the last look is not missed: the kernel tells of every record
    /// that comes when the reader has met the end, and on a runtime of one thread the telling is
    /// taken in only after this has returned.
    fn rest(&mut self) {
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        if let std::task::Poll::Ready(Ok(mut guard)) =
            self.records.poll_read_ready_mut(&mut context)
        {
            guard.clear_ready();
        }
    }

    /// Returns what was lost since the last call, or since the programs were loaded.
    ///
    /// # Errors
    /// Where the counters cannot be read.
    pub fn take_losses(&mut self) -> Result<Vec<Lost>, ProbeError> {
        let mut totals = Totals::default();
        for (loss, sum) in Loss::ALL.into_iter().zip(&mut totals) {
            let counters =
                self.losses.get(&(loss as u32), 0).map_err(|error| map_error(LOSSES, error))?;
            *sum = counters.iter().copied().fold(0, u64::saturating_add);
        }
        if !self.ledger.has_grown(&totals) {
            return Ok(Vec::new());
        }
        // Whose they were is worth less than that they were: what cannot be read is nobody's.
        let counts: BTreeMap<LossKey, LossCount> = self
            .losers
            .iter()
            .map_while(Result::ok)
            .map(|(key, count)| (zerocopy::transmute!(key), zerocopy::transmute!(count)))
            .collect();
        Ok(self.ledger.take(&totals, &counts))
    }
}

fn take_map(loaded: &mut Loaded, name: &'static str) -> Result<aya::maps::Map, ProbeError> {
    loaded
        .maps
        .remove(name)
        .ok_or_else(|| map_error(name, aya::maps::MapError::InvalidName { name: name.to_owned() }))
}

fn map_error(name: &'static str, error: aya::maps::MapError) -> ProbeError {
    ProbeError::Map { name, error: Box::new(error) }
}

/// Registers a ring with the runtime.
fn register<T: AsRawFd>(ring: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: a ring owns its map's descriptor, which stays open and the same until it is dropped.
    unsafe { AsyncFd::register(ring) }.map_err(io::Error::from)
}

/// Opens the kernel half's log; without it the audit goes on. aya-log looks for its map by a
/// program's number, which needs CAP_SYS_ADMIN.
fn open_log(loaded: &Loaded) -> Option<AsyncFd<EbpfLogger<&'static dyn log::Log>>> {
    let id = loaded.number().map_err(|error| error.to_string());
    let opened = id.and_then(|id| EbpfLogger::init_from_id(id).map_err(|error| error.to_string()));
    let opened = opened.and_then(|logger| register(logger).map_err(|error| error.to_string()));
    opened.inspect_err(|error| log::warn!("cannot read the kernel half's log error={error}")).ok()
}

fn flush_log(mut ready: AsyncFdReadyMutGuard<'_, EbpfLogger<&'static dyn log::Log>>) {
    ready.get_inner_mut().flush();
    ready.clear_ready();
}
