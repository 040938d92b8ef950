//! The processor architectures that are supported, and what each is called by whom.

/// The target of the userspace side where none is given.
#[cfg(target_arch = "x86_64")]
pub const HOST_TARGET: &str = "x86_64-unknown-linux-gnu";
/// The target of the userspace side where none is given.
#[cfg(target_arch = "aarch64")]
pub const HOST_TARGET: &str = "aarch64-unknown-linux-gnu";

/// An architecture.
#[derive(Debug, PartialEq, Eq)]
pub struct Architecture {
    /// Rust's name, and the emulator's.
    pub name: &'static str,
    /// Debian's name.
    pub debian: &'static str,
    /// The number in the header of an ELF file.
    pub elf: u16,
    /// Debian's packages with a linker and a C library for it, on another architecture.
    pub linker: [&'static str; 2],
    /// A whole machine of this architecture, emulated.
    pub machine: Machine,
}

/// An emulated machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Machine {
    /// Debian's package of its emulator.
    pub package: &'static str,
    /// The emulator's options that say what machine it is.
    pub options: &'static [&'static str],
    /// The console, by the kernel's name.
    pub console: &'static str,
}

/// Every architecture.
pub static ARCHITECTURES: [Architecture; 2] = [
    Architecture {
        name: "x86_64",
        debian: "amd64",
        elf: object::elf::EM_X86_64,
        linker: ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"],
        machine: Machine {
            package: "qemu-system-x86",
            // Under emulation `cmpxchg16b` once made a kernel panic, and five-level page tables
            // cost time.
            options: &["-cpu", "max,-cx16,-la57"],
            console: "ttyS0",
        },
    },
    Architecture {
        name: "aarch64",
        debian: "arm64",
        elf: object::elf::EM_AARCH64,
        linker: ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
        machine: Machine {
            package: "qemu-system-arm",
            // The core of Graviton2. With pointer authentication, which later ones have, much of
            // the time would go into emulating its cipher.
            options: &["-machine", "virt", "-cpu", "neoverse-n1"],
            console: "ttyAMA0",
        },
    },
];

impl Architecture {
    /// Finds an architecture by one of its names.
    ///
    /// # Errors
    /// Returns an error if there is none of that name; the error has those that there are.
    pub fn find(name: &str) -> Result<&'static Self, String> {
        ARCHITECTURES
            .iter()
            .find(|architecture| [architecture.name, architecture.debian].contains(&name))
            .ok_or_else(|| {
                format!("not one of {}", ARCHITECTURES.each_ref().map(|one| one.name).join(", "))
            })
    }

    /// Returns the target of the userspace side for this architecture.
    pub fn target(&self) -> String {
        format!("{}-unknown-linux-gnu", self.name)
    }

    /// Returns the architecture of a target of the userspace side; none where it is another target.
    pub fn of_target(target: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|architecture| architecture.target() == target)
    }
}

/// Reads a target as a person types it: a triple, or an architecture alone.
pub fn parse_target(text: &str) -> Result<String, String> {
    match Architecture::find(text) {
        Ok(architecture) => Ok(architecture.target()),
        Err(_) if text.contains('-') => Ok(text.to_owned()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_architecture_stands_for_its_target() {
        for name in ["aarch64", "arm64", "aarch64-unknown-linux-gnu"] {
            assert_eq!(parse_target(name).unwrap(), "aarch64-unknown-linux-gnu");
        }
        assert_eq!(parse_target("x86_64-unknown-linux-musl").unwrap(), "x86_64-unknown-linux-musl");
        assert!(parse_target("armv7").unwrap_err().contains("aarch64"));
    }
}
