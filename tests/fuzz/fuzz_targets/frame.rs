#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| imds_audit::fuzz::frame(bytes));
