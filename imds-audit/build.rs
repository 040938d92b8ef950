//! Takes the eBPF objects in, when `cargo xtask build` has them.
//!
//! Without them the program still builds, with an empty file for each, so that `cargo check`,
//! `clippy` and the unit tests need no BPF toolchain.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::{env, fs};

use flate2::{Compression, write::ZlibEncoder};

/// The variable with the path of the audit's object; the others lie beside it.
const OBJECT: &str = "IMDS_AUDIT_EBPF_OBJECT";
/// The file names of the objects.
const OBJECTS: [&str; 2] = ["imds-audit-programs", "imds-audit-rehearsal"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rustc-check-cfg=cfg(fuzzing)");
    println!("cargo::rerun-if-env-changed={OBJECT}");
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or("OUT_DIR is not set")?;
    let object = env::var_os(OBJECT).map(PathBuf::from);
    if let Some(object) = object.as_ref().filter(|object| !object.exists()) {
        return Err(format!("{OBJECT}={}: no such file", object.display()).into());
    }
    for name in OBJECTS {
        let path = object.as_ref().map(|object| object.with_file_name(name));
        let bytes = match path {
            Some(path) => {
                println!("cargo::rerun-if-changed={}", path.display());
                if path.exists() { deflate(&fs::read(&path)?)? } else { Vec::new() }
            }
            None => Vec::new(),
        };
        fs::write(out.join(name), bytes)?;
    }
    Ok(())
}

/// Compresses an object, which is inflated when it is loaded: a quarter of its size in the program.
fn deflate(object: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(object)?;
    encoder.finish()
}
