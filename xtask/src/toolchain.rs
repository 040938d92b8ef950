//! The one place that decides which compiler and which linker build the eBPF programs.
//!
//! `core` is built from source for the bpf target, so three things must match: a rustc, its own
//! library's source, and a bpf-linker on an LLVM at least as new as that rustc's. `xtask/bpf-toolchain.toml`
//! pins the pair. The compiler is a rustup toolchain of the pinned release that has the component
//! `rust-src`, else the one in Debian's packages.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::command;
use crate::elf;
use crate::workspace::Workspace;

/// The target of the eBPF programs.
pub const BPF_TARGET: &str = "bpfel-unknown-none";

/// What `xtask/bpf-toolchain.toml` says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// The compiler.
    pub compiler: CompilerPin,
    /// The linker.
    pub linker: LinkerPin,
    /// Debian's packages of both.
    pub debian: DebianPackages,
}

/// The pinned compiler.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompilerPin {
    /// The release of rustc.
    pub release: String,
}

/// The pinned linker.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkerPin {
    /// The release of bpf-linker.
    pub version: String,
    /// The major version of its LLVM.
    pub llvm: u32,
    /// The instruction set of the programs.
    pub cpu: String,
}

/// Debian's packages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebianPackages {
    /// A compiler with its library's source and its cargo.
    pub compiler: Vec<String>,
    /// That compiler's clippy.
    pub clippy: Vec<String>,
    /// What building bpf-linker needs.
    pub linker: Vec<String>,
    /// The compiler's library, which Debian has for each architecture.
    pub library: String,
}

impl Pins {
    /// Reads `xtask/bpf-toolchain.toml`.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join("xtask/bpf-toolchain.toml");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }
}

/// A compiler that can build the eBPF programs.
pub struct Compiler {
    /// The folder of rustc, cargo and clippy.
    bin: PathBuf,
    /// Where it came from: a rustup toolchain's name, or none for Debian's packages.
    rustup: Option<String>,
    /// Its release.
    release: String,
    /// The version of its LLVM.
    llvm: String,
}

impl Compiler {
    /// Finds the compiler to use.
    ///
    /// # Errors
    ///
    /// Returns an error if there is none that matches: the error says what is wrong with the
    /// nearest one.
    pub fn find(pins: &Pins) -> Result<Self> {
        for (name, sysroot) in rustup_toolchains() {
            // Cheap, and nearly always the end of it: few toolchains have the component.
            if !has_library_source(&sysroot) {
                continue;
            }
            let compiler = Self::inspect(&sysroot.join("bin"), Some(name))?;
            if compiler.release == pins.compiler.release && compiler.suits(pins).is_ok() {
                return Ok(compiler);
            }
        }
        let compiler = Self::debians(pins)?;
        if !has_library_source(Path::new("/usr")) {
            bail!("/usr/bin/rustc has no library source: the package rust-web-src is missing");
        }
        if !compiler.bin.join("cargo").exists() {
            bail!("/usr/bin/rustc has no cargo beside it: the package cargo-web is missing");
        }
        Ok(compiler)
    }

    /// Finds the compiler of Debian's packages, with its library's source or without.
    pub fn debians(pins: &Pins) -> Result<Self> {
        let compiler = Self::inspect(Path::new("/usr/bin"), None)?;
        compiler.suits(pins)?;
        Ok(compiler)
    }

    /// Returns its own cargo, with nothing in the environment that names another compiler.
    pub fn cargo(&self) -> Command {
        self.command(&self.bin.join("cargo"))
    }

    /// Returns a command with this compiler, and its own cargo, in the environment.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        clean(&mut command)
            .env("CARGO", self.bin.join("cargo"))
            .env("RUSTC", self.bin.join("rustc"));
        command
    }

    /// Reads the versions of the rustc in a folder.
    fn inspect(bin: &Path, rustup: Option<String>) -> Result<Self> {
        let text = command::output(clean(&mut Command::new(bin.join("rustc"))).arg("-vV"))?;
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(str::to_owned)
                .ok_or_else(|| anyhow!("{}/rustc -vV tells no {name}", bin.display()))
        };
        let (release, llvm) = (field("release")?, field("LLVM version")?);
        Ok(Self { bin: bin.to_path_buf(), rustup, release, llvm })
    }

    /// Tells whether the compiler is new enough, and the linker new enough for it.
    fn suits(&self, pins: &Pins) -> Result<()> {
        let rustc = self.bin.join("rustc");
        if numbers(&self.release) < numbers(&pins.compiler.release) {
            bail!("{} is {}, older than {}", rustc.display(), self.release, pins.compiler.release);
        }
        if numbers(&self.llvm).first() > Some(&pins.linker.llvm) {
            bail!(
                "{} has LLVM {}, and bpf-linker is pinned on LLVM {}: pin a newer linker, or take an older compiler",
                rustc.display(),
                self.llvm,
                pins.linker.llvm
            );
        }
        Ok(())
    }

    /// Tells whether it came from Debian's packages.
    pub fn is_debian(&self) -> bool {
        self.rustup.is_none()
    }

    /// Returns the path of its clippy.
    pub fn clippy(&self) -> PathBuf {
        self.bin.join("cargo-clippy")
    }

    /// Tells whether its clippy is there.
    pub fn has_clippy(&self) -> bool {
        self.clippy().exists() && self.bin.join("clippy-driver").exists()
    }
}

/// A bpf-linker of the pinned version on the pinned LLVM.
pub struct Linker {
    /// Its path.
    path: PathBuf,
    /// What it says of itself.
    version: String,
    /// The LLVM library that it loads.
    library: String,
}

impl Linker {
    /// Finds the pinned linker in the project's own folder or on the path.
    pub fn find(pins: &Pins, tools: &Path) -> Option<Self> {
        let own = tools.join("bin/bpf-linker");
        [Some(own), command::find("bpf-linker")]
            .into_iter()
            .flatten()
            .find_map(|path| Self::inspect(path, pins))
    }

    /// Returns the linker at a path if it is the pinned one and runs.
    ///
    /// One with an LLVM inside does not tell which, and so does not count.
    fn inspect(path: PathBuf, pins: &Pins) -> Option<Self> {
        let version = command::output(Command::new(&path).arg("--version")).ok()?.trim().to_owned();
        if version != format!("bpf-linker {}", pins.linker.version) {
            return None;
        }
        let prefix = format!("libLLVM.so.{}.", pins.linker.llvm);
        let library =
            elf::needs(&path).ok()?.libraries.into_iter().find(|name| name.starts_with(&prefix))?;
        Some(Self { path, version, library })
    }
}

/// The pair.
pub struct Toolchain {
    compiler: Compiler,
    linker: Linker,
    cpu: String,
}

impl Toolchain {
    /// Joins a compiler and a linker found by the same pins.
    pub fn new(compiler: Compiler, linker: Linker, pins: Pins) -> Self {
        Self { compiler, linker, cpu: pins.linker.cpu }
    }

    /// Returns a `cargo SUBCOMMAND` on the eBPF programs' programs.
    pub fn cargo(&self, subcommand: &str, workspace: &Workspace, target: &Path) -> Command {
        // Each compiler with its own cargo: -Zbuild-std knows one release of the library. Clippy
        // is called itself, as cargo would look for it on the path and find the userspace side's.
        let program = if subcommand == "clippy" {
            self.compiler.clippy()
        } else {
            self.compiler.bin.join("cargo")
        };
        // The instruction set by -Ctarget-cpu: rustc hands it on to the linker, which takes one only.
        let mut flags = vec![
            "-Cdebuginfo=2".to_owned(),
            format!("-Clinker={}", self.linker.path.display()),
            "-Clink-arg=--btf".to_owned(),
            // With the order kept LLVM calls memset for every array of zeroes, and the verifier
            // follows its loop byte by byte: four fifths of all that it looked at.
            "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
            format!("-Ctarget-cpu={}", self.cpu),
        ];
        flags.extend(workspace.path_remapping());
        let mut command = self.compiler.command(&program);
        command
            .current_dir(&workspace.root)
            .args([subcommand, "--release", "--locked", "-Zbuild-std=core", "--target", BPF_TARGET])
            .args(["-p", "imds-audit-ebpf", "--bins"])
            .args(["--features", "programs", "--target-dir"])
            .arg(target)
            // Incremental builds split the crate into codegen units, which changes the inlining:
            // the verifier then refuses `egress` for its stack.
            .env("CARGO_INCREMENTAL", "0")
            // Unstable options on a stable compiler: build-std, and the target's own features.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        command
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compiler, linker, cpu } = self;
        let origin = compiler.rustup.as_deref().unwrap_or("Debian's packages");
        writeln!(
            formatter,
            "eBPF programs rustc {} (LLVM {}) from {origin}, instruction set {cpu}",
            compiler.release, compiler.llvm
        )?;
        writeln!(
            formatter,
            "linker          {} ({}) at {}",
            linker.version,
            linker.library,
            linker.path.display()
        )
    }
}

/// Takes out of a command's environment what would name another compiler or other options: cargo
/// and rustup put some of it there for this program.
fn clean(command: &mut Command) -> &mut Command {
    const NAMES: [&str; 12] = [
        "CARGO_BUILD_RUSTC",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_ENCODED_RUSTFLAGS",
        "CLIPPY_ARGS",
        "LD_LIBRARY_PATH",
        "RUSTC",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "RUSTDOC",
    ];
    for name in NAMES {
        command.env_remove(name);
    }
    command
}

/// Returns the name and folder of each installed rustup toolchain; none where rustup is not.
fn rustup_toolchains() -> Vec<(String, PathBuf)> {
    let list = command::output(Command::new("rustup").args(["toolchain", "list", "-v"]));
    list.unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(char::is_whitespace)?;
            let folder = rest.find('/').and_then(|start| rest.get(start..))?;
            Some((name.to_owned(), PathBuf::from(folder.trim())))
        })
        .collect()
}

/// Tells whether a compiler's folder holds its library's source.
fn has_library_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").exists()
}

/// Returns the numbers of a version, up to the first part that is none.
fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(release: &str, llvm: &str) -> Compiler {
        Compiler {
            bin: PathBuf::from("/usr/bin"),
            rustup: None,
            release: release.to_owned(),
            llvm: llvm.to_owned(),
        }
    }

    fn pins() -> Pins {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut pins = Pins::read(root).unwrap();
        pins.compiler.release = "1.96.0".to_owned();
        pins.linker.llvm = 22;
        pins
    }

    #[test]
    fn a_compiler_of_the_pinned_release_suits() {
        compiler("1.96.0", "22.1.8").suits(&pins()).unwrap();
    }

    #[test]
    fn a_newer_compiler_on_the_linkers_llvm_suits() {
        compiler("1.100.0", "22.1.8").suits(&pins()).unwrap();
    }

    #[test]
    fn an_older_compiler_is_named_as_what_is_wrong() {
        let error = compiler("1.85.0", "19.1.7").suits(&pins()).unwrap_err().to_string();
        assert!(error.contains("1.85.0, older than 1.96.0"), "{error}");
    }

    #[test]
    fn a_compiler_on_a_newer_llvm_than_the_linkers_is_refused() {
        let error = compiler("1.98.0", "23.1.0").suits(&pins()).unwrap_err().to_string();
        assert!(error.contains("LLVM 23.1.0"), "{error}");
    }
}
