//! Which of a caller's own arguments a person may be given to paste.
//!
//! Whoever made the request chose them, and the command runs with the token in it and perhaps as
//! root: an argument that writes or reads a file, or that sends the token to another host, would
//! do so for the caller.

/// What the options of a tool do, as far as they are known to do nothing but ask.
struct Options {
    /// Options of one letter without a value.
    flags: &'static str,
    /// Options of one letter with a value.
    valued: &'static str,
    /// Options of one letter whose value is the file for the answer.
    output: char,
    /// Long options without a value.
    long: &'static [&'static str],
    /// Long options with a value.
    long_valued: &'static [&'static str],
    /// The long option whose value is the file for the answer.
    long_output: &'static str,
}

const CURL: Options = Options {
    flags: "sSfiIvgkN46q#",
    valued: "HAXmuw",
    output: 'o',
    long: &["silent", "show-error", "fail", "include", "head", "verbose", "globoff", "get"],
    long_valued: &[
        "header",
        "user-agent",
        "request",
        "max-time",
        "connect-timeout",
        "user",
        "write-out",
        "retry",
        "retry-delay",
        "noproxy",
    ],
    long_output: "output",
};

const WGET: Options = Options {
    flags: "qvS46",
    valued: "UtTw",
    output: 'O',
    long: &["quiet", "verbose", "server-response", "no-proxy", "no-verbose"],
    long_valued: &["header", "user-agent", "timeout", "tries", "method", "wait"],
    long_output: "output-document",
};

/// Says whether arguments of curl or wget do nothing but ask `service` (`http://ADDRESS`), and
/// write what it answers to the terminal or nowhere.
pub(super) fn only_asks(program: &str, args: &[String], service: &str) -> bool {
    let options = match program {
        "curl" => CURL,
        "wget" => WGET,
        _ => return false,
    };
    // Without that option it writes a file of a name that the caller chose.
    if program == "wget" && !args.iter().any(|arg| arg.starts_with('-') && arg.contains('O')) {
        return false;
    }
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        let harmless = match (arg.strip_prefix("--"), arg.strip_prefix('-')) {
            (Some(long), _) => options.long(long, &mut args),
            (None, Some(letters)) => options.letters(letters, &mut args),
            (None, None) => is_of(arg, service),
        };
        if !harmless {
            return false;
        }
    }
    true
}

impl Options {
    fn long<'a>(&self, option: &'a str, args: &mut impl Iterator<Item = &'a str>) -> bool {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        if value.is_none() && self.long.contains(&name) {
            return true;
        }
        let is_output = name == self.long_output;
        (is_output || self.long_valued.contains(&name))
            && value.or_else(|| args.next()).is_some_and(|value| is_value(value, is_output))
    }

    fn letters<'a>(&self, letters: &'a str, args: &mut impl Iterator<Item = &'a str>) -> bool {
        let Some(at) = letters.find(|letter| !self.flags.contains(letter)) else {
            return !letters.is_empty();
        };
        let mut rest = letters.get(at..).unwrap_or_default().chars();
        let Some(letter) = rest.next() else { return false };
        let is_output = letter == self.output;
        let glued = Some(rest.as_str()).filter(|value| !value.is_empty());
        (is_output || self.valued.contains(letter))
            && glued.or_else(|| args.next()).is_some_and(|value| is_value(value, is_output))
    }
}

/// Says whether an option's value names no file: curl reads one behind an `@`.
fn is_value(value: &str, is_output: bool) -> bool {
    if is_output { matches!(value, "-" | "/dev/null") } else { !value.starts_with('@') }
}

/// Says whether a URL is the service's.
fn is_of(url: &str, service: &str) -> bool {
    let host = service.strip_prefix("http://").unwrap_or(service);
    let url = url.strip_prefix("http://").unwrap_or(url);
    let rest = url.strip_prefix(host).map(|rest| rest.strip_prefix(":80").unwrap_or(rest));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(line: &str) -> bool {
        let mut words = line.split(' ').map(str::to_owned);
        let program = words.next().unwrap();
        only_asks(&program, &words.collect::<Vec<_>>(), "http://169.254.169.254")
    }

    #[test]
    fn what_only_asks_may_be_pasted() {
        for line in [
            "curl -s http://169.254.169.254/latest/",
            "curl -sSfm 5 -H a:b -o /dev/null 169.254.169.254:80/x",
            "curl --silent --max-time=3 --header a:b -w %{http_code} http://169.254.169.254",
            "curl -Aagent -o- http://169.254.169.254/x",
            "wget -qO- http://169.254.169.254/x",
            "wget -q -O - --header=a:b -T 3 http://169.254.169.254/x",
        ] {
            assert!(asks(line), "{line}");
        }
    }

    #[test]
    fn what_writes_or_reads_a_file_or_asks_another_host_may_not() {
        for line in [
            "curl -s http://169.254.169.254/x http://host/",
            "curl http://169.254.169.254@host/",
            "curl http://169.254.169.254.host/",
            "curl host/169.254.169.254/",
            "curl -o /etc/cron.d/x http://169.254.169.254/x",
            "curl -so/etc/x http://169.254.169.254/x",
            "curl --output=/etc/x http://169.254.169.254/x",
            "curl -O http://169.254.169.254/x",
            "curl -K x http://169.254.169.254/x",
            "curl -x host:1 http://169.254.169.254/x",
            "curl -L http://169.254.169.254/x",
            "curl -T /etc/shadow http://169.254.169.254/x",
            "curl -d @/etc/shadow http://169.254.169.254/x",
            "curl -H @/etc/shadow http://169.254.169.254/x",
            "curl --resolve 169.254.169.254:80:1.1.1.1 http://169.254.169.254/x",
            "curl --connect-to ::host http://169.254.169.254/x",
            "curl -D /etc/x http://169.254.169.254/x",
            "curl -o",
            "curl - http://169.254.169.254/x",
            "wget -q http://169.254.169.254/x",
            "wget http://169.254.169.254/x -O /etc/x",
            "wget -i /etc/x http://169.254.169.254/x",
            "wget -P /etc http://169.254.169.254/x",
            "tool http://169.254.169.254/x",
        ] {
            assert!(!asks(line), "{line}");
        }
    }
}
