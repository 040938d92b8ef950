//! Tests of the walk over BTF: on types made for the purpose, and on the running kernel's,
//! against another implementation.

use btfparse::{Error, ErrorKind, Offset, Readable, TypeInformation};
use imds_audit_ebpf::ABSENT;
use proptest::prelude::*;

use super::*;

/// Builds a BTF type by type.
#[derive(Default)]
struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Builder {
    fn new() -> Self {
        Self { strings: vec![0], ..Self::default() }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let offset = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        offset
    }

    /// Adds a type and returns its number.
    fn add(
        &mut self,
        name: &str,
        kind: u32,
        vlen: u32,
        flag: bool,
        size: u32,
        tail: &[u32],
    ) -> u32 {
        let name = self.string(name);
        let info = kind << 24 | vlen | u32::from(flag) << 31;
        for word in [name, info, size].iter().chain(tail) {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
        self.count += 1;
        self.count
    }

    fn integer(&mut self) -> u32 {
        self.add("int", kind::INT, 0, false, 4, &[32])
    }

    /// Adds a structure of members: name, type, offset in bits.
    fn structure(&mut self, name: &str, members: &[(&str, u32, u32)]) -> u32 {
        self.compound(name, kind::STRUCT, false, members)
    }

    fn compound(&mut self, name: &str, kind: u32, flag: bool, members: &[(&str, u32, u32)]) -> u32 {
        let tail: Vec<u32> = members
            .iter()
            .flat_map(|&(member, id, bits)| [self.string(member), id, bits])
            .collect();
        self.add(name, kind, members.len() as u32, flag, 64, &tail)
    }

    fn build(&self) -> Vec<u8> {
        let mut data = Vec::new();
        data.extend_from_slice(&MAGIC.to_ne_bytes());
        data.extend_from_slice(&[1, 0]);
        let lengths = (self.types.len() as u32, self.strings.len() as u32);
        for word in [HEADER as u32, 0, lengths.0, lengths.0, lengths.1] {
            data.extend_from_slice(&word.to_ne_bytes());
        }
        data.extend_from_slice(&self.types);
        data.extend_from_slice(&self.strings);
        data
    }
}

fn offset(builder: &Builder, structure: &str, path: &str) -> Result<u32, MemberError> {
    Btf::parse(&builder.build(), &[structure]).unwrap().offset(structure, path)
}

#[test]
fn members_are_found_through_typedefs_and_anonymous_unions() {
    let mut b = Builder::new();
    let int = b.integer();
    let inner = b.structure("", &[("spare", int, 0), ("owned", int, 32)]);
    let named = b.add("lock_t", kind::TYPEDEF, 0, false, inner, &[]);
    let constant = b.add("", kind::CONST, 0, false, named, &[]);
    let union = b.compound("", kind::UNION, false, &[("lock", constant, 0), ("other", int, 0)]);
    b.structure("sock", &[("first", int, 0), ("", union, 64)]);
    assert_eq!(offset(&b, "sock", "lock.owned"), Ok(12));
    assert_eq!(offset(&b, "sock", "first"), Ok(0));
    assert_eq!(offset(&b, "sock", "lock.gone"), Err(MemberError::Member));
    assert_eq!(offset(&b, "sock", "first.deeper"), Err(MemberError::Member));
    assert_eq!(offset(&b, "socket", "first"), Err(MemberError::Structure));
}

#[test]
fn structures_of_one_name_must_agree() {
    let mut b = Builder::new();
    let int = b.integer();
    b.structure("task", &[("pid", int, 0), ("tgid", int, 32)]);
    b.structure("task", &[("pid", int, 0), ("tgid", int, 64)]);
    assert_eq!(offset(&b, "task", "pid"), Ok(0));
    assert_eq!(offset(&b, "task", "tgid"), Err(MemberError::Ambiguous));
}

#[test]
fn a_bit_field_has_no_offset_and_its_neighbour_has() {
    let mut b = Builder::new();
    let int = b.integer();
    b.compound("s", kind::STRUCT, true, &[("flag", int, 1 << 24 | 3), ("plain", int, 32)]);
    assert_eq!(offset(&b, "s", "flag"), Err(MemberError::Unaligned));
    assert_eq!(offset(&b, "s", "plain"), Ok(4));
}

#[test]
fn types_that_go_in_circles_end() {
    let mut b = Builder::new();
    // Type 1 is a typedef of itself; type 2 holds itself without a name.
    b.add("loop", kind::TYPEDEF, 0, false, 1, &[]);
    b.structure("s", &[("", 2, 0), ("x", 1, 0)]);
    assert_eq!(offset(&b, "s", "x.y"), Err(MemberError::Member));
    assert_eq!(offset(&b, "s", "z"), Err(MemberError::Member));
}

#[test]
fn what_is_no_btf_says_why() {
    assert_eq!(Btf::parse(b"", &[]).err(), Some(BtfError::Magic));
    assert_eq!(Btf::parse(b"\x7fELF", &[]).err(), Some(BtfError::Magic));
    let mut b = Builder::new();
    b.integer();
    let whole = b.build();
    let cut = whole.get(..whole.len() - 1).unwrap();
    assert_eq!(Btf::parse(cut, &[]).err(), Some(BtfError::Bounds("the string section")));
    b.add("new", 31, 0, false, 0, &[]);
    assert_eq!(Btf::parse(&b.build(), &[]).err(), Some(BtfError::Kind { id: 2, kind: 31 }));
}

#[test]
fn an_absent_member_is_told_and_the_others_are_found() {
    let mut b = Builder::new();
    let int = b.integer();
    b.structure("task_struct", &[("pid", int, 8 * 20)]);
    let resolved = resolve(&b.build()).unwrap();
    assert_eq!(resolved.offsets.task_struct_pid, 20);
    assert_eq!(resolved.offsets.task_struct_tgid, ABSENT);
    let missing: Vec<&str> = resolved.missing.iter().map(|(name, _)| name.as_str()).collect();
    assert!(missing.contains(&"task_struct.tgid") && !missing.contains(&"task_struct.pid"));
    assert_eq!(missing.len(), MEMBERS.len());
}

/// A BTF in memory, for the other implementation.
struct Memory<'a>(&'a [u8]);

impl Readable for Memory<'_> {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let start = offset as usize;
        let bytes = self.0.get(start..start + buffer.len());
        buffer.copy_from_slice(bytes.ok_or_else(|| Error::new(ErrorKind::IOError, "the end"))?);
        Ok(())
    }
}

#[test]
fn the_running_kernels_offsets_are_those_of_another_implementation() {
    let path = std::path::Path::new(crate::source::ebpf::vmlinux::VMLINUX_BTF);
    let Ok(data) = crate::source::ebpf::vmlinux::KernelBtf::open(path) else {
        assert!(std::env::var_os("CI").is_none(), "this kernel has no BTF to compare with");
        eprintln!("SKIPPED: this kernel has no BTF to compare with");
        return;
    };
    let mut resolved = resolve(&data).unwrap();
    let other = TypeInformation::new(&Memory(&data)).unwrap();
    let mut compared = 0;
    for wanted in MEMBERS {
        let ours = *(wanted.place)(&mut resolved.offsets);
        if ours == ABSENT {
            continue;
        }
        let id = other.id_of(wanted.structure).unwrap();
        let (_, theirs) = other.offset_of(id, wanted.path).unwrap();
        assert_eq!(theirs, Offset::ByteOffset(ours), "{}.{}", wanted.structure, wanted.path);
        compared += 1;
    }
    assert_eq!(compared + resolved.missing.len(), MEMBERS.len());
    assert!(compared > 0);
}

proptest! {
    #[test]
    fn damaged_btf_never_panics(
        at in 0usize..400,
        byte: u8,
        cut in 0usize..400,
    ) {
        let mut b = Builder::new();
        let int = b.integer();
        let union = b.compound("", kind::UNION, true, &[("a", int, 0), ("b", int, 8)]);
        b.add("proto", kind::FUNC_PROTO, 2, false, int, &[0, int, 0, int]);
        b.add("array", kind::ARRAY, 0, false, 0, &[int, int, 4]);
        b.add("data", kind::DATASEC, 1, false, 4, &[int, 0, 4]);
        b.structure("task_struct", &[("tgid", int, 0), ("", union, 64)]);
        let mut data = b.build();
        let length = data.len();
        if let Some(place) = data.get_mut(at % length) {
            *place = byte;
        }
        data.truncate(length.saturating_sub(cut % 7));
        if let Ok(btf) = Btf::parse(&data, &["task_struct"]) {
            let _ = btf.offset("task_struct", "tgid");
            let _ = btf.offset("task_struct", "b.c");
            let _ = btf.size("task_struct");
        }
        let _ = resolve(&data);
    }
}
