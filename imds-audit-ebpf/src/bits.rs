//! Arithmetic that stays arithmetic.
//!
//! The verifier follows each branch by itself. In a loop over bytes a branch per byte multiplies
//! the states that it must visit; the same question put to eight bytes at once costs it a dozen
//! instructions.

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

const LOW: u64 = 0x0101_0101_0101_0101;
const SEVEN: u64 = 0x7f7f_7f7f_7f7f_7f7f;

/// Returns a bit for each of a word's eight bytes that is `byte`; the first byte in memory, which
/// is the lowest on every host that we run on (bpfel), has the lowest bit.
#[inline(always)]
pub fn matches(word: u64, byte: u8) -> u64 {
    let difference = word ^ (LOW * byte as u64);
    // The highest bit of each byte is set where any of its bits is.
    let differs = ((difference & SEVEN) + SEVEN) | difference;
    let equal = (!differs >> 7) & LOW;
    // Moves bit 8 * i to bit 56 + i.
    equal.wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Returns how many bits are below the lowest one that is set; 64 for none.
#[inline(always)]
pub fn trailing_zeros(value: u64) -> u64 {
    let below = !value & value.wrapping_sub(1);
    // The sum of the bits, in parallel (Hacker's Delight, figure 5-2): the target has no
    // instruction for it.
    let pairs = below - ((below >> 1) & 0x5555_5555_5555_5555);
    let fours = (pairs & 0x3333_3333_3333_3333) + ((pairs >> 2) & 0x3333_3333_3333_3333);
    let eights = (fours + (fours >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    eights.wrapping_mul(LOW) >> 56
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
