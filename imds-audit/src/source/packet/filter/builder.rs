//! Builder of classic BPF programs: instructions, and jumps to labels.

use libc::{
    BPF_ABS, BPF_ALU, BPF_IND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX,
    BPF_MEM, BPF_RET, BPF_STX, BPF_W, sock_filter,
};

/// A place that jumps lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// A program in the making; jumps go forward only, as the kernel demands.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) code: Vec<sock_filter>,
    /// The jumps to each label that has no place yet.
    waiting: Vec<Vec<usize>>,
}

impl Builder {
    pub(super) fn load_beside(&mut self, what: u32) {
        self.op(BPF_LD | BPF_W | BPF_ABS, what);
    }

    pub(super) fn load_indexed(&mut self, size: u32, place: u32) {
        self.op(BPF_LD | size | BPF_IND, place);
    }

    pub(super) fn load_memory(&mut self, place: u32) {
        self.op(BPF_LD | BPF_MEM, place);
    }

    pub(super) fn load_index(&mut self, place: u32) {
        self.op(BPF_LDX | BPF_MEM, place);
    }

    pub(super) fn store_index(&mut self, place: u32) {
        self.op(BPF_STX, place);
    }

    pub(super) fn alu(&mut self, operation: u32, number: u32) {
        self.op(BPF_ALU | operation | BPF_K, number);
    }

    pub(super) fn ret(&mut self, length: u32) {
        self.op(BPF_RET | BPF_K, length);
    }

    pub(super) fn op(&mut self, code: u32, k: u32) {
        // A code has 16 bits.
        self.code.push(sock_filter { code: code as u16, jt: 0, jf: 0, k });
    }

    pub(super) fn label(&mut self) -> Label {
        self.waiting.push(Vec::new());
        Label(self.waiting.len() - 1)
    }

    /// Jumps may be far: a conditional one leads over, or to, one that is not.
    pub(super) fn jump_if_equal(&mut self, number: u32, to: Label) {
        self.op_jump(BPF_JMP | BPF_JEQ | BPF_K, number, Some(to), None);
    }

    pub(super) fn jump_unless_equal(&mut self, number: u32, to: Label) {
        self.op_jump(BPF_JMP | BPF_JEQ | BPF_K, number, None, Some(to));
    }

    pub(super) fn jump_if_set(&mut self, bits: u32, to: Label) {
        self.op_jump(BPF_JMP | BPF_JSET | BPF_K, bits, Some(to), None);
    }

    pub(super) fn jump_unless_at_least(&mut self, number: u32, to: Label) {
        self.op_jump(BPF_JMP | BPF_JGE | BPF_K, number, None, Some(to));
    }

    pub(super) fn op_jump(&mut self, code: u32, k: u32, yes: Option<Label>, no: Option<Label>) {
        // Over the jump that follows, or to it.
        let (jt, jf) = if yes.is_some() { (0, 1) } else { (1, 0) };
        self.code.push(sock_filter { code: code as u16, jt, jf, k });
        if let Some(to) = yes.or(no) {
            self.jump(to);
        }
    }

    pub(super) fn jump(&mut self, to: Label) {
        if let Some(waiting) = self.waiting.get_mut(to.0) {
            waiting.push(self.code.len());
        }
        self.op(BPF_JMP | BPF_JA, 0);
    }

    pub(super) fn place(&mut self, label: Label) {
        let here = self.code.len();
        let waiting = self.waiting.get_mut(label.0).map(std::mem::take).unwrap_or_default();
        for from in waiting {
            if let Some(jump) = self.code.get_mut(from) {
                // Forward, over what lies between.
                jump.k = u32::try_from(here - from - 1).unwrap_or(u32::MAX);
            }
        }
    }
}
