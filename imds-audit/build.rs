fn main() {
    println!("cargo::rustc-check-cfg=cfg(kernel_half)");
    println!("cargo::rerun-if-env-changed=IMDS_AUDIT_EBPF_OBJECT");
    if let Some(object) = std::env::var_os("IMDS_AUDIT_EBPF_OBJECT") {
        let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap()).join("imds-audit-programs");
        std::fs::copy(&object, out).unwrap();
        println!("cargo::rerun-if-changed={}", object.to_string_lossy());
        println!("cargo::rustc-cfg=kernel_half");
    }
}
