//! Source of the records that a run takes in: the eBPF programs, or packets.

use std::{io, sync::Arc};

use crate::event::{Fallback, SourceKind};
use crate::process::Roots;
use crate::snapshot::BegunPrograms;
use crate::source::ebpf::{
    loader::{EbpfError, Options},
    ring_reader::RingReader,
};

use super::packet_input::PacketInput;

/// Which source is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SourceChoice {
    /// eBPF programs where the host allows them, else a packet socket.
    #[default]
    Auto,
    /// eBPF programs.
    Ebpf,
    /// A packet socket.
    Packet,
}

/// An open source.
pub(super) enum Input {
    Ebpf(Box<RingReader>),
    Packet(Box<PacketInput>),
}

impl Input {
    /// Opens a source. Returns it with what was done without on the way.
    ///
    /// # Errors
    /// Returns an error if the host allows no source that is wanted.
    pub(super) fn open(
        choice: SourceChoice,
        options: &Options,
        roots: &Roots,
    ) -> anyhow::Result<(Self, Vec<Fallback>)> {
        let packet =
            || PacketInput::open(options, roots).map(|input| Self::Packet(Box::new(input)));
        let ebpf = || RingReader::start(options).map(|source| Self::Ebpf(Box::new(source)));
        let refusal = match choice {
            SourceChoice::Packet => return Ok((packet()?, Vec::new())),
            SourceChoice::Ebpf => return Ok((ebpf()?, Vec::new())),
            SourceChoice::Auto => match ebpf() {
                Ok(input) => return Ok((input, Vec::new())),
                Err(error @ EbpfError::TooManyEndpoints(_)) => return Err(error.into()),
                Err(error) => error,
            },
        };
        match packet() {
            Ok(input) => Ok((
                input,
                vec![Fallback {
                    name: "no-ebpf".to_owned(),
                    reason: refusal.to_string(),
                    consequence:
                        "a packet socket takes the place of the eBPF programs: the process \
                                  is the owner of the connection's socket, and one that ends \
                                  quickly may not be named"
                            .to_owned(),
                }],
            )),
            Err(error) => Err(anyhow::Error::from(refusal)
                .context(format!("the packet source cannot be used either: {error}"))),
        }
    }

    /// Returns what kind of source it is.
    pub(super) fn kind(&self) -> SourceKind {
        match self {
            Self::Ebpf(_) => SourceKind::Ebpf,
            Self::Packet(_) => SourceKind::Packet,
        }
    }

    /// Returns what was attached, by name.
    pub(super) fn programs(&self) -> Vec<String> {
        match self {
            Self::Ebpf(source) => {
                source.programs().map(|program| program.name().to_owned()).collect()
            }
            Self::Packet(_) => vec!["packet-socket".to_owned()],
        }
    }

    /// Returns where the programs are found that processes began, if the source keeps them.
    pub(super) fn begun_programs(&self) -> Option<Arc<dyn BegunPrograms>> {
        match self {
            Self::Ebpf(source) => source.begun_programs(),
            Self::Packet(_) => None,
        }
    }

    /// Waits until there is something to take.
    pub(super) async fn wait(&mut self) -> io::Result<()> {
        match self {
            Self::Ebpf(source) => source.wait().await,
            Self::Packet(input) => input.wait().await,
        }
    }

    /// Returns whether the kernel lets the loss counters be read with the rights held now.
    pub(super) fn can_read_losses(&self) -> bool {
        match self {
            Self::Ebpf(source) => source.can_read_losses(),
            Self::Packet(_) => true,
        }
    }
}
