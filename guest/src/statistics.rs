use std::sync::Mutex;
use std::arch::asm;
pub static LOADS: Mutex<Vec<String>> = Mutex::new(Vec::new());
unsafe fn raw(n: i64, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> i64 {
    let r: i64;
    unsafe { asm!("syscall", inlateout("rax") n => r, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _) };
    r
}
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(n: i64, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> i64 {
    let mut r;
    if n == 321 && a == 5 {
        let mut attr = [0u8; 256];
        let len = (c as usize).min(256);
        unsafe { std::ptr::copy_nonoverlapping(b as *const u8, attr.as_mut_ptr(), len) };
        let name = String::from_utf8_lossy(&attr[48..64]).into_owned();
        let level = u32::from_ne_bytes(attr[24..28].try_into().unwrap());
        let insns = u32::from_ne_bytes(attr[4..8].try_into().unwrap());
        if level != 0 && insns <= 100 { r = unsafe { raw(n,a,b,c,d,e,f) }; if (-4095..0).contains(&r) { unsafe extern "C" { fn __errno_location() -> *mut i32; } unsafe { *__errno_location() = (-r) as i32 }; r = -1; } return r; }
        let mut log = vec![0u8; if std::env::var_os("HIST").is_some() { (16 << 20) - 1 } else { 1 << 20 }];
        let want = std::fs::read_to_string("/loglevel").ok().and_then(|t| t.trim().parse().ok()).unwrap_or(if std::env::var_os("HIST").is_some() { 2u32 } else { 4u32 });
        if level != 0 && insns > 100 { 
            unsafe { *(b as *mut u8).add(0) };
            r = -13;
        } else {
        attr[24..28].copy_from_slice(&want.to_ne_bytes());
        attr[28..32].copy_from_slice(&(log.len() as u32).to_ne_bytes());
        attr[32..40].copy_from_slice(&(log.as_mut_ptr() as u64).to_ne_bytes());
        if insns > 1000 && std::env::var_os("QUICK").is_some() { attr[120..128].fill(0); }
        let t = std::time::Instant::now();
        r = unsafe { raw(n, a, attr.as_ptr() as u64, c, d, e, f) };
        let end = log.iter().position(|b| *b == 0).unwrap_or(0);
        let text = String::from_utf8_lossy(&log[..end]);
        if insns > 100 {
        if std::env::var_os("HIST").is_some() {
            let mut h = std::collections::BTreeMap::<usize, usize>::new();
            for l in text.lines() { if l.starts_with("func#") { println!("{l}"); } if let Some((a, rest)) = l.split_once(": ") { if rest.starts_with('(') || rest.contains(": (") { if let Ok(k) = a.trim().parse::<usize>() { *h.entry(k).or_default() += 1; } } } }
            let mut prev = 0; let mut start = 0; let mut sum = 0;
            for (k, v) in &h { if *v != prev || *k == start { if prev != 0 && sum > 2500 { println!("H {name} {start}..{k} x{prev} = {sum}"); } start = *k; prev = *v; sum = 0; } sum += v; }
            println!("total {}", h.values().sum::<usize>());
        }
        println!("VERIFY {name} type={} insns={insns} result={r} {:?}\n{}", attr[0], t.elapsed(), &text[text.len().saturating_sub(if r < 0 {4000} else {400})..]);
        }
        }
    } else {
        r = unsafe { raw(n, a, b, c, d, e, f) };
    }
    if (-4095..0).contains(&r) {
        unsafe extern "C" { fn __errno_location() -> *mut i32; }
        unsafe { *__errno_location() = (-r) as i32 };
        r = -1;
    }
    r
}
