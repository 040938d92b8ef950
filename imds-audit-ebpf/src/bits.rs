//! Arithmetic that stays arithmetic.
//!
//! The verifier follows each branch by itself. In a loop over bytes a branch per byte multiplies
//! the states that it must visit; the same decision made by arithmetic costs it nothing. LLVM
//! would turn such arithmetic back into branches, which [`opaque`] keeps it from.

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

/// Returns the highest bit as 0 or 1. Where LLVM sees the shift it takes what depends on it for
/// a question about a sign, and branches.
#[inline(always)]
fn highest(value: u64) -> u64 {
    opaque(opaque(value) >> 63)
}

/// Returns 1 if `value` is 0, else 0.
#[inline(always)]
pub fn is_zero(value: u64) -> u64 {
    highest(value | opaque(value.wrapping_neg())) ^ 1
}

/// Returns 1 if `left` is less than `right`, else 0. Both are below 2^63.
#[inline(always)]
pub fn less(left: u64, right: u64) -> u64 {
    highest(left.wrapping_sub(right))
}

/// Returns `count`, which lies in 1..=`limit`, in a form that the verifier can see to.
///
/// `limit` is a power of two. LLVM drops a comparison that it can prove and the verifier cannot;
/// a mask survives.
#[inline(always)]
pub fn clamp(count: u32, limit: u32) -> u32 {
    ((opaque(u64::from(count.wrapping_sub(1))) & u64::from(limit - 1)) + 1) as u32
}
