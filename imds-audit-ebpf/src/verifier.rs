//! Arithmetic and stores in forms that LLVM leaves alone and the verifier can follow.

use core::arch::asm;

/// Returns its argument and hides from the compiler that it does.
#[inline(always)]
pub fn black_box(mut value: u64) -> u64 {
    // A move onto itself rather than an empty block: with no instruction of its own the line of the
    // assembly shares an offset with the next line, and the kernel refuses such line information.
    // SAFETY: the register keeps its value.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(pure, nomem, preserves_flags, nostack)) };
    value
}

/// Returns the smaller of two numbers below 2^63.
#[inline(always)]
pub fn branchless_min(left: u64, right: u64) -> u64 {
    // All ones if left is less. LLVM would recognise a test of the sign in the shift, and branch.
    let less = black_box(black_box(left.wrapping_sub(right)) >> 63).wrapping_neg();
    right ^ ((left ^ right) & less)
}

/// Returns `count`, which lies in 1..=`limit`, in a form whose bounds the verifier sees.
///
/// `limit` is a power of two. LLVM drops a comparison that it can prove and the verifier cannot;
/// a mask survives.
#[inline(always)]
pub fn bound_for_verifier(count: u32, limit: u32) -> u32 {
    ((black_box(u64::from(count.wrapping_sub(1))) & u64::from(limit - 1)) + 1) as u32
}

/// Fills a value with zeroes, eight bytes at a time: LLVM would call a function that does it byte by
/// byte, which the verifier follows byte by byte.
///
/// # Safety
/// The pointer must be to memory of that type that may be written, and zeroes must be a value of it.
#[inline(always)]
pub unsafe fn fill_with_zeroes<T>(value: *mut T) {
    const { assert!(size_of::<T>().is_multiple_of(size_of::<u64>())) };
    let words = value.cast::<u64>();
    let mut index = 0;
    while index < size_of::<T>() / size_of::<u64>() {
        // SAFETY: the index is inside the value, which is a multiple of eight bytes long.
        unsafe { words.add(index).write_volatile(0) };
        index += 1;
    }
}
