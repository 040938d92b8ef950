//! SWAR: operations on the eight bytes of a word at once.
//!
//! The verifier follows each branch by itself. In a loop over bytes a branch per byte multiplies
//! the states that it must visit; the same operation on a word costs it a dozen instructions.
//!
//! The first byte in memory is a word's lowest, as on every host that we run on (bpfel).

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

/// Reads the decimal digits that a word begins with. Returns the number, and how many digits it
/// has: 0 to 8.
#[inline(always)]
pub fn decimal(word: u64) -> (u64, u64) {
    let value = word ^ (LOW * b'0' as u64);
    // The highest bit of each byte that is above nine.
    let others = (((value & SEVEN) + LOW * (0x7f - 9)) | value) & !SEVEN;
    let digits = trailing_zeros(others) >> 3;
    // The digits as the word's last bytes, with zeroes before them: twice by half, for the shift
    // by all 64 bits that no digits would need.
    let shift = (8 - digits) * 4;
    let value = (value << (shift & 63)) << (shift & 63);
    // Pairs, then fours, then eights of digits.
    let pairs = value.wrapping_mul(10).wrapping_add(value >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    let number = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff;
    (number, digits)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{format, vec::Vec};

    use super::*;

    /// Words that hold every byte in every place, among others that are near it.
    fn words() -> impl Iterator<Item = [u8; 8]> {
        (0..=255u8).flat_map(|byte| {
            (0..8usize).map(move |place| {
                let mut word = [byte.wrapping_add(1); 8];
                word[place] = byte;
                word[(place + 3) % 8] = byte ^ 0x80;
                word
            })
        })
    }

    #[test]
    fn matches_has_a_bit_for_each_equal_byte() {
        for word in words() {
            for byte in [b'\n', b'\r', b'-', b':', 0, 0x80, 0xff] {
                let expected: u64 =
                    word.iter().enumerate().map(|(i, &b)| u64::from(b == byte) << i).sum();
                assert_eq!(matches(u64::from_le_bytes(word), byte), expected, "{word:?} {byte}");
            }
        }
    }

    #[test]
    fn trailing_zeros_counts_up_to_sixty_four() {
        for bit in 0..64 {
            assert_eq!(trailing_zeros(1 << bit), bit);
            assert_eq!(trailing_zeros(u64::MAX << bit), bit);
        }
        assert_eq!(trailing_zeros(0), 64);
    }

    #[test]
    fn decimal_reads_as_many_digits_as_there_are() {
        for number in (0..1000).chain([9999, 10_000, 1_234_567, 9_999_999, 12_345_678]) {
            for behind in ["\r\n", "\n", " ", "/", ":", "\u{7f}", "a", "\0"] {
                let text = format!("{number}{behind}zzzzzzzz");
                let word: [u8; 8] = text.as_bytes()[..8].try_into().unwrap();
                let digits = format!("{number}").len().min(8);
                assert_eq!(decimal(u64::from_le_bytes(word)), (number, digits as u64), "{text}");
            }
        }
    }

    #[test]
    fn decimal_finds_no_digit_where_there_is_none() {
        for byte in (0..=255u8).filter(|byte| !byte.is_ascii_digit()) {
            let mut word = *b"x1234567";
            word[0] = byte;
            assert_eq!(decimal(u64::from_le_bytes(word)), (0, 0), "{byte}");
        }
        let all: Vec<u8> = std::vec![b'0'; 8];
        assert_eq!(decimal(u64::from_le_bytes(all.try_into().unwrap())), (0, 8));
    }
}
