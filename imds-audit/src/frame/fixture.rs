//! Packets for tests.

/// Cuts a packet into fragments of so many bytes.
pub(crate) fn cut(packet: &[u8], number: u16, size: usize) -> Vec<Vec<u8>> {
    let is_ipv4 = packet[0] >> 4 == 4;
    let (header, body) = packet.split_at(if is_ipv4 { 20 } else { 40 });
    let count = body.len().div_ceil(size);
    let parts = body.chunks(size).enumerate();
    parts
        .map(|(place, part)| {
            let has_more = place + 1 < count;
            let mut fragment = header.to_vec();
            let offset = u16::try_from(place * size).unwrap();
            if is_ipv4 {
                let flags = (offset / 8) | if has_more { 0x2000 } else { 0 };
                let total = u16::try_from(20 + part.len()).unwrap();
                fragment[2..4].copy_from_slice(&total.to_be_bytes());
                fragment[4..6].copy_from_slice(&number.to_be_bytes());
                fragment[6..8].copy_from_slice(&flags.to_be_bytes());
            } else {
                let length = u16::try_from(8 + part.len()).unwrap();
                fragment[4..6].copy_from_slice(&length.to_be_bytes());
                fragment[6] = 44;
                fragment.extend([6, 0]);
                fragment.extend((offset | u16::from(has_more)).to_be_bytes());
                fragment.extend(u32::from(number).to_be_bytes());
            }
            fragment.extend_from_slice(part);
            fragment
        })
        .collect()
}
