//! Finds the offsets of kernel structure members in the running kernel's BTF.
//!
//! The BTF of a kernel describes about 150 000 types in five megabytes. Only the few structures
//! that are asked for, and what their members lead through, are looked at: everything else is
//! stepped over by its size.
//!
//! The format is described in the kernel's `Documentation/bpf/btf.rst`.

use std::collections::HashMap;

use imds_audit_ebpf::{ABSENT, Offsets};

/// Why a BTF could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum BtfError {
    /// It does not begin with BTF's magic number in this host's byte order.
    #[error("not BTF: no magic number at its start")]
    Magic,
    /// A part lies outside of it.
    #[error("malformed BTF: {0} lies outside of it")]
    Bounds(&'static str),
    /// It has a kind of type that did not exist when this program was written, whose size is
    /// not known.
    #[error("BTF type {id} is of the unknown kind {kind}")]
    Kind {
        /// The type's number.
        id: u32,
        /// Its kind.
        kind: u32,
    },
}

/// Why a member has no offset.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub(crate) enum MemberError {
    /// The kernel has no such structure.
    #[error("the kernel has no such structure")]
    Structure,
    /// The structure has no such member.
    #[error("the structure has no such member")]
    Member,
    /// The kernel has several structures of the name, which differ in this member.
    #[error("several structures of this name disagree")]
    Ambiguous,
    /// The member is a bit field, or its offset is too large.
    #[error("the member lies at no whole byte")]
    Unaligned,
}

const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;
/// How deep anonymous members, typedefs and qualifiers are followed. The kernel's own nesting
/// is below ten; a malformed BTF could go in circles.
const MAX_DEPTH: u32 = 32;
/// How many structures are looked into for one member. A structure with two anonymous members of
/// its own type would else be looked into 2^32 times; the kernel's have a few dozen.
const MAX_STRUCTURES: u32 = 4096;

/// The kinds of types that are looked into, from `include/uapi/linux/btf.h`.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// A type's head: twelve bytes.
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    /// The number of members, elements or arguments.
    count: u32,
    /// Whether members carry a bit field's size in their offset.
    has_bit_fields: bool,
    /// The size, or the type that this one leads to.
    size_or_type: u32,
    /// Where its members begin.
    members: usize,
}

/// A BTF in memory, with the structures of the wanted names found.
pub(crate) struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins in `types`; type 0 is `void` and has no place.
    places: Vec<u32>,
    /// The structures by name. A name may stand for several.
    structures: HashMap<&'a str, Vec<u32>>,
}

impl<'a> Btf<'a> {
    /// Reads a BTF and finds the structures of the given names.
    ///
    /// # Errors
    /// Returns an error if the bytes are no BTF in this host's byte order, or a part lies outside
    /// of them.
    pub(crate) fn parse(data: &'a [u8], wanted: &[&str]) -> Result<Self, BtfError> {
        let magic = data.get(..2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
        if magic != Some(MAGIC) {
            return Err(BtfError::Magic);
        }
        let word = |at: usize| read_u32(data, at).ok_or(BtfError::Bounds("the header"));
        let header = word(4)? as usize;
        let section = |offset: u32, length: u32, what| {
            let start = header.checked_add(offset as usize).ok_or(BtfError::Bounds(what))?;
            let end = start.checked_add(length as usize).ok_or(BtfError::Bounds(what))?;
            data.get(start..end).ok_or(BtfError::Bounds(what))
        };
        if header < HEADER {
            return Err(BtfError::Bounds("the header"));
        }
        let types = section(word(8)?, word(12)?, "the type section")?;
        let strings = section(word(16)?, word(20)?, "the string section")?;
        let mut btf = Self { types, strings, places: vec![0], structures: HashMap::new() };
        btf.index(wanted)?;
        Ok(btf)
    }

    /// Walks over all types once.
    fn index(&mut self, wanted: &[&str]) -> Result<(), BtfError> {
        self.places.reserve(self.types.len() / 32);
        let mut place = 0;
        while place < self.types.len() {
            let id = self.places.len() as u32;
            let head = self.head(place).ok_or(BtfError::Bounds("a type"))?;
            if head.kind == kind::STRUCT {
                let name = self.string(head.name).unwrap_or("");
                if wanted.contains(&name) {
                    self.structures.entry(name).or_default().push(id);
                }
            }
            self.places.push(place as u32);
            let tail = tail_size(&head).ok_or(BtfError::Kind { id, kind: head.kind })?;
            place = head.members.checked_add(tail).ok_or(BtfError::Bounds("a type"))?;
            if place > self.types.len() {
                return Err(BtfError::Bounds("a type"));
            }
        }
        Ok(())
    }

    fn head(&self, place: usize) -> Option<Type> {
        let info = read_u32(self.types, place.checked_add(4)?)?;
        Some(Type {
            name: read_u32(self.types, place)?,
            kind: (info >> 24) & 0x1f,
            count: info & 0xffff,
            has_bit_fields: info >> 31 == 1,
            size_or_type: read_u32(self.types, place.checked_add(8)?)?,
            members: place.checked_add(12)?,
        })
    }

    fn type_of(&self, id: u32) -> Option<Type> {
        if id == 0 {
            return None;
        }
        self.head(*self.places.get(id as usize)? as usize)
    }

    fn string(&self, offset: u32) -> Option<&'a str> {
        let rest = self.strings.get(offset as usize..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(rest.get(..end)?).ok()
    }

    /// Returns the byte offset of a member, by the path of members that leads to it.
    ///
    /// # Errors
    /// Returns an error if the structure or the member does not exist, or structures of one name
    /// disagree.
    pub(crate) fn offset(&self, structure: &str, path: &str) -> Result<u32, MemberError> {
        self.agreed(structure, |id| {
            let mut at = id;
            let mut bits = 0u32;
            for member in path.split('.') {
                let mut left = MAX_STRUCTURES;
                let (offset, next) = self.member(at, member, MAX_DEPTH, &mut left)?;
                bits = bits.checked_add(offset).ok_or(MemberError::Unaligned)?;
                at = next;
            }
            if bits.is_multiple_of(8) { Ok(bits / 8) } else { Err(MemberError::Unaligned) }
        })
    }

    /// Returns the size of a structure in bytes.
    ///
    /// # Errors
    /// Returns an error if it does not exist, or structures of one name disagree.
    pub(crate) fn size(&self, structure: &str) -> Result<u32, MemberError> {
        self.agreed(structure, |id| {
            Ok(self.type_of(id).ok_or(MemberError::Structure)?.size_or_type)
        })
    }

    /// Asks every structure of a name, and wants one answer.
    fn agreed(
        &self,
        structure: &str,
        ask: impl Fn(u32) -> Result<u32, MemberError>,
    ) -> Result<u32, MemberError> {
        let ids = self.structures.get(structure).ok_or(MemberError::Structure)?;
        let mut answers = ids.iter().map(|&id| ask(id));
        let first = answers.next().ok_or(MemberError::Structure)?;
        if answers.any(|answer| answer != first) {
            return Err(MemberError::Ambiguous);
        }
        first
    }

    /// Finds a member, also inside anonymous ones. Returns its offset in bits and its type.
    ///
    /// It goes `depth` levels down and into as many structures as are `left`.
    fn member(
        &self,
        id: u32,
        wanted: &str,
        depth: u32,
        left: &mut u32,
    ) -> Result<(u32, u32), MemberError> {
        *left = left.checked_sub(1).ok_or(MemberError::Member)?;
        let structure = self.resolve(id).ok_or(MemberError::Member)?;
        if depth == 0 || !matches!(structure.kind, kind::STRUCT | kind::UNION) {
            return Err(MemberError::Member);
        }
        for index in 0..structure.count {
            let place = structure.members + index as usize * 12;
            let (Some(name), Some(member_type), Some(raw)) = (
                read_u32(self.types, place),
                read_u32(self.types, place + 4),
                read_u32(self.types, place + 8),
            ) else {
                return Err(MemberError::Member);
            };
            let (offset, bit_field) =
                if structure.has_bit_fields { (raw & 0x00ff_ffff, raw >> 24) } else { (raw, 0) };
            if name == 0 {
                if let Ok((inner, found)) = self.member(member_type, wanted, depth - 1, left) {
                    let offset = offset.checked_add(inner).ok_or(MemberError::Unaligned)?;
                    return Ok((offset, found));
                }
            } else if self.string(name) == Some(wanted) {
                if bit_field != 0 {
                    return Err(MemberError::Unaligned);
                }
                return Ok((offset, member_type));
            }
        }
        Err(MemberError::Member)
    }

    /// Follows typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<Type> {
        for _ in 0..MAX_DEPTH {
            let found = self.type_of(id)?;
            match found.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = found.size_or_type
                }
                _ => return Some(found),
            }
        }
        None
    }
}

/// Returns how many bytes follow a type's head; `None` for an unknown kind.
fn tail_size(head: &Type) -> Option<usize> {
    let count = head.count as usize;
    Some(match head.kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => count * 12,
        kind::ENUM | kind::FUNC_PROTO => count * 8,
        kind::PTR
        | kind::FWD
        | kind::TYPEDEF
        | kind::VOLATILE
        | kind::CONST
        | kind::RESTRICT
        | kind::FUNC
        | kind::FLOAT
        | kind::TYPE_TAG => 0,
        _ => return None,
    })
}

fn read_u32(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// A member that the eBPF programs read: its structure, the path to it, and where its offset goes.
struct MemberQuery {
    structure: &'static str,
    path: &'static str,
    place: fn(&mut Offsets) -> &mut u32,
}

macro_rules! wanted {
    ($($structure:literal $path:literal => $field:ident),* $(,)?) => {
        &[$(MemberQuery { structure: $structure, path: $path, place: |offsets| &mut offsets.$field }),*]
    };
}

const MEMBERS: &[MemberQuery] = wanted![
    "task_struct" "tgid" => task_struct_tgid,
    "task_struct" "pid" => task_struct_pid,
    "task_struct" "flags" => task_struct_flags,
    "task_struct" "group_leader" => task_struct_group_leader,
    "task_struct" "real_parent" => task_struct_real_parent,
    "task_struct" "start_boottime" => task_struct_start_boottime,
    "task_struct" "self_exec_id" => task_struct_self_exec_id,
    "task_struct" "comm" => task_struct_comm,
    "task_struct" "mm" => task_struct_mm,
    "task_struct" "cred" => task_struct_cred,
    "task_struct" "cgroups" => task_struct_cgroups,
    "task_struct" "thread_pid" => task_struct_thread_pid,
    "mm_struct" "arg_start" => mm_struct_arg_start,
    "mm_struct" "arg_end" => mm_struct_arg_end,
    "mm_struct" "exe_file" => mm_struct_exe_file,
    "file" "f_path.dentry" => file_f_path_dentry,
    "dentry" "d_name.name" => dentry_d_name_name,
    "cred" "uid.val" => cred_uid,
    "cred" "gid.val" => cred_gid,
    "css_set" "dfl_cgrp" => css_set_dfl_cgrp,
    "cgroup" "kn" => cgroup_kn,
    "kernfs_node" "id" => kernfs_node_id,
    "pid" "level" => pid_level,
    "pid" "numbers" => pid_numbers,
    "upid" "nr" => upid_nr,
    "sock" "sk_lock.owned" => sock_sk_lock_owned,
    "sock_common" "skc_net.net" => sock_common_skc_net,
    "net" "ns.inum" => net_ns_inum,
    "sk_buff" "head" => sk_buff_head,
    "sk_buff" "end" => sk_buff_end,
    "skb_shared_info" "flags" => skb_shared_info_flags,
    "skb_shared_info" "tx_flags" => skb_shared_info_tx_flags,
];

/// The offsets that the running kernel has, and what it lacks.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The offsets; [`imds_audit_ebpf::ABSENT`] where there is none.
    pub offsets: Offsets,
    /// Each member that was not found (`structure.path`), and why.
    pub missing: Vec<(String, MemberError)>,
}

/// Finds every offset that the eBPF programs use.
///
/// # Errors
/// Returns an error if the bytes are no BTF. A member that is missing is no error: it is in the
/// answer.
pub(crate) fn resolve(data: &[u8]) -> Result<Resolved, BtfError> {
    let mut names: Vec<&str> = MEMBERS.iter().map(|wanted| wanted.structure).collect();
    names.dedup();
    let btf = Btf::parse(data, &names)?;
    let mut resolved = Resolved { offsets: Offsets::NONE, missing: Vec::new() };
    for wanted in MEMBERS {
        match btf.offset(wanted.structure, wanted.path) {
            Ok(offset) => *(wanted.place)(&mut resolved.offsets) = offset,
            Err(why) => {
                resolved.missing.push((format!("{}.{}", wanted.structure, wanted.path), why));
            }
        }
    }
    // Before Linux 5.13 the other one has these flags.
    let has = |offset: u32| offset != ABSENT;
    if has(resolved.offsets.skb_shared_info_flags) || has(resolved.offsets.skb_shared_info_tx_flags)
    {
        resolved.missing.retain(|(member, _)| !member.starts_with("skb_shared_info."));
    }
    match btf.size("upid") {
        Ok(size) => resolved.offsets.upid_size = size,
        Err(why) => resolved.missing.push(("upid".to_owned(), why)),
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests;
