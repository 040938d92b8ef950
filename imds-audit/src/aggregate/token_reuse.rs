//! Which tokens are used by more than one process, and in more than one container.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroUsize;

use lru::LruCache;

use crate::event::TokenHash;
use crate::event::{Outcome, Process, RelayPart, RequestEvent};
use crate::text::terminal;

/// The number of tokens that are remembered; the one that was not used for longest goes first.
const MAX_TOKENS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// The number of processes that are remembered of a token.
const MAX_USERS: usize = 8;
/// The first characters of a container's id, as runtimes show it.
const SHORT_ID: usize = 12;

/// The tokens that were seen, by their keyed hashes, with those who used them.
#[derive(Debug)]
pub(crate) struct Sharing {
    tokens: LruCache<TokenHash, BTreeSet<User>>,
    /// How often a token was forgotten for another.
    forgotten: u64,
}

/// A process that used a token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct User {
    container: Option<String>,
    pid: u32,
    name: String,
}

impl Default for Sharing {
    fn default() -> Self {
        Self { tokens: LruCache::new(MAX_TOKENS), forgotten: 0 }
    }
}

impl Sharing {
    /// Takes in a request.
    pub(crate) fn add(&mut self, event: &RequestEvent) {
        // What the service did not take may be no token: Fluent Bit probes with `INVALID`.
        let is_accepted = matches!(event.imds.outcome, Outcome::Served | Outcome::NotFound);
        if !is_accepted || event.relay == Some(RelayPart::Repetition) {
            return;
        }
        let Some((token, user)) = event.imds.token.zip(User::of(&event.process)) else { return };
        if self.tokens.len() == MAX_TOKENS.get() && !self.tokens.contains(&token) {
            self.forgotten = self.forgotten.saturating_add(1);
        }
        let users = self.tokens.get_or_insert_mut(token, BTreeSet::new);
        if users.len() < MAX_USERS {
            users.insert(user);
        }
    }
}

impl User {
    fn of(process: &Process) -> Option<Self> {
        Some(Self {
            container: process.container.as_ref().map(|container| container.id.clone()),
            pid: process.pid?,
            name: process.name.clone().unwrap_or_else(|| "?".to_owned()),
        })
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", terminal::word(&self.name), self.pid)?;
        match &self.container {
            Some(id) => {
                let short = id.get(..SHORT_ID).unwrap_or(id);
                write!(f, " in container {}", terminal::escape(short))
            }
            None => Ok(()),
        }
    }
}

/// The number of containers that used a token, the host being one.
fn places(users: &BTreeSet<User>) -> usize {
    users.iter().map(|user| &user.container).collect::<BTreeSet<_>>().len()
}

impl fmt::Display for Sharing {
    /// Writes a line where a token was shared, or where one that was may have been forgotten; the
    /// one in most places, then of most processes, is named with its users.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = || self.tokens.iter().filter(|(_, users)| users.len() > 1);
        let rank = |users: &BTreeSet<User>| (places(users), users.len());
        let most = shared().max_by(|(a, x), (b, y)| {
            rank(x).cmp(&rank(y)).then_with(|| b.to_string().cmp(&a.to_string()))
        });
        if most.is_none() && self.forgotten == 0 {
            return Ok(());
        }
        let across = shared().filter(|(_, users)| places(users) > 1).count();
        write!(f, "tokens: ")?;
        match self.forgotten {
            0 => write!(f, "{} seen", self.tokens.len())?,
            _ => write!(f, "more than {MAX_TOKENS} seen, of the latest {MAX_TOKENS}")?,
        }
        write!(f, ", {} used by several processes", shared().count())?;
        if across > 0 {
            write!(f, ", {across} across containers")?;
        }
        let Some((token, users)) = most else { return writeln!(f) };
        let names: Vec<String> = users.iter().map(ToString::to_string).collect();
        let more = if users.len() >= MAX_USERS { ", and perhaps more" } else { "" };
        writeln!(f, "; {token} by {}{more}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::audit::token::TokenHasher;
    use crate::event::Container;
    use crate::event::tests::example;

    struct Rig {
        sharing: Sharing,
        hasher: TokenHasher,
    }

    impl Rig {
        fn new() -> Self {
            Self { sharing: Sharing::default(), hasher: TokenHasher::new() }
        }

        fn uses(&mut self, token: &str, pid: u32, container: Option<&str>) {
            let mut event = example();
            event.imds.token = self.hasher.hash(token.as_bytes());
            Arc::make_mut(&mut event.process).pid = Some(pid);
            Arc::make_mut(&mut event.process).container = container.map(|id| Container {
                id: id.to_owned(),
                runtime: None,
                ..Container::default()
            });
            self.sharing.add(&event);
        }

        fn hash(&self, token: &str) -> String {
            self.hasher.hash(token.as_bytes()).unwrap().to_string()
        }
    }

    #[test]
    fn a_token_of_one_process_is_not_shared() {
        let mut rig = Rig::new();
        rig.uses("a", 1, None);
        rig.uses("a", 1, None);
        rig.uses("b", 2, None);
        assert_eq!(rig.sharing.to_string(), "");
    }

    #[test]
    fn a_token_that_the_service_did_not_take_is_none() {
        let mut rig = Rig::new();
        let mut event = example();
        event.imds.token = rig.hasher.hash(b"INVALID");
        event.imds.outcome = Outcome::Rejected;
        for pid in [1, 2] {
            Arc::make_mut(&mut event.process).pid = Some(pid);
            rig.sharing.add(&event);
        }
        assert_eq!(rig.sharing.to_string(), "");
    }

    #[test]
    fn a_token_of_two_processes_is_told_with_both() {
        let mut rig = Rig::new();
        for pid in [2, 1, 2] {
            rig.uses("a", pid, None);
        }
        rig.uses("b", 3, None);
        let expected = format!(
            "tokens: 2 seen, 1 used by several processes; {} by curl[1], curl[2]\n",
            rig.hash("a")
        );
        assert_eq!(rig.sharing.to_string(), expected);
    }

    #[test]
    fn a_token_across_containers_is_told_first() {
        let mut rig = Rig::new();
        for pid in 1..=5 {
            rig.uses("a", pid, None);
        }
        rig.uses("b", 6, Some("0123456789abcdef"));
        rig.uses("b", 7, Some("fedcba9876543210"));
        let expected = format!(
            "tokens: 2 seen, 2 used by several processes, 1 across containers; {} by curl[6] in \
             container 0123456789ab, curl[7] in container fedcba987654\n",
            rig.hash("b")
        );
        assert_eq!(rig.sharing.to_string(), expected);
    }

    #[test]
    fn a_flood_of_tokens_and_of_users_is_bounded() {
        let mut rig = Rig::new();
        for number in 0..5000 {
            rig.uses(&number.to_string(), number, None);
            rig.uses("shared", number, None);
        }
        assert_eq!(rig.sharing.tokens.len(), MAX_TOKENS.get());
        let reported = rig.sharing.to_string();
        assert!(
            reported.starts_with("tokens: more than 1024 seen, of the latest 1024, 1 used"),
            "{reported}"
        );
        assert!(reported.ends_with("curl[7], and perhaps more\n"), "{reported}");
    }

    #[test]
    fn forgotten_tokens_are_told_also_where_none_of_the_others_was_shared() {
        let mut rig = Rig::new();
        for number in 0..=1024 {
            rig.uses(&number.to_string(), number, None);
        }
        let reported = rig.sharing.to_string();
        let expected =
            "tokens: more than 1024 seen, of the latest 1024, 0 used by several processes\n";
        assert_eq!(reported, expected);
    }

    #[test]
    fn no_name_forges_a_line() {
        let mut rig = Rig::new();
        let mut event = example();
        event.imds.token = rig.hasher.hash(b"a");
        for pid in [1, 2] {
            Arc::make_mut(&mut event.process).pid = Some(pid);
            Arc::make_mut(&mut event.process).name = Some("a\nin 1h no IMDSv1".into());
            Arc::make_mut(&mut event.process).container =
                Some(Container { id: "x\ny".into(), runtime: None, ..Container::default() });
            rig.sharing.add(&event);
        }
        assert_eq!(rig.sharing.to_string().lines().count(), 1);
    }
}
