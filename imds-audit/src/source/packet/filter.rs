//! The classic BPF program that picks the packets, and how much of each is copied.
//!
//! Other traffic is never copied. A caller's packets are copied whole. Of a packet of the service
//! only the headers are copied, and, where it begins with `HTTP/1.`, its bytes up to the blank line
//! behind the header block; without one, up to the end of the status line. So no byte of a body
//! leaves the kernel.
//!
//! A classic program has no loops: the search for the blank line is unrolled, and the room for it
//! bounds how long a header block may be. It reads a packet from its IP header on, as a socket of
//! the type `SOCK_DGRAM` does, whatever the link.

mod builder;

use std::net::{IpAddr, SocketAddr};

use builder::{Builder, Label};
use libc::{
    BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_JEQ, BPF_JGE, BPF_JMP,
    BPF_K, BPF_LD, BPF_LDX, BPF_LEN, BPF_LSH, BPF_MISC, BPF_RET, BPF_RSH, BPF_ST, BPF_SUB, BPF_TAX,
    BPF_TXA, BPF_W, BPF_X, sock_filter,
};

/// The longest header blocks that are searched for, in bytes, the best first. The instance metadata
/// service's have about 300. Before Linux 6.8 a program may take 20 KiB in the kernel
/// (`net.core.optmem_max`), which is less than the first takes; of most responses only the status
/// line is read then.
pub(crate) const HEAD_LIMITS: [u32; 2] = [640, 44];

/// More than any packet has.
const WHOLE: u32 = 1 << 24;
/// The bytes before the first that a blank line may begin at: `HTTP/1.1 200`.
const STATUS_END: u32 = 12;
/// The longest status line of a header block whose end is not found.
const MAX_STATUS_LINE: u32 = 40;
/// The places that one check of the packet's length covers.
const GROUP: u32 = 16;
/// IPv6 extension headers that are followed.
const MAX_EXTENSIONS: u32 = 4;

/// What is loaded from beside the packet (`SKF_AD_*` in `linux/filter.h`).
const PROTOCOL: u32 = BESIDE;
const PACKET_TYPE: u32 = BESIDE + 4;
const LINK_TYPE: u32 = BESIDE + 28;
const BESIDE: u32 = (-0x1000_i32).cast_unsigned();
/// `ARPHRD_LOOPBACK`, the type of the loopback interface.
const LOOPBACK: u32 = 772;
/// `PACKET_OUTGOING`, what leaves by an interface.
const OUTGOING: u32 = 4;

const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;
const VLAN_TAGS: [u32; 3] = [0x8100, 0x88a8, 0x9100];
const TCP: u32 = 6;
/// The blank line, with the end of the line before it.
const CRLF_CRLF: u32 = u32::from_be_bytes(*b"\r\n\r\n");

/// Places of the scratch memory: where the IP header begins, the TCP header and the payload, how
/// many bytes lie behind the index, and the kind of the next IPv6 header.
const IP: u32 = 0;
const TCP_START: u32 = 1;
const PAYLOAD: u32 = 2;
const LEFT: u32 = 3;
const NEXT: u32 = 4;

/// Makes the program for these endpoints.
pub(crate) fn program(endpoints: &[SocketAddr], head_limit: u32) -> Vec<sock_filter> {
    let mut b = Builder::default();
    let [drop, ip, request, response] = std::array::from_fn(|_| b.label());
    b.skip_tags(ip, drop);
    b.place(ip);
    b.store_index(IP);
    b.load_indexed(BPF_B, 0);
    b.alu(BPF_RSH, 4);
    let (ipv4, ipv6) = (b.label(), b.label());
    b.jump_if_equal(4, ipv4);
    b.jump_if_equal(6, ipv6);
    b.jump(drop);

    b.place(ipv4);
    b.ipv4_tcp_start(drop);
    let of_version = |wanted: bool| endpoints.iter().filter(move |e| e.is_ipv4() == wanted);
    b.compare_all(of_version(true), request, response);
    b.jump(drop);
    b.place(ipv6);
    b.ipv6_tcp_start(drop);
    b.compare_all(of_version(false), request, response);
    b.jump(drop);

    // On the loopback interface each packet leaves and arrives. A request counts when it leaves,
    // and what the service sends when it arrives.
    b.place(request);
    let take = b.load_packet_type_on_loopback();
    b.jump_unless_equal(OUTGOING, drop);
    b.place(take);
    b.ret(WHOLE);

    b.place(response);
    let take = b.load_packet_type_on_loopback();
    b.jump_if_equal(OUTGOING, drop);
    b.place(take);
    b.header_block(head_limit);

    b.place(drop);
    b.ret(0);
    b.code
}

impl Builder {
    /// Loads the way of a packet of the loopback interface. Those of other interfaces go to the
    /// label that is returned.
    fn load_packet_type_on_loopback(&mut self) -> Label {
        let elsewhere = self.label();
        self.load_beside(LINK_TYPE);
        self.jump_unless_equal(LOOPBACK, elsewhere);
        self.load_beside(PACKET_TYPE);
        elsewhere
    }

    /// Sets the index to the IP header, behind VLAN tags that are a part of the packet. One tag lies
    /// beside it; what leaves is read from its IP header on, whatever stands before that.
    fn skip_tags(&mut self, ip: Label, drop: Label) {
        let tagged = self.label();
        self.op(BPF_LDX | BPF_IMM, 0);
        self.load_beside(PROTOCOL);
        self.jump_if_equal(IPV4, ip);
        self.jump_if_equal(IPV6, ip);
        for tag in VLAN_TAGS {
            self.jump_if_equal(tag, tagged);
        }
        self.jump(drop);
        self.place(tagged);
        self.load_beside(PACKET_TYPE);
        self.jump_if_equal(OUTGOING, ip);
        for end in [4, 8] {
            self.op(BPF_LDX | BPF_IMM, end);
            self.op(BPF_LD | BPF_H | BPF_ABS, end - 2);
            self.jump_if_equal(IPV4, ip);
            self.jump_if_equal(IPV6, ip);
        }
        self.jump(drop);
    }

    /// Finds the TCP header behind an IPv4 header; a later fragment has none.
    fn ipv4_tcp_start(&mut self, drop: Label) {
        self.load_indexed(BPF_B, 9);
        self.jump_unless_equal(TCP, drop);
        self.load_indexed(BPF_H, 6);
        self.jump_if_set(0x1fff, drop);
        self.load_indexed(BPF_B, 0);
        self.alu(BPF_AND, 0xf);
        self.alu(BPF_LSH, 2);
        self.op(BPF_ALU | BPF_ADD | BPF_X, 0);
        self.op(BPF_ST, TCP_START);
    }

    /// Finds the TCP header behind an IPv6 header and a few extension headers.
    fn ipv6_tcp_start(&mut self, drop: Label) {
        let found = self.label();
        self.load_indexed(BPF_B, 6);
        self.op(BPF_ST, NEXT);
        self.op(BPF_MISC | BPF_TXA, 0);
        self.alu(BPF_ADD, 40);
        self.op(BPF_ST, TCP_START);
        for _ in 0..MAX_EXTENSIONS {
            let (sized, fragment, done) = (self.label(), self.label(), self.label());
            self.load_index(TCP_START);
            self.load_memory(NEXT);
            self.jump_if_equal(TCP, found);
            // Hop-by-hop options, routing, destination options; then a fragment's header.
            for kind in [0, 43, 60] {
                self.jump_if_equal(kind, sized);
            }
            self.jump_if_equal(44, fragment);
            self.jump(drop);
            self.place(sized);
            self.load_indexed(BPF_B, 0);
            self.op(BPF_ST, NEXT);
            self.load_indexed(BPF_B, 1);
            self.alu(BPF_ADD, 1);
            self.alu(BPF_LSH, 3);
            self.jump(done);
            self.place(fragment);
            self.load_indexed(BPF_H, 2);
            self.jump_if_set(0xfff8, drop);
            self.load_indexed(BPF_B, 0);
            self.op(BPF_ST, NEXT);
            self.op(BPF_LD | BPF_IMM, 8);
            self.place(done);
            self.op(BPF_ALU | BPF_ADD | BPF_X, 0);
            self.op(BPF_ST, TCP_START);
        }
        self.load_memory(NEXT);
        self.jump_unless_equal(TCP, drop);
        self.place(found);
    }

    /// Compares the receiver with each endpoint, then the sender.
    fn compare_all<'a>(
        &mut self,
        endpoints: impl Iterator<Item = &'a SocketAddr> + Clone,
        request: Label,
        response: Label,
    ) {
        for endpoint in endpoints.clone() {
            self.compare(endpoint, true, request);
        }
        for endpoint in endpoints {
            self.compare(endpoint, false, response);
        }
    }

    fn compare(&mut self, endpoint: &SocketAddr, is_receiver: bool, equal: Label) {
        let differs = self.label();
        let words: Vec<u32> = match endpoint.ip() {
            IpAddr::V4(address) => vec![address.to_bits()],
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                [96, 64, 32, 0].map(|shift| (bits >> shift & 0xffff_ffff) as u32).to_vec()
            }
        };
        let first = match (endpoint.is_ipv4(), is_receiver) {
            (true, true) => 16,
            (true, false) => 12,
            (false, true) => 24,
            (false, false) => 8,
        };
        self.load_index(IP);
        for (place, word) in (first..).step_by(4).zip(words) {
            self.load_indexed(BPF_W, place);
            self.jump_unless_equal(word, differs);
        }
        self.load_index(TCP_START);
        self.load_indexed(BPF_H, if is_receiver { 2 } else { 0 });
        self.jump_if_equal(u32::from(endpoint.port()), equal);
        self.place(differs);
    }

    /// Returns how much of a packet of the service's is a header block.
    fn header_block(&mut self, limit: u32) {
        let [found, tail, status, headers] = std::array::from_fn(|_| self.label());
        self.load_index(TCP_START);
        self.load_indexed(BPF_B, 12);
        self.alu(BPF_RSH, 4);
        self.alu(BPF_LSH, 2);
        self.op(BPF_ALU | BPF_ADD | BPF_X, 0);
        self.op(BPF_ST, PAYLOAD);
        self.op(BPF_MISC | BPF_TAX, 0);
        self.store_left();
        self.jump_unless_at_least(STATUS_END, headers);
        self.load_indexed(BPF_W, 0);
        self.jump_unless_equal(u32::from_be_bytes(*b"HTTP"), headers);
        self.load_indexed(BPF_H, 4);
        self.jump_unless_equal(u32::from(u16::from_be_bytes(*b"/1")), headers);
        self.load_indexed(BPF_B, 6);
        self.jump_unless_equal(u32::from(b'.'), headers);

        let groups = limit.saturating_sub(STATUS_END) / GROUP;
        for group in 0..groups {
            let first = STATUS_END + group * GROUP;
            let short = self.label();
            let next = self.label();
            self.load_memory(LEFT);
            self.jump_unless_at_least(first + GROUP + 3, short);
            self.jump(next);
            self.place(short);
            self.op(BPF_LD | BPF_IMM, first);
            self.jump(tail);
            self.place(next);
            for place in first..first + GROUP {
                self.found_at(place, found);
            }
        }
        self.jump(status);

        // The last bytes of a short packet, from where the search came to.
        self.place(tail);
        self.op(BPF_ALU | BPF_ADD | BPF_X, 0);
        self.op(BPF_MISC | BPF_TAX, 0);
        self.store_left();
        for place in 0..GROUP {
            self.load_memory(LEFT);
            self.jump_unless_at_least(place + 4, status);
            self.found_at(place, found);
        }

        // No end of the header block: the status line alone.
        self.place(status);
        self.load_index(PAYLOAD);
        self.store_left();
        for place in STATUS_END..MAX_STATUS_LINE {
            self.load_memory(LEFT);
            self.jump_unless_at_least(place + 1, headers);
            let other = self.label();
            self.load_indexed(BPF_B, place);
            self.jump_unless_equal(u32::from(b'\n'), other);
            self.op(BPF_LD | BPF_IMM, place + 1);
            self.jump(found);
            self.place(other);
        }

        self.place(headers);
        self.load_memory(PAYLOAD);
        self.op(BPF_RET | BPF_A, 0);
        // The accumulator has the length behind the index.
        self.place(found);
        self.op(BPF_ALU | BPF_ADD | BPF_X, 0);
        self.op(BPF_RET | BPF_A, 0);
    }

    fn found_at(&mut self, place: u32, found: Label) {
        self.load_indexed(BPF_W, place);
        // Over the next two: there are many of these.
        let code = BPF_JMP | BPF_JEQ | BPF_K;
        self.code.push(sock_filter { code: code as u16, jt: 0, jf: 2, k: CRLF_CRLF });
        self.op(BPF_LD | BPF_IMM, place + 4);
        self.jump(found);
    }

    /// Stores how many bytes lie behind the index.
    fn store_left(&mut self) {
        self.op(BPF_LD | BPF_W | BPF_LEN, 0);
        let enough = self.label();
        // A header that claims more than there is.
        self.op_jump(BPF_JMP | BPF_JGE | BPF_X, 0, Some(enough), None);
        self.op(BPF_MISC | BPF_TXA, 0);
        self.place(enough);
        self.op(BPF_ALU | BPF_SUB | BPF_X, 0);
        self.op(BPF_ST, LEFT);
    }
}

#[cfg(test)]
mod tests;
