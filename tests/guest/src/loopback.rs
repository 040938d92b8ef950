//! The loopback interface, for what serves metrics there.

use std::mem;

use anyhow::{Context, Result, ensure};
use rustix::net::{AddressFamily, SocketType, socket};
use std::os::fd::AsRawFd;

/// Sets the interface up, as every host has it.
pub fn set_up() -> Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).context("a socket")?;
    // SAFETY: zeros are a valid value of this C structure.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = byte.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is a whole structure, which the kernel only reads.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request) };
    ensure!(result == 0, "the loopback interface: {}", std::io::Error::last_os_error());
    Ok(())
}
