//! Text at the edge: bounds, terminals, addresses.

pub(crate) mod bounded;
pub(crate) mod socket_addr;
pub(crate) mod terminal;
