//! Index of the programs by their names, built at compile time: every word is looked up.

use super::table::PROGRAMS;

/// How many places the index has: at least twice as many as there are names.
const PLACES: usize = 1024;

/// No program.
const NONE: u8 = u8::MAX;

/// The place of the AWS CLI in the table.
pub(super) const AWS: u8 = 0;

/// The longest name of a program.
const LONGEST: usize = 32;

const INDEX: [u8; PLACES] = {
    assert!(PROGRAMS.len() < NONE as usize);
    let mut index = [NONE; PLACES];
    let mut program = 0;
    while program < PROGRAMS.len() {
        let names = PROGRAMS[program].names.as_bytes();
        let mut start = 0;
        while start < names.len() {
            let mut end = start;
            let mut hash = SEED;
            while end < names.len() && names[end] != b' ' {
                hash = step(hash, names[end]);
                end += 1;
            }
            let mut place = hash as usize % PLACES;
            while index[place] != NONE {
                place = (place + 1) % PLACES;
            }
            if end > start {
                index[place] = program as u8;
            }
            start = end + 1;
        }
        program += 1;
    }
    index
};

/// The seed and the step of FNV-1a.
const SEED: u32 = 0x811c_9dc5;

const fn step(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

/// Returns the program that is called `word`.
pub(super) fn find(word: &[u8]) -> Option<u8> {
    if word.len() < 2 || word.len() > LONGEST {
        return None;
    }
    let hash = word.iter().fold(SEED, |hash, byte| step(hash, *byte));
    let first = hash as usize % PLACES;
    let places = INDEX.iter().cycle().skip(first).take(PLACES);
    let mut programs = places.copied().take_while(|program| *program != NONE);
    programs.find(|program| {
        let names = PROGRAMS.get(usize::from(*program)).map_or("", |program| program.names);
        names.split(' ').any(|name| name.as_bytes() == word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_found_by_each_of_its_names_and_stands_once() {
        let mut count = 0;
        for (place, program) in PROGRAMS.iter().enumerate() {
            for name in program.names.split_ascii_whitespace() {
                assert_eq!(find(name.as_bytes()).map(usize::from), Some(place), "{name}");
                assert!(name.len() <= LONGEST, "{name}");
                count += 1;
            }
        }
        assert!(count * 2 < PLACES, "{count} names");
        assert_eq!(find(b"aws"), Some(AWS));
        for word in [&b""[..], b"a", b"latest", b"meta-data", &[b'x'; 100]] {
            assert_eq!(find(word), None);
        }
    }
}
