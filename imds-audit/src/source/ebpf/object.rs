//! The eBPF programs' object: its maps are made and its programs loaded.
//!
//! aya 0.14's own loader reads and parses the whole of the kernel's BTF first, whether an object
//! needs that or not (aya issue 1172; 0.15 no longer does, and wants a newer compiler than
//! Debian's). It was most of the time to start, and it loads one program after the other. So the
//! object is read, its maps are made and its calls are linked by aya-obj and aya, and only the
//! loading itself is done here.

use std::{
    collections::{HashMap, HashSet},
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    thread,
};

use aya::maps::{Map, MapData, MapError};
use aya_obj::{
    EbpfSectionKind, Function, ParseError,
    btf::BtfError,
    generated::{bpf_attach_type, bpf_map_type, bpf_prog_type},
    relocation::EbpfRelocationError,
};

use super::syscall::{self, Info, ProgLoad, Refused, Table};

/// A program of an object.
pub(crate) trait ProgramOf: Copy + Send + Sync + 'static {
    /// All of its object's programs, in the order in which they are loaded.
    const ALL: &'static [Self];

    /// Returns its name in the object and in the kernel.
    fn name(self) -> &'static str;

    /// Returns its type, and what it is attached to.
    fn kernel_types(self) -> (bpf_prog_type, bpf_attach_type);
}

/// Why the object cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It is no object, or a global is missing.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// Its BTF is malformed.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// A reference to a map or a function leads nowhere.
    #[error(transparent)]
    Relocation(#[from] EbpfRelocationError),
    /// The kernel refuses a map.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The kernel refuses the object's BTF, or the values of its globals.
    #[error("{what}: {error}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        #[source]
        error: io::Error,
    },
    /// It has no such program.
    #[error("the object has no program {0}")]
    Program(&'static str),
}

/// A program that can be loaded.
struct Code<P> {
    program: P,
    license: CString,
    function: Function,
    functions: Vec<u8>,
    lines: Vec<u8>,
}

/// The object, with its maps made.
pub(crate) struct Object<P> {
    maps: HashMap<String, Map>,
    code: Vec<Code<P>>,
    btf: Option<OwnedFd>,
}

impl<P: ProgramOf> Object<P> {
    /// Reads the object, sets its globals, and makes its maps; `sizes` are those of rings, in
    /// bytes, that differ from the object's own.
    ///
    /// # Errors
    /// Returns an error if the object is malformed, or the kernel refuses a map.
    pub(crate) fn prepare(
        data: &[u8],
        globals: &[(&str, &[u8])],
        sizes: &[(&str, u32)],
    ) -> Result<Self, ObjectError> {
        let mut object = aya_obj::Object::parse(data)?;
        object
            .patch_map_data(globals.iter().map(|&(name, value)| (name, (value, true))).collect())?;
        let features = aya::features();
        let btf = match features.btf().map(|known| object.fixup_and_sanitize_btf(known)) {
            Some(btf) => btf?.map(|btf| syscall::load_btf(&btf.to_bytes())).transpose(),
            None => Ok(None),
        };
        let btf = btf.map_err(|error| ObjectError::Call { what: "loading its BTF", error })?;

        let mut descriptions = Vec::new();
        let mut maps = HashMap::new();
        for (name, mut description) in object.maps.drain() {
            if description.map_type() == bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32 {
                let given = sizes.iter().find(|(ring, _)| *ring == name);
                let size = given.map_or(description.max_entries(), |&(_, size)| size);
                description.set_max_entries(ring_size(size));
                description.set_value_size(0);
            }
            let map = MapData::create(description.clone(), &name, btf.as_ref().map(AsFd::as_fd))?;
            if description.section_kind() == EbpfSectionKind::Rodata {
                syscall::fill_and_freeze(map.fd().as_fd(), description.data())
                    .map_err(|error| ObjectError::Call { what: "setting its globals", error })?;
            }
            descriptions.push((name.clone(), map.fd().as_fd().as_raw_fd(), description));
            maps.insert(name, Map::from_map_data(map)?);
        }

        let text: HashSet<usize> = object.functions.keys().map(|&(section, _)| section).collect();
        let named = descriptions.iter().map(|(name, fd, map)| (name.as_str(), *fd, map));
        object.relocate_maps(named, &text)?;
        object.relocate_calls(&text)?;
        object.sanitize_functions(features);
        let code = P::ALL.iter().map(|&program| code(&object, program));
        Ok(Self { maps, code: code.collect::<Result<_, _>>()?, btf })
    }

    /// Loads every program, all at once: the verifier works for each on a processor of its own.
    /// They come back in the order of [`ProgramOf::ALL`].
    pub(crate) fn load_each(&self) -> Vec<(P, Result<OwnedFd, Refused>)> {
        thread::scope(|scope| {
            let loading: Vec<_> = self
                .code
                .iter()
                .map(|code| {
                    let work = move || self.load(code);
                    (code, thread::Builder::new().spawn_scoped(scope, work).ok())
                })
                .collect();
            loading
                .into_iter()
                .map(|(code, thread)| {
                    // Where there can be no thread, or it died, it is done here.
                    let loaded = thread.and_then(|thread| thread.join().ok());
                    (code.program, loaded.unwrap_or_else(|| self.load(code)))
                })
                .collect()
        })
    }

    fn load(&self, code: &Code<P>) -> Result<OwnedFd, Refused> {
        let function = &code.function;
        let functions = Table { bytes: &code.functions, size: function.func_info_rec_size };
        let lines = Table { bytes: &code.lines, size: function.line_info_rec_size };
        let (kind, attach) = code.program.kernel_types();
        syscall::load(&ProgLoad {
            name: code.program.name(),
            kind,
            attach,
            license: &code.license,
            instructions: &function.instructions,
            btf: self.btf.as_ref().map(|btf| Info { btf: btf.as_fd(), functions, lines }),
        })
    }

    /// Hands out the maps. Programs keep theirs in the kernel by themselves.
    pub(crate) fn into_maps(self) -> HashMap<String, Map> {
        self.maps
    }
}

fn code<P: ProgramOf>(object: &aya_obj::Object, program: P) -> Result<Code<P>, ObjectError> {
    let missing = || ObjectError::Program(program.name());
    let found = object.programs.get(program.name()).ok_or_else(missing)?;
    let function = object.functions.get(&found.function_key()).ok_or_else(missing)?;
    Ok(Code {
        program,
        license: found.license.clone(),
        functions: function.func_info.func_info_bytes(),
        lines: function.line_info.line_info_bytes(),
        function: function.clone(),
    })
}

/// Returns the next size that the kernel takes for a ring: a power of two of pages. Zero stays
/// zero, which the kernel refuses.
fn ring_size(bytes: u32) -> u32 {
    let page = rustix::param::page_size() as u32;
    match bytes {
        0 => 0,
        _ => bytes.div_ceil(page).checked_next_power_of_two().map_or(0, |n| n.saturating_mul(page)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_a_power_of_two_of_pages() {
        let page = rustix::param::page_size() as u32;
        assert_eq!(ring_size(0), 0);
        assert_eq!(ring_size(1), page);
        assert_eq!(ring_size(page), page);
        assert_eq!(ring_size(2 * page + 1), 4 * page);
    }
}
