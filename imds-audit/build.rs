//! Takes the kernel half's object in, when `cargo xtask build` has one.
//!
//! Without one the program still builds, so that `cargo check`, `clippy` and the unit tests need
//! no BPF toolchain; `cfg(kernel_half)` tells the two apart.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

/// The path of the object, set by `cargo xtask build`.
const OBJECT: &str = "IMDS_AUDIT_EBPF_OBJECT";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rustc-check-cfg=cfg(kernel_half)");
    println!("cargo::rustc-check-cfg=cfg(fuzzing)");
    println!("cargo::rerun-if-env-changed={OBJECT}");
    println!("cargo::rerun-if-changed=build.rs");
    let Some(object) = env::var_os(OBJECT).map(PathBuf::from) else { return Ok(()) };
    println!("cargo::rerun-if-changed={}", object.display());
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or("OUT_DIR is not set")?;
    fs::copy(&object, out.join("imds-audit-programs"))
        .map_err(|error| format!("{OBJECT}={}: {error}", object.display()))?;
    println!("cargo::rustc-cfg=kernel_half");
    Ok(())
}
