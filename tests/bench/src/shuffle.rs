//! In which order variants are measured.

/// Returns, for each round, the order of so many variants: each is first, second and so on about
/// equally often, and follows each other one about equally often.
pub fn orders(variants: usize, rounds: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..rounds).map(move |round| {
        let mut order: Vec<_> = (0..variants).collect();
        order.rotate_left(round / 2 % variants.max(1));
        if round % 2 == 1 {
            order.reverse();
        }
        order
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variant_has_each_place_equally_often() {
        let orders: Vec<_> = orders(3, 6).collect();
        for variant in 0..3 {
            for place in 0..3 {
                let count = orders.iter().filter(|order| order[place] == variant).count();
                assert_eq!(count, 2, "{variant} at {place}");
            }
        }
    }
}
