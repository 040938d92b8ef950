//! An object that is sound, and one for each way in which it is not.

use std::time::{Duration, SystemTime};

use ::object::elf::{R_BPF_64_32, SHF_ALLOC, SHF_EXECINSTR};
use ::object::write::{Object, Relocation, SectionId, Symbol, SymbolId, SymbolSection};
use ::object::{
    Architecture, BinaryFormat, RelocationFlags, SectionFlags, SectionKind, SymbolFlags,
    SymbolKind, SymbolScope,
};

use super::*;

/// `exit`.
const EXIT: [u8; INSTRUCTION] = [0x95, 0, 0, 0, 0, 0, 0, 0];
/// A call whose target is in a relocation.
const OPEN_CALL: [u8; INSTRUCTION] = [CALL, OWN_FUNCTION << 4, 0, 0, 0xff, 0xff, 0xff, 0xff];

/// What an object is made of; the default is sound.
struct Recipe {
    architecture: Architecture,
    programs: Vec<(&'static str, &'static str)>,
    maps: Vec<(&'static str, u32)>,
    globals: Vec<&'static str>,
    license: &'static [u8],
    btf: Vec<(&'static str, &'static [u8])>,
    /// Functions beside the programs.
    functions: Vec<&'static str>,
    /// What is called and is nowhere.
    undefined: Vec<&'static str>,
    /// Whether the call in `.text` has its relocation.
    is_call_resolved: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            architecture: Architecture::Bpf,
            programs: PROGRAMS.to_vec(),
            maps: MAPS.to_vec(),
            globals: GLOBALS.to_vec(),
            license: LICENSE,
            btf: vec![(".BTF", &BTF), (".BTF.ext", &BTF)],
            functions: vec!["memset"],
            undefined: Vec::new(),
            is_call_resolved: true,
        }
    }
}

impl Recipe {
    /// Returns what is wrong with the object.
    fn faults(&self) -> Vec<String> {
        faults(&self.write()).unwrap()
    }

    fn write(&self) -> Vec<u8> {
        let endian = ::object::Endianness::Little;
        let mut object = Object::new(BinaryFormat::Elf, self.architecture, endian);
        let add = |object: &mut Object<'_>, name: &str, kind, data: &[u8]| {
            let section = object.add_section(Vec::new(), name.into(), kind);
            if kind == SectionKind::Text {
                let sh_flags = u64::from(SHF_ALLOC | SHF_EXECINSTR);
                object.section_mut(section).flags = SectionFlags::Elf { sh_flags };
            }
            object.set_section_data(section, data.to_vec(), 8);
            section
        };
        for (name, function) in &self.programs {
            let section = add(&mut object, name, SectionKind::Text, &EXIT);
            symbol(&mut object, function, Some(section), 0);
        }
        let text = add(&mut object, FUNCTIONS, SectionKind::Text, &[OPEN_CALL, EXIT].concat());
        let mut called = None;
        for name in &self.functions {
            called = Some(symbol(&mut object, name, Some(text), 8));
        }
        for name in &self.undefined {
            called = Some(symbol(&mut object, name, None, 0));
        }
        if self.is_call_resolved {
            let flags = RelocationFlags::Elf { r_type: R_BPF_64_32 };
            let target = called.unwrap();
            let relocation = Relocation { offset: 0, symbol: target, addend: 0, flags };
            object.add_relocation(text, relocation).unwrap();
        }
        let mut definitions = Vec::new();
        for (_, kind) in &self.maps {
            definitions.extend_from_slice(&kind.to_le_bytes());
            definitions.extend_from_slice(&[0; 24]);
        }
        let maps = add(&mut object, MAP_SECTION, SectionKind::Data, &definitions);
        for (index, (name, _)) in self.maps.iter().enumerate() {
            symbol(&mut object, name, Some(maps), 28 * index as u64);
        }
        let globals = add(&mut object, ".rodata", SectionKind::ReadOnlyData, &[0; 64]);
        for name in &self.globals {
            symbol(&mut object, name, Some(globals), 0);
        }
        add(&mut object, "license", SectionKind::ReadOnlyData, self.license);
        for (name, data) in &self.btf {
            add(&mut object, name, SectionKind::Other, data);
        }
        object.write().unwrap()
    }
}

/// Adds a symbol: in a section, or nowhere.
fn symbol(object: &mut Object<'_>, name: &str, section: Option<SectionId>, value: u64) -> SymbolId {
    let (section, kind) = match section {
        Some(section) => (SymbolSection::Section(section), SymbolKind::Data),
        None => (SymbolSection::Undefined, SymbolKind::Unknown),
    };
    object.add_symbol(Symbol {
        name: name.into(),
        value,
        size: 8,
        kind,
        scope: SymbolScope::Dynamic,
        weak: false,
        section,
        flags: SymbolFlags::None,
    })
}

/// Asserts that an object has one fault, and that the fault is reported with these words.
#[track_caller]
fn has_fault(recipe: &Recipe, words: &str) {
    let faults = recipe.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].contains(words), "{faults:?}");
}

#[test]
fn a_sound_object_has_no_fault() {
    assert_eq!(Recipe::default().faults(), Vec::<String>::new());
}

#[test]
fn an_object_for_another_machine_is_found() {
    // Without the relocation, which is BPF's.
    let recipe = Recipe { architecture: Architecture::X86_64, ..Recipe::default() };
    let bytes = Recipe { is_call_resolved: false, ..recipe }.write();
    assert!(faults(&bytes).unwrap().iter().any(|fault| fault.contains("BPF")));
}

#[test]
fn a_missing_program_is_found() {
    for absent in 0..PROGRAMS.len() {
        let mut recipe = Recipe::default();
        let (section, _) = recipe.programs.remove(absent);
        has_fault(&recipe, &format!("in {section}"));
    }
}

#[test]
fn a_program_under_another_name_is_found() {
    let mut recipe = Recipe::default();
    recipe.programs[0].1 = "connect";
    has_fault(&recipe, "no program connect4");
}

#[test]
fn an_unknown_program_is_found_whatever_its_kind() {
    for section in ["cgroup/post_bind4", "kprobe/tcp_sendmsg"] {
        let mut recipe = Recipe::default();
        recipe.programs.push((section, "other"));
        has_fault(&recipe, &format!("an unknown program in {section}"));
    }
}

#[test]
fn a_missing_map_is_found() {
    for absent in 0..MAPS.len() {
        let mut recipe = Recipe::default();
        let (name, _) = recipe.maps.remove(absent);
        has_fault(&recipe, &format!("no map {name}"));
    }
}

#[test]
fn an_unknown_map_and_a_map_of_another_type_are_found() {
    let mut recipe = Recipe::default();
    recipe.maps.push(("SECRETS", LRU_HASH));
    has_fault(&recipe, "an unknown map SECRETS");
    let mut recipe = Recipe::default();
    recipe.maps[0].1 = PER_CPU_ARRAY;
    assert_eq!(recipe.faults().len(), 2, "{:?}", recipe.faults());
}

#[test]
fn a_missing_global_is_found() {
    for absent in 0..GLOBALS.len() {
        let mut recipe = Recipe::default();
        let name = recipe.globals.remove(absent);
        has_fault(&recipe, &format!("no global {name}"));
    }
}

#[test]
fn another_licence_is_found() {
    has_fault(&Recipe { license: b"MIT\0", ..Recipe::default() }, "licence");
}

#[test]
fn missing_type_information_is_found() {
    for absent in 0..2 {
        let mut recipe = Recipe::default();
        let (name, _) = recipe.btf.remove(absent);
        has_fault(&recipe, &format!("no type information in {name}"));
    }
    let mut recipe = Recipe::default();
    recipe.btf[0].1 = &[0x9f, 0xeb, 2];
    has_fault(&recipe, "no type information in .BTF");
}

#[test]
fn a_way_to_a_panic_is_found() {
    for name in [
        "_ZN4core9panicking18panic_bounds_check17h0123456789abcdefE",
        "rust_begin_unwind",
        "_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE",
    ] {
        let mut recipe = Recipe::default();
        recipe.functions.push(name);
        has_fault(&recipe, name);
    }
}

#[test]
fn an_unresolved_call_is_found() {
    has_fault(&Recipe { undefined: vec!["memcmp"], ..Recipe::default() }, "memcmp");
    has_fault(&Recipe { is_call_resolved: false, ..Recipe::default() }, ".text at 0");
}

#[test]
fn debug_sections_are_found_and_stripped_and_nothing_else_is() {
    let mut recipe = Recipe::default();
    recipe.btf.push((".debug_info", b"DWARF"));
    has_fault(&recipe, ".debug_info");
    let stripped = without_debug_sections(&recipe.write()).unwrap();
    assert_eq!(faults(&stripped).unwrap(), Vec::<String>::new());
}

#[test]
fn the_rehearsal_s_object_has_its_programs_and_no_way_to_a_panic() {
    let sound = || Recipe {
        programs: REHEARSAL.map(|name| ("cgroup/connect4", name)).to_vec(),
        maps: Vec::new(),
        globals: Vec::new(),
        ..Recipe::default()
    };
    let faults = |recipe: Recipe| rehearsal_faults(&recipe.write()).unwrap();
    assert_eq!(faults(sound()), Vec::<String>::new());
    let panics = Recipe { functions: vec!["core9panicking"], ..sound() };
    assert!(faults(panics).iter().any(|fault| fault.contains("panic")));
    let lacking = Recipe { programs: vec![("cgroup/connect4", "rehearse4")], ..sound() };
    assert_eq!(faults(lacking).len(), REHEARSAL.len() - 1);
}

#[test]
fn a_stripped_object_is_as_old_as_what_the_linker_wrote() {
    let path = std::env::temp_dir().join(format!("xtask-strip-{}", std::process::id()));
    fs::write(&path, Recipe::default().write()).unwrap();
    let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
    let stripped = strip(&path);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::remove_file(&path).unwrap();
    stripped.unwrap();
    assert_eq!(modified, written);
}
