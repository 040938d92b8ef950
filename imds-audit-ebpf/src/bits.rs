//! Arithmetic in forms that the verifier and LLVM leave alone.

use core::arch::asm;

/// Returns its argument, and hides from the compiler that it does.
#[inline(always)]
pub fn opaque(mut value: u64) -> u64 {
    // A move onto itself, and not nothing at all: with no instruction of its own the line of the
    // assembly shares an offset with the next line, and the kernel refuses such line information.
    // SAFETY: the register keeps its value.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(pure, nomem, preserves_flags, nostack)) };
    value
}

/// Returns the smaller of two numbers below 2^63.
#[inline(always)]
pub fn minimum(left: u64, right: u64) -> u64 {
    // All ones where left is less. LLVM would take the shift for a question about a sign, and
    // branch.
    let less = opaque(opaque(left.wrapping_sub(right)) >> 63).wrapping_neg();
    right ^ ((left ^ right) & less)
}

/// Returns `count`, which lies in 1..=`limit`, in a form that the verifier can see to.
///
/// `limit` is a power of two. LLVM drops a comparison that it can prove and the verifier cannot;
/// a mask survives.
#[inline(always)]
pub fn clamp(count: u32, limit: u32) -> u32 {
    ((opaque(u64::from(count.wrapping_sub(1))) & u64::from(limit - 1)) + 1) as u32
}
