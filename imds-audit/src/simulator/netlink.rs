//! Requests to the kernel's routing tables, and its acknowledgements (rtnetlink(7)).
//!
//! Five kinds of request are made, for the demonstration's network. The library for the whole protocol is
//! half a megabyte of machine code, a sixteenth of the program.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// The length of `struct nlmsghdr`, and the places of its length and type.
const HEADER: usize = 16;
/// The bytes that the kernel aligns attributes to.
const ALIGNMENT: usize = 4;
/// The room for an acknowledgement: a header, an error number, and the request's own header.
const ACKNOWLEDGEMENT: usize = 1024;
/// `NLMSG_ERROR`, which an acknowledgement is too, of the error 0.
const ERROR: u16 = 2;

/// Opens a socket to the routing tables of the calling thread's network namespace.
pub(super) fn route_socket() -> io::Result<OwnedFd> {
    // The protocol 0 is NETLINK_ROUTE.
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?)
}

/// A request.
#[derive(Debug)]
pub(super) struct Request(Vec<u8>);

impl Request {
    /// Starts a request of a type; one that makes something fails if it is there already.
    pub(super) fn new(kind: u16, makes: bool) -> Self {
        let mut flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        if makes {
            flags |= libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        }
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&u16::try_from(flags).unwrap_or_default().to_ne_bytes());
        Self(bytes)
    }

    /// Adds bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Adds an attribute.
    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |request| request.put(value));
    }

    /// Adds an attribute that a function fills.
    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.put(&[0; 2]);
        self.put(&kind.to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
    }

    /// Sends the request and returns the kernel's error number: 0 where it was carried out.
    pub(super) fn send(mut self, socket: &OwnedFd) -> io::Result<i32> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        send(socket, &self.0, SendFlags::empty())?;
        let mut answer = [0; ACKNOWLEDGEMENT];
        let (length, _) = recv(socket, &mut answer[..], RecvFlags::empty())?;
        error_number(answer.get(..length).unwrap_or_default()).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the kernel sent no acknowledgement")
        })
    }
}

/// Returns the error number of an acknowledgement, `None` if it is another message.
fn error_number(answer: &[u8]) -> Option<i32> {
    let kind = answer.get(4..6)?.try_into().ok().map(u16::from_ne_bytes)?;
    let error = answer.get(HEADER..HEADER + 4)?.try_into().ok().map(i32::from_ne_bytes)?;
    (kind == ERROR).then_some(error.saturating_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_inside_another_is_counted_in_its_length_without_the_padding() {
        let mut request = Request::new(libc::RTM_NEWLINK, false);
        request.nest(1, |request| request.attribute(3, b"abcde"));
        let attributes = &request.0[HEADER..];
        assert_eq!(attributes[..2], 16_u16.to_ne_bytes());
        assert_eq!(attributes[4..6], 9_u16.to_ne_bytes());
        assert_eq!(&attributes[8..16], b"abcde\0\0\0");
        assert_eq!(attributes.len(), 16);
    }

    #[test]
    fn only_an_acknowledgement_has_an_error_number() {
        let mut answer = vec![0; 36];
        answer[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        assert_eq!(error_number(&answer), Some(0));
        answer[16..20].copy_from_slice(&(-17_i32).to_ne_bytes());
        assert_eq!(error_number(&answer), Some(17));
        answer[4..6].copy_from_slice(&libc::RTM_NEWLINK.to_ne_bytes());
        assert_eq!(error_number(&answer), None);
        assert_eq!(error_number(&answer[..18]), None);
    }
}
