//! What one argument of a process says of the next ones.

use super::{
    Scan,
    key::{self, Bare, Key},
    value::{self, Extent},
    work,
};

/// What an argument says of the one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Nothing.
    Nothing,
    /// It is a secret (`--password X`).
    Option,
    /// It is a secret behind its first colon (`-u user:X`).
    Login,
    /// It is a cookie or the name of a file (`--cookie a=X`).
    Cookie,
    /// It is a proxy, perhaps with a login before its host (`-x user:X@host`).
    Proxy,
    /// It is a secret if it is long (`aws_secret_access_key X`), or long and looks like one
    /// (`token X`).
    Bare(Bare),
    /// It is a secret unless it is an option (`-p X`).
    Password,
    /// It is a secret, even where it looks like an option.
    AnyPassword,
    /// It is a secret, if the shell split a header that was not quoted (`Cookie: X`).
    Header,
    /// It and as many behind it fill the places of a format, one of which is a secret's.
    Places(usize),
}

/// Returns whether an argument announces a script: `-c`, `-lc`, `-e`.
pub fn is_script_flag(argument: &[u8]) -> bool {
    match argument {
        [b'-', flags @ .., last] => {
            matches!(last, b'c' | b'e')
                && flags.len() < 4
                && flags.iter().all(u8::is_ascii_alphabetic)
        }
        _ => false,
    }
}

impl Scan<'_> {
    /// Redacts an argument and returns what it says of the next.
    pub fn argument(&mut self, pending: Pending) -> Pending {
        if let Some(next) = self.awaited(pending) {
            return next;
        }
        let (bytes, letter) = (self.bytes, self.command.letter);
        self.run(0);
        match (bytes, letter) {
            ([b'-', option], Some(letter)) if *option == letter.byte => {
                if letter.takes_any {
                    Pending::AnyPassword
                } else {
                    Pending::Password
                }
            }
            ([b'-', option, ..], Some(letter)) if *option == letter.byte && self.changed => {
                Pending::Nothing
            }
            _ if self.places > 0 && self.whole => Pending::Places(self.places),
            _ => self.announced(),
        }
    }

    /// Redacts an argument that the one before it announced; `None` where it is another.
    fn awaited(&mut self, pending: Pending) -> Option<Pending> {
        let bytes = self.bytes;
        let is_option = bytes.starts_with(b"-");
        let is_secret = match pending {
            Pending::Nothing => false,
            Pending::Option | Pending::Places(_) => !bytes.starts_with(b"--"),
            Pending::AnyPassword => true,
            Pending::Password => !is_option && !value::is_ports(bytes),
            Pending::Bare(bare) => value::is_bare(bytes, 0, bare),
            Pending::Header if value::is_scheme(bytes) => return Some(Pending::Header),
            Pending::Header => !is_option && work::find(bytes, b"://").is_none(),
            Pending::Cookie => !is_option && value::is_cookie(bytes, 0),
            Pending::Login => {
                let is_url = work::find(bytes, b"://").is_some();
                let colon = memchr::memchr(b':', bytes).filter(|_| !is_url)?;
                self.remove(colon + 1, bytes.len());
                return Some(Pending::Nothing);
            }
            Pending::Proxy => self.proxy_login(Extent { start: 0, end: bytes.len() }),
        };
        if !is_secret {
            return None;
        }
        match pending {
            Pending::Proxy => {}
            Pending::Header | Pending::Cookie | Pending::Places(_) => self.secret(0, bytes.len()),
            _ => self.remove(0, bytes.len()),
        }
        Some(match pending {
            Pending::Places(more @ 2..) => Pending::Places(more - 1),
            _ => Pending::Nothing,
        })
    }

    /// Returns what this argument says of the next one.
    fn announced(&self) -> Pending {
        let bytes = self.bytes;
        match self.takes(bytes) {
            Pending::Nothing => {}
            taken => return taken,
        }
        let is_name = key::run(bytes, 0) == bytes.len();
        if is_name && let Some(bare) = Bare::of(bytes) {
            return Pending::Bare(bare);
        }
        if is_name && bytes.starts_with(b"-") && Key::of(bytes).is_some() {
            return Pending::Option;
        }
        let name = match bytes.split_last() {
            Some((b':', name)) if self.whole => name,
            _ => return Pending::Nothing,
        };
        let header = key::run(name, 0) == name.len() && Key::of(name).is_some();
        if header { Pending::Header } else { Pending::Nothing }
    }
}
