//! The state of audited sockets between their packets.

use aya_ebpf::{macros::map, maps::LruHashMap};
use imds_audit_ebpf::{COMM_LENGTH, ProcessKey, Task};

/// The most sockets remembered. The longest unused is forgotten, which costs an extra snapshot,
/// and the header of a response that is just then arriving.
const MAX_SOCKETS: u32 = 32_768;

/// The state of a socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Socket {
    /// The process whose snapshot was last written for this socket.
    pub writer: ProcessKey,
    /// The task that sends the packet at hand, if `is_sent_by_task`.
    pub task: Task,
    /// That thread's name.
    pub comm: [u8; COMM_LENGTH],
    /// What the caller had acknowledged when it sent its last request bytes: where the response
    /// to them begins, unless it sent them before an earlier response had come.
    pub request_acknowledgment: u32,
    /// Where the next response header begins, when the last one gave its body's length.
    pub next_head: u32,
    /// Where a header that has begun goes on.
    pub continuation: u32,
    /// Which of the three above and `request_end_seq` hold, and more: see the bits below.
    pub valid_bits: u32,
    /// 1 while the packet at hand leaves in the context of the task that sends it.
    pub is_sent_by_task: u16,
    /// Whether the packet at hand has the first bytes of a request: one of
    /// [`imds_audit_ebpf::request_start`].
    pub begins: u16,
    /// The sequence number behind the last request bytes, if `REQUEST_END`.
    pub request_end_seq: u32,
    /// How many bytes of the packet at hand were sent before.
    pub retransmitted_len: u32,
    /// The last four bytes before the packet at hand, the newest as the lowest.
    pub prev4_before_packet: u32,
    /// The last four bytes before `request_end_seq`, in the same form.
    pub prev4: u32,
    /// Where the last header bytes that were written end, or the service's end: if
    /// `UNACKNOWLEDGED`, the caller has not acknowledged them yet.
    pub head_end: u32,
    /// Where the header began that gave `next_head`.
    pub head_start: u32,
    /// Zero.
    pub reserved: u32,
    /// How many of its requests were lost.
    pub lost_requests: u32,
    /// How many of its records were lost.
    pub lost_records: u32,
    /// The scanner's state at `continuation`.
    pub scan: Scan,
}

/// The state of the scan for a header's end and its Content-Length.
///
/// It lives in the map, also while a packet is scanned: what the verifier reads from a map it
/// takes for unknown, and so it need not visit the scan of a packet's next bytes once for each
/// thing that it knows about the last ones. In registers the same scan is beyond its limit of a
/// million instructions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Scan {
    /// Which of the last sixteen bytes are line feeds; the newest is the highest of sixteen bits.
    pub line_feeds: u64,
    /// Which of them are carriage returns.
    pub carriage_returns: u64,
    /// Which of them are hyphens.
    pub hyphens: u64,
    /// The body's length, or [`UNKNOWN`].
    pub length: u64,
    /// Where in the packet's payload the scan stands.
    pub position: u32,
    /// Where in the packet's payload the header, or its part in this packet, begins.
    pub head: u32,
    /// 1 while nothing of the header was scanned, so that its first bytes are to be checked.
    pub is_new: u32,
    /// How many header bytes of the packet were written.
    pub written: u32,
}

impl Scan {
    /// The state before a header that begins at an offset in the payload.
    pub const fn new(offset: u32) -> Self {
        Self { position: offset, head: offset, is_new: 1, ..Self::NONE }
    }

    const NONE: Self = Self {
        line_feeds: 0,
        carriage_returns: 0,
        hyphens: 0,
        length: UNKNOWN,
        position: 0,
        head: 0,
        is_new: 0,
        written: 0,
    };
}

/// The length of a body whose header gave none.
pub const UNKNOWN: u64 = u64::MAX;

/// Bits of [`Socket::valid_bits`]. `request_acknowledgment` holds.
pub const REQUEST_ACKNOWLEDGMENT: u32 = 1;
/// `next_head` holds.
pub const NEXT_HEAD: u32 = 2;
/// `continuation` and `scan` hold.
pub const CONTINUATION: u32 = 4;
/// `request_end_seq` holds.
pub const REQUEST_END: u32 = 8;
/// The response to come, or at hand, has no body whatever length its header gives: the request is
/// a HEAD, or the status says so.
pub const NO_BODY: u32 = 16;
/// A request was sent when nothing new had come since another.
pub const SENT_AHEAD: u32 = 32;
/// `head_end` holds.
pub const UNACKNOWLEDGED: u32 = 64;
/// Header bytes came since the last request bytes.
pub const ANSWERED: u32 = 128;

impl Socket {
    /// Returns whether the caller sent its last request bytes in the middle of a body whose end is
    /// known: then no header begins where its acknowledgement stood, whatever stands there.
    ///
    /// A header at that very place, or behind it, says nothing of this: it may be forged, and the
    /// true one comes at the same place.
    #[inline(always)]
    pub fn is_acknowledgment_in_body(&self) -> bool {
        // Sequence numbers are compared by the sign of their distance (RFC 9293, section 3.4).
        let left = self.next_head.wrapping_sub(self.request_acknowledgment) as i32;
        let passed = self.request_acknowledgment.wrapping_sub(self.head_start) as i32;
        self.valid_bits & NEXT_HEAD != 0 && left > 0 && passed > 0
    }

    /// A socket about which nothing is known.
    const NEW: Self = Self {
        writer: ProcessKey { pid: 0, start_time: 0, exec_id: 0 },
        task: Task { pid: 0, tid: 0, start_time: 0, exec_id: 0 },
        comm: [0; COMM_LENGTH],
        request_acknowledgment: 0,
        next_head: 0,
        continuation: 0,
        valid_bits: 0,
        is_sent_by_task: 0,
        begins: 0,
        request_end_seq: 0,
        retransmitted_len: 0,
        prev4_before_packet: 0,
        prev4: 0,
        head_end: 0,
        head_start: 0,
        reserved: 0,
        lost_requests: 0,
        lost_records: 0,
        scan: Scan::NONE,
    };
}

/// What a socket's state begins with. It is copied from here, as the stack has no room for it.
#[unsafe(no_mangle)]
static NEW_SOCKET: Socket = Socket::NEW;

#[map]
static SOCKETS: LruHashMap<u64, Socket> = LruHashMap::with_max_entries(MAX_SOCKETS, 0);

/// Returns the state of a socket, or `None` where it is not known.
#[inline(always)]
pub fn find(cookie: u64) -> Option<*mut Socket> {
    SOCKETS.get_ptr_mut(cookie)
}

/// Returns the state of a socket, which begins with nothing known. `None` where the map refuses.
#[inline(always)]
pub fn find_or_add(cookie: u64) -> Option<*mut Socket> {
    if let Some(socket) = find(cookie) {
        return Some(socket);
    }
    // On failure the look-up below fails too, and the caller goes on without a memory.
    let _ = SOCKETS.insert(cookie, &NEW_SOCKET, 0);
    find(cookie)
}

/// Remembers the process whose snapshot was written.
#[inline(always)]
pub fn set_writer(socket: *mut Socket, task: &Task) {
    // SAFETY: the pointer is to a map value, which lives as long as the program runs.
    unsafe { (*socket).writer = task.process() };
}
