//! The AWS CLI's operation at hand and the members that it takes a secret in.

use super::aws_members::SERVICES;

/// An operation of the AWS CLI, as far as its words have come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Operation {
    /// The lines of the service.
    service: &'static str,
    /// The members of the operation.
    members: &'static str,
}

impl Operation {
    /// Reads a word that is no option: the service, and then its operation.
    pub(crate) fn word(&mut self, word: &[u8]) {
        let is_name =
            |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        if !self.members.is_empty()
            || word.len() < 2
            || word.len() > 64
            || !word.iter().all(is_name)
        {
            return;
        }
        if let Some(members) = self.operation(word) {
            self.members = members;
        } else if let Some(lines) = service(word) {
            self.service = lines;
        }
    }

    /// Returns whether it takes a secret under this name, at the top or inside of other members.
    pub(crate) fn is_member(&self, name: &[u8]) -> bool {
        !self.members.is_empty()
            && self.members.split(' ').any(|member| {
                member.strip_prefix('+').unwrap_or(member).as_bytes().eq_ignore_ascii_case(name)
            })
    }

    /// Returns what is left of it behind the end of its command: text that was read as its own
    /// may stand around it.
    pub(crate) const fn ended(self) -> Self {
        Self { service: "", ..self }
    }

    /// Returns where the value begins of an option that takes a secret.
    pub(crate) fn option(&self, option: &[u8]) -> Option<usize> {
        let end = memchr::memchr(b'=', option).unwrap_or(option.len());
        let name = option.get(..end)?.strip_prefix(b"--")?;
        let at = if end < option.len() { end + 1 } else { end };
        let mut top = self.members.split(' ').filter(|member| !member.starts_with('+'));
        top.any(|member| !member.is_empty() && is_same(name, member)).then_some(at)
    }

    fn operation(&self, word: &[u8]) -> Option<&'static str> {
        self.service.lines().find_map(|line| {
            let (operation, members) = line.split_once(' ')?;
            (operation.as_bytes() == word).then_some(members)
        })
    }
}

/// Returns the lines of a service.
fn service(word: &[u8]) -> Option<&'static str> {
    let place = SERVICES.binary_search_by_key(&word, |(name, _)| name.as_bytes()).ok()?;
    SERVICES.get(place).map(|(_, lines)| *lines)
}

/// Returns whether the name of an option is a member's, which has no hyphens.
fn is_same(option: &[u8], member: &str) -> bool {
    let mut letters = option.iter().filter(|byte| **byte != b'-');
    let matches =
        member.bytes().all(|want| letters.next().is_some_and(|b| b.eq_ignore_ascii_case(&want)));
    matches && letters.next().is_none()
}
