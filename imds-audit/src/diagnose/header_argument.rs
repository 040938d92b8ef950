//! The token's header on a tool's command line, and mistakes in it.
//!
//! The request shows the bytes that were sent; the arguments show that the author meant IMDSv2.

use super::diagnosis::HeaderMistake;
use crate::classify::{self, TOKEN_HEADER};
use crate::redact;

/// The token's header, as an argument that the tool does not send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DroppedHeader {
    /// It has no value; curl and HTTPie then leave it out.
    Empty,
    /// It has a mistake.
    Mistaken(HeaderMistake),
}

/// Returns how the token's header stands in arguments of curl or HTTPie, where they would leave
/// it out of the request.
pub(super) fn dropped(args: &[String]) -> Option<DroppedHeader> {
    args.iter().enumerate().find_map(|(place, arg)| {
        let header = header(arg);
        // Without quotes the shell splits it too, and the tool takes the token for a URL.
        let is_split = header.trim_ascii_end().ends_with(':')
            && args.get(place + 1).is_some_and(|next| is_marked(next));
        dropped_by(header).map(|dropped| match dropped {
            DroppedHeader::Empty if is_split => DroppedHeader::Mistaken(HeaderMistake::Split),
            dropped => dropped,
        })
    })
}

/// Returns whether an argument is a secret that was removed, perhaps with a quote behind it.
fn is_marked(arg: &str) -> bool {
    arg.trim_end_matches(['"', '\'']).as_bytes() == redact::MARK
}

/// Returns whether an argument names the token's header, rightly or nearly.
pub(super) fn mentions_token_header(arg: &str) -> bool {
    let letters: String = arg
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    let name = header(arg).split([':', ';', '=']).next().unwrap_or_default();
    letters.contains("metadatatoken") || classify::misnamed(name.as_bytes()).is_some()
}

/// Returns the header in an argument, without an option that is attached to it.
fn header(arg: &str) -> &str {
    let attached = arg.strip_prefix("--header=").or_else(|| arg.strip_prefix("-H"));
    attached.unwrap_or(arg).trim_ascii_start()
}

fn dropped_by(header: &str) -> Option<DroppedHeader> {
    let unquoted = header.trim_start_matches(['"', '\'']);
    let is_quoted = unquoted.len() < header.len();
    let (name, rest) = unquoted.split_at_checked(TOKEN_HEADER.len())?;
    if !name.as_bytes().eq_ignore_ascii_case(TOKEN_HEADER) {
        return None;
    }
    let mistake = |mistake| Some(DroppedHeader::Mistaken(mistake));
    match (rest.strip_prefix(':'), is_quoted) {
        (_, true) => mistake(HeaderMistake::Split),
        (Some(value), false) if value.trim_ascii().is_empty() => Some(DroppedHeader::Empty),
        (Some(_), false) => None,
        (None, false) if rest.is_empty() || rest.starts_with([' ', '=']) => {
            mistake(HeaderMistake::NoColon)
        }
        (None, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_the_tool_leaves_out_is_found_with_its_mistake() {
        use DroppedHeader::{Empty, Mistaken};
        for (args, expected) in [
            (&["-H", "X-aws-ec2-metadata-token: "][..], Some(Empty)),
            (&["-HX-aws-ec2-metadata-token:"], Some(Empty)),
            (&["--header=x-aws-EC2-metadata-token:"], Some(Empty)),
            (&["-H", "\"X-aws-ec2-metadata-token:", "t\""], Some(Mistaken(HeaderMistake::Split))),
            (&["-H", "'X-aws-ec2-metadata-token:", "t'"], Some(Mistaken(HeaderMistake::Split))),
            (
                &["-H", "X-aws-ec2-metadata-token:", "<redacted>", "http://x/"],
                Some(Mistaken(HeaderMistake::Split)),
            ),
            (&["-H", "X-aws-ec2-metadata-token:", "http://x/"], Some(Empty)),
            (&["--header", "X-aws-ec2-metadata-token:", "-s"], Some(Empty)),
            (&["-H", "X-aws-ec2-metadata-token t"], Some(Mistaken(HeaderMistake::NoColon))),
            (&["-H", "X-aws-ec2-metadata-token=t"], Some(Mistaken(HeaderMistake::NoColon))),
            (&["-H", "X-aws-ec2-metadata-token"], Some(Mistaken(HeaderMistake::NoColon))),
            // Sent unchanged, or another header.
            (&["-H", "X-aws-ec2-metadata-token: t"], None),
            (&["-H", "X-aws-ec2-metadata-token;"], None),
            (&["-H", "X-aws-ec2-metadata-token-ttl-seconds: 60"], None),
            (&["-H", "Accept: */*"], None),
            (&[], None),
        ] {
            let args: Vec<_> = args.iter().map(|&arg| arg.to_owned()).collect();
            assert_eq!(dropped(&args), expected, "{args:?}");
        }
    }

    #[test]
    fn an_argument_that_names_the_header_nearly_is_recognised() {
        for (arg, expected) in [
            ("X-aws-ec2-metadata-token: t", true),
            ("-HX-aws-metadata-token: t", true),
            ("\"X-aws-ec2-metadata-token:", true),
            ("aws-ec2-metadata-token: t", true),
            ("X-aws-ec2-metadata-token-ttl-seconds: 5", true),
            ("X-ec2-metadatatoken: t", true),
            ("Accept: */*", false),
            ("http://169.254.169.254/latest/api/token", false),
        ] {
            assert_eq!(mentions_token_header(arg), expected, "{arg}");
        }
    }
}
