//! Allow-list of the caller's arguments that a suggested command may repeat.
//!
//! The caller chose its arguments, and whoever pastes the command runs it with a token in it and
//! perhaps as root. So options and their values are both listed by what they can do: what could
//! write, read, execute or load something, or send the token to another host, is not on the list.
//! An option that a later version of a tool gives a new meaning is then left out by itself.

/// Options of a tool that do nothing but send a request and print the response.
struct OptionTable {
    /// Options of one letter without a value.
    flags: &'static str,
    /// Options of one letter with a value.
    valued: &'static [(char, Value)],
    /// Long options without a value.
    long_flags: &'static [&'static str],
    /// Long options with a value.
    long_valued: &'static [(&'static str, Value)],
    /// Whether the response goes to a file unless an option says otherwise.
    writes_file: bool,
}

/// The form that an option's value must have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    /// A decimal number of seconds or attempts.
    Number,
    /// A method.
    Method,
    /// `Name: value`, or `Name;` for an empty value.
    Header,
    /// Text that the tool sends as it is; curl reads a file behind an `@`.
    Text,
    /// Host names, addresses and `*`, separated by commas.
    Hosts,
    /// curl's output format, of plain words and [`WRITE_OUT`]'s variables. The language also has
    /// `%output{FILE}`, which writes a file (curl 8.3.0).
    WriteOut,
    /// The place of the response: the terminal or nowhere.
    Output,
}

const CURL: OptionTable = OptionTable {
    flags: "sSfiIvgkN46q#",
    valued: &[
        ('H', Value::Header),
        ('A', Value::Text),
        ('X', Value::Method),
        ('m', Value::Number),
        ('u', Value::Text),
        ('w', Value::WriteOut),
        ('o', Value::Output),
    ],
    long_flags: &["silent", "show-error", "fail", "include", "head", "verbose", "globoff", "get"],
    long_valued: &[
        ("header", Value::Header),
        ("user-agent", Value::Text),
        ("request", Value::Method),
        ("max-time", Value::Number),
        ("connect-timeout", Value::Number),
        ("user", Value::Text),
        ("write-out", Value::WriteOut),
        ("retry", Value::Number),
        ("retry-delay", Value::Number),
        ("noproxy", Value::Hosts),
        ("output", Value::Output),
    ],
    writes_file: false,
};

const WGET: OptionTable = OptionTable {
    flags: "qvS46",
    valued: &[
        ('U', Value::Text),
        ('t', Value::Number),
        ('T', Value::Number),
        ('w', Value::Number),
        ('O', Value::Output),
    ],
    long_flags: &["quiet", "verbose", "server-response", "no-proxy", "no-verbose"],
    long_valued: &[
        ("header", Value::Header),
        ("user-agent", Value::Text),
        ("timeout", Value::Number),
        ("tries", Value::Number),
        ("method", Value::Method),
        ("wait", Value::Number),
        ("output-document", Value::Output),
    ],
    writes_file: true,
};

/// Variables of curl's `--write-out` that name a number, an address or a type.
const WRITE_OUT: [&str; 12] = [
    "http_code",
    "response_code",
    "http_version",
    "content_type",
    "remote_ip",
    "remote_port",
    "size_download",
    "time_connect",
    "time_starttransfer",
    "time_total",
    "num_redirects",
    "exitcode",
];
/// The longest method that is repeated.
const MAX_METHOD: usize = 16;

/// Returns whether the arguments of curl or wget only send requests to `service`
/// (`http://ADDRESS`) and print the responses to the terminal or nowhere.
pub(super) fn is_read_only_command(program: &str, args: &[String], service: &str) -> bool {
    let options = match program {
        "curl" => CURL,
        "wget" => WGET,
        _ => return false,
    };
    let mut has_output = false;
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        let option = match (arg.strip_prefix("--"), arg.strip_prefix('-')) {
            (Some(long), _) => options.long(long, &mut args),
            (None, Some(letters)) => options.letters(letters, &mut args),
            (None, None) if is_url_of(arg, service) => continue,
            (None, None) => return false,
        };
        match option {
            Some(Given::Flag) => {}
            Some(Given::Value(kind, value)) if kind.allows(value) => {
                has_output |= kind == Value::Output;
            }
            Some(Given::Value(..)) | None => return false,
        }
    }
    has_output || !options.writes_file
}

/// An option on a command line.
enum Given<'a> {
    Flag,
    Value(Value, &'a str),
}

impl OptionTable {
    fn long<'a>(
        &self,
        option: &'a str,
        args: &mut impl Iterator<Item = &'a str>,
    ) -> Option<Given<'a>> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        if value.is_none() && self.long_flags.contains(&name) {
            return Some(Given::Flag);
        }
        let (_, kind) = self.long_valued.iter().find(|(known, _)| *known == name)?;
        Some(Given::Value(*kind, value.or_else(|| args.next())?))
    }

    fn letters<'a>(
        &self,
        letters: &'a str,
        args: &mut impl Iterator<Item = &'a str>,
    ) -> Option<Given<'a>> {
        let Some(at) = letters.find(|letter| !self.flags.contains(letter)) else {
            return (!letters.is_empty()).then_some(Given::Flag);
        };
        let mut rest = letters.get(at..)?.chars();
        let letter = rest.next()?;
        let (_, kind) = self.valued.iter().find(|(known, _)| *known == letter)?;
        let attached = Some(rest.as_str()).filter(|value| !value.is_empty());
        Some(Given::Value(*kind, attached.or_else(|| args.next())?))
    }
}

impl Value {
    fn allows(self, value: &str) -> bool {
        match self {
            Self::Number => {
                !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            }
            Self::Method => {
                (1..=MAX_METHOD).contains(&value.len())
                    && value.bytes().all(|byte| byte.is_ascii_alphabetic())
            }
            Self::Header => is_header(value),
            Self::Text => !value.starts_with('@'),
            Self::Hosts => {
                value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".,:*-".contains(&byte))
            }
            Self::WriteOut => is_write_out(value),
            Self::Output => matches!(value, "-" | "/dev/null"),
        }
    }
}

fn is_header(value: &str) -> bool {
    let Some(end) = value.find([':', ';']) else { return false };
    let name = value.get(..end).unwrap_or_default();
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_write_out(format: &str) -> bool {
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        let variable = rest.strip_prefix("%{").and_then(|rest| rest.split_once('}'));
        let escape = ["\\n", "\\r", "\\t"].iter().find_map(|escape| rest.strip_prefix(escape));
        rest = match (variable, escape) {
            (Some((name, after)), _) if WRITE_OUT.contains(&name) => after,
            (None, Some(after)) => after,
            (None, None) if first.is_ascii_alphanumeric() || " :=,._/-".contains(first) => {
                rest.get(1..).unwrap_or_default()
            }
            _ => return false,
        };
    }
    true
}

/// Returns whether a URL is the service's.
fn is_url_of(url: &str, service: &str) -> bool {
    let host = service.strip_prefix("http://").unwrap_or(service);
    let url = url.strip_prefix("http://").unwrap_or(url);
    let rest = url.strip_prefix(host).map(|rest| rest.strip_prefix(":80").unwrap_or(rest));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_read_only(line: &str) -> bool {
        let mut words = line.split('~').map(str::to_owned);
        let program = words.next().unwrap();
        let args: Vec<_> = words.collect();
        is_read_only_command(&program, &args, "http://169.254.169.254")
    }

    #[test]
    fn what_only_sends_a_request_may_be_repeated() {
        for line in [
            "curl~-s~http://169.254.169.254/latest/",
            "curl~-sSfm~5~-H~a:b~-o~/dev/null~169.254.169.254:80/x",
            "curl~--silent~--max-time=3~--header~a: b~-w~%{http_code}~http://169.254.169.254",
            "curl~-w~code %{http_code} in %{time_total}\\n~http://169.254.169.254",
            "curl~-w%{http_code}~-XGET~http://169.254.169.254",
            "curl~-Aagent~-o-~http://169.254.169.254/x",
            "curl~--noproxy~*~--retry~3~http://169.254.169.254/x",
            "wget~-qO-~http://169.254.169.254/x",
            "wget~-q~-O~-~--header=a:b~-T~3~http://169.254.169.254/x",
        ] {
            assert!(is_read_only(line), "{line}");
        }
    }

    #[test]
    fn what_writes_reads_executes_or_loads_or_goes_to_another_host_may_not() {
        let service = "http://169.254.169.254/x";
        for arguments in [
            // Other hosts.
            "http://host/",
            "http://169.254.169.254@host/",
            "http://169.254.169.254:80@host/",
            "http://169.254.169.254.host/",
            "http://169.254.169.254\\@host/",
            "host/169.254.169.254/",
            "file:///etc/shadow",
            "-x~host:1",
            "--proxy~host:1",
            "--preproxy~host:1",
            "-L",
            "--location-trusted",
            "--url~http://host/",
            "--resolve~169.254.169.254:80:1.1.1.1",
            "--connect-to~::host",
            "--unix-socket~/run/docker.sock",
            "--abstract-unix-socket~x",
            "--interface~eth0",
            "--doh-url~https://host/",
            "--next",
            "-:",
            // Files that are written.
            "-o~/etc/cron.d/x",
            "-so/etc/x",
            "--output=/etc/x",
            "--output-dir~/etc",
            "-O",
            "-J",
            "--remote-name-all",
            "-D~/etc/x",
            "-c~/etc/x",
            "--trace~/etc/x",
            "--trace-ascii~/etc/x",
            "--stderr~/etc/x",
            "--libcurl~/etc/x",
            "--etag-save~/etc/x",
            "--hsts~/etc/x",
            "--alt-svc~/etc/x",
            "-w~%output{/etc/cron.d/x}* * * * * root id\\n",
            "-w%output{>>/root/.ssh/authorized_keys}ssh-ed25519 AAAA",
            "--write-out~%output{/etc/x}",
            "--write-out=%output{/etc/x}",
            "--write-out~%{http_code}%output{/etc/x}",
            "--write-out~%{stderr}%{json}",
            "-w~@/etc/x",
            "-w~%header{x}",
            "-w~%",
            "-w~%{http_code",
            // Files that are read, and what is sent of them.
            "-K~x",
            "--config~/tmp/x",
            "-T~/etc/shadow",
            "-d~@/etc/shadow",
            "--data-binary~@/etc/shadow",
            "--json~@/etc/shadow",
            "-F~a=@/etc/shadow",
            "-H~@/etc/shadow",
            "-H~X-A",
            "--header~@/etc/shadow",
            "-A~@/etc/shadow",
            "-b~/etc/shadow",
            "-n",
            "--netrc-file~/tmp/x",
            "-E~/etc/ssl/private/key.pem",
            "--cert~/etc/ssl/private/key.pem",
            "--cacert~/tmp/x",
            "--capath~/tmp",
            "--key~/tmp/x",
            "--variable~x@/etc/shadow",
            "--expand-url~http://host/{{x}}",
            // What loads code.
            "--engine~/tmp/x.so",
            "--random-file~/tmp/x",
            // Values with a language of their own.
            "-m~5;id",
            "-X~GET /x HTTP/1.1",
            "-X~",
            "--noproxy~$(id)",
            // What has no value, is unknown, or is abbreviated.
            "-o",
            "-",
            "--",
            "--write-o~x",
            "--no-silent",
        ] {
            let line = format!("curl~{arguments}~{service}");
            assert!(!is_read_only(&line), "{line}");
        }
        for arguments in [
            "-q",
            "--header=Origin: x",
            "-O~/etc/x",
            "-qO/etc/x",
            "--output-document=/etc/x",
            "-i~/etc/x~-O-",
            "-P~/etc~-O-",
            "-O-~-e~use_proxy=yes",
            "-O-~--config=/tmp/x",
            "-O-~--post-file=/etc/shadow",
            "-O-~--body-file=/etc/shadow",
            "-O-~--use-askpass=/tmp/x",
            "-O-~--ca-certificate=/tmp/x",
            "-O-~--load-cookies=/tmp/x",
            "-O-~--save-cookies=/tmp/x",
            "-O-~-o~/etc/x",
            "-O-~-a~/etc/x",
            "-O-~--warc-file=/etc/x",
            "-O-~-r",
            "-O-~--execute=robots=off",
        ] {
            let line = format!("wget~{arguments}~{service}");
            assert!(!is_read_only(&line), "{line}");
        }
        assert!(!is_read_only("tool~http://169.254.169.254/x"));
    }
}
