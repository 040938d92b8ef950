//! Writes addresses: every event has two, and the formatter takes ten times as long.

use std::net::SocketAddr;

/// Returns an address and port as [`SocketAddr`] displays them.
pub(crate) fn text(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else {
        return address.to_string();
    };
    let mut text = String::with_capacity("255.255.255.255:65535".len());
    for (octet, mark) in address.ip().octets().into_iter().zip(['.', '.', '.', ':']) {
        push(&mut text, octet.into());
        text.push(mark);
    }
    push(&mut text, address.port());
    text
}

fn push(text: &mut String, number: u16) {
    let mut digits = [0; 5];
    let mut first = digits.len();
    let mut rest = number;
    while let Some(place) = first.checked_sub(1).and_then(|next| digits.get_mut(next)) {
        // A digit fits a byte.
        *place = b'0' + (rest % 10) as u8;
        first -= 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    text.extend(digits.iter().skip(first).map(|digit| char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn an_address_is_written_as_it_is_displayed(address: SocketAddr) {
            proptest::prop_assert_eq!(text(address), address.to_string());
        }
    }

    #[test]
    fn the_shortest_and_the_longest_are_whole() {
        for shown in ["0.0.0.0:0", "255.255.255.255:65535", "10.0.0.5:80", "[::ffff:1.2.3.4]:80"] {
            assert_eq!(text(shown.parse().unwrap()), shown);
        }
    }
}
