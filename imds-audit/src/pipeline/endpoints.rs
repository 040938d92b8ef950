//! The addresses of the instance metadata service.

use std::net::SocketAddr;

/// The service's IPv4 and IPv6 address, audited by default (EC2 User Guide, "Access instance
/// metadata").
pub(crate) const DEFAULT_ENDPOINTS: [&str; 2] = ["169.254.169.254:80", "[fd00:ec2::254]:80"];

/// Returns the addresses that are audited by default.
pub fn default_endpoints() -> Vec<SocketAddr> {
    DEFAULT_ENDPOINTS.iter().filter_map(|text| text.parse().ok()).collect()
}
