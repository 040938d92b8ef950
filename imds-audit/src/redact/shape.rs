//! Tokens that their own shape betrays, wherever they stand.
//!
//! A pass of its own: a token may stand in the middle of a word (`-tAQAE…`, `prefix_AQAE…`,
//! `%20AQAE…`), where no name begins.

use memchr::{memchr, memmem};

use super::{extent::Extent, scan_cost};

/// The least length of a token in bytes.
pub(super) const SHORTEST: usize = 20;

/// The longest name of an escape or an option that a token may be glued to, in bytes.
const LONGEST_PREFIX: usize = 2;

/// How far the first dot of a JSON web token is looked for, in bytes.
const LONGEST_HEADER: usize = 256;

/// The letters that a token is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Letters {
    /// Letters and digits.
    Alphanumeric,
    /// As in base64, in both of its alphabets.
    Base64,
    /// Base64 for URLs, in parts with a `.` between them.
    Dotted,
    /// Digits of hexadecimal numbers, in lower case.
    Hexadecimal,
}

/// One kind of token.
struct Shape {
    prefix: &'static [u8],
    /// The least length of the whole token.
    least: usize,
    letters: Letters,
    /// The prefix is so short that it also turns up by chance inside a longer word.
    is_common: bool,
}

const fn shape(prefix: &'static [u8], least: usize, letters: Letters) -> Shape {
    Shape { prefix, least, letters, is_common: false }
}

const fn common(prefix: &'static [u8], least: usize, letters: Letters) -> Shape {
    Shape { prefix, least, letters, is_common: true }
}

/// Starts of tokens, with the length from which a word counts as one. Those of AWS are not
/// documented. Access key ids (`AKIA…`, `ASIA…`) are identifiers and stay.
const SHAPES: &[Shape] = {
    use Letters::{Alphanumeric, Base64, Dotted, Hexadecimal};
    &[
        // Tokens of the metadata service, as it hands them out.
        shape(b"AQAE", 40, Base64),
        common(b"AQAA", 40, Base64),
        // Session tokens of AWS STS, as it hands them out.
        shape(b"IQoJb3JpZ2lu", 64, Base64),
        shape(b"FwoGZXIvYXdz", 64, Base64),
        shape(b"FQoGZXIvYXdz", 64, Base64),
        shape(b"FwoDYXdz", 64, Base64),
        // Requests and authorization tokens of Amazon EKS, ECR and Bedrock.
        shape(b"k8s-aws-v1.", 64, Dotted),
        shape(b"bedrock-api-key-", 64, Base64),
        // RFC 7519: a header and claims that are objects of JSON.
        common(b"eyJ", 32, Dotted),
        // https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
        shape(b"ghp_", 40, Alphanumeric),
        shape(b"gho_", 40, Alphanumeric),
        shape(b"ghu_", 40, Alphanumeric),
        shape(b"ghs_", 40, Alphanumeric),
        shape(b"ghr_", 40, Alphanumeric),
        shape(b"github_pat_", 40, Alphanumeric),
        // https://docs.gitlab.com/security/tokens/#token-prefixes
        shape(b"glpat-", 26, Base64),
        shape(b"gldt-", 25, Base64),
        shape(b"glrt-", 25, Base64),
        shape(b"glcbt-", 26, Base64),
        shape(b"glptt-", 40, Base64),
        // https://docs.slack.dev/authentication/tokens/
        shape(b"xoxa-", 20, Base64),
        shape(b"xoxb-", 20, Base64),
        shape(b"xoxe-", 20, Base64),
        shape(b"xoxe.", 20, Dotted),
        shape(b"xoxp-", 20, Base64),
        shape(b"xoxr-", 20, Base64),
        shape(b"xoxs-", 20, Base64),
        shape(b"xapp-", 20, Base64),
        // https://docs.databricks.com/aws/en/dev-tools/auth/pat
        common(b"dapi", 36, Hexadecimal),
        // https://docs.stripe.com/keys
        shape(b"sk_live_", 24, Alphanumeric),
        shape(b"sk_test_", 24, Alphanumeric),
        shape(b"rk_live_", 24, Alphanumeric),
        // https://platform.openai.com/docs/api-reference/authentication
        common(b"sk-", 35, Base64),
        // https://developer.hashicorp.com/vault/docs/concepts/tokens#token-prefixes
        common(b"hvs.", 28, Base64),
        common(b"hvb.", 28, Base64),
        common(b"hvr.", 28, Base64),
        // The npm documentation, "About access tokens".
        shape(b"npm_", 40, Alphanumeric),
        // The Python package index's help, "API tokens".
        shape(b"pypi-AgE", 40, Base64),
        // https://cloud.google.com/docs/authentication/token-types
        shape(b"AIzaSy", 39, Base64),
        shape(b"ya29.", 40, Dotted),
        // https://www.twilio.com/docs/sendgrid/ui/account-and-settings/api-keys
        common(b"SG.", 60, Dotted),
        // https://docs.docker.com/security/access-tokens/
        shape(b"dckr_pat_", 30, Base64),
        // https://grafana.com/docs/grafana/latest/administration/service-accounts/
        shape(b"glsa_", 40, Alphanumeric),
        // https://docs.digitalocean.com/reference/api/create-personal-access-token/
        shape(b"dop_v1_", 71, Hexadecimal),
    ]
};

/// The second letters of the prefixes, by the first: a bit each, of their last five bits.
const FIRST_TWO: [u32; 256] = {
    let mut pairs = [0; 256];
    let mut index = 0;
    while index < SHAPES.len() {
        let prefix = SHAPES[index].prefix;
        pairs[prefix[0] as usize] |= 1 << (prefix[1] & 31);
        index += 1;
    }
    pairs
};

/// What ends the first line and begins the last of a private key in PEM (RFC 7468).
const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";

/// Adds the tokens and private keys of a text to `found`.
pub(super) fn find(bytes: &[u8], found: &mut Vec<Extent>) {
    let mut index = 0;
    // Whatever covers so many bytes covers one of every so many.
    while let Some(probe) = bytes.get(index + SHORTEST - 1) {
        scan_cost::count(1);
        if !is_letter(*probe) {
            index += SHORTEST;
            continue;
        }
        let near = bytes.get(index..index + SHORTEST - 1).unwrap_or_default();
        let start =
            near.iter().rposition(|byte| !is_letter(*byte)).map_or(index, |at| index + at + 1);
        let rest = bytes.get(start..).unwrap_or_default();
        let length = rest.iter().position(|byte| !is_letter(*byte)).unwrap_or(rest.len());
        scan_cost::count(length + SHORTEST);
        if length >= SHORTEST {
            in_word(bytes, Extent { start, end: start + length }, found);
        }
        index = start + length + 1;
    }
    private_keys(bytes, found);
}

/// Adds the tokens in a word of their letters.
fn in_word(bytes: &[u8], word: Extent, found: &mut Vec<Extent>) {
    let mut index = word.start;
    while index + SHORTEST <= word.end {
        scan_cost::count(1);
        let begins = match bytes.get(index..) {
            Some([first, second, ..]) => FIRST_TWO[usize::from(*first)] >> (second & 31) & 1 == 1,
            _ => false,
        };
        match begins.then(|| token(bytes, word.start, index, word.end)).flatten() {
            Some(end) => {
                found.push(Extent { start: index, end });
                index = end;
            }
            None => index += 1,
        }
    }
}

/// Returns where the token that starts at `start` ends, in a word from `from` to `until`.
fn token(bytes: &[u8], from: usize, start: usize, until: usize) -> Option<usize> {
    let rest = bytes.get(start..until)?;
    let shape = SHAPES.iter().find(|shape| rest.starts_with(shape.prefix))?;
    if shape.is_common && !is_boundary(bytes, from, start) {
        return None;
    }
    let behind = rest.get(shape.prefix.len()..)?;
    let is_part = |byte: &u8| match shape.letters {
        Letters::Alphanumeric => byte.is_ascii_alphanumeric() || *byte == b'_',
        Letters::Base64 => is_letter(*byte) && *byte != b'.',
        Letters::Dotted => is_letter(*byte) && !matches!(byte, b'+' | b'/'),
        Letters::Hexadecimal => byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'),
    };
    // A word that begins like one and is none is looked through once for each beginning, and so
    // only as far as it takes to tell.
    let near = behind.get(..shape.least).unwrap_or(behind);
    let length = scan_cost::position(near, |byte| !is_part(byte)).unwrap_or(near.len());
    if shape.prefix.len() + length < shape.least || !is_plausible(shape, rest) {
        return None;
    }
    let length = scan_cost::position(behind, |byte| !is_part(byte)).unwrap_or(behind.len());
    Some(start + shape.prefix.len() + length)
}

/// Returns whether a word has what every token of its kind has beside its prefix.
fn is_plausible(shape: &Shape, word: &[u8]) -> bool {
    let near = word.get(..shape.least).unwrap_or(word);
    match shape.prefix {
        // The claims of a token stand behind its first dot.
        b"eyJ" => {
            let near = word.get(..LONGEST_HEADER).unwrap_or(word);
            scan_cost::count(near.len());
            memchr(b'.', near).is_some_and(|dot| dot >= 10 && near.len() > dot + 10)
        }
        b"sk-" => near.iter().any(u8::is_ascii_digit) && near.iter().any(u8::is_ascii_uppercase),
        _ => true,
    }
}

/// Returns whether a token may begin at `start`: where its word does, behind a joint, an escape
/// (`\n`, `%20`) or an option of one letter (`-t`).
fn is_boundary(bytes: &[u8], from: usize, start: usize) -> bool {
    let before = bytes.get(from.saturating_sub(1)..start).unwrap_or_default();
    let last = before.get(before.len().saturating_sub(LONGEST_PREFIX + 1)..).unwrap_or_default();
    match last {
        [.., last] if !last.is_ascii_alphanumeric() => true,
        [.., b'\\' | b'-', _] | [b'%', _, _] | [] => true,
        _ => start == from,
    }
}

const fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/' | b'=' | b'.')
}

/// Adds what stands between the lines of private keys in PEM, to the end of the text where the
/// last line was cut off.
fn private_keys(bytes: &[u8], found: &mut Vec<Extent>) {
    if bytes.len() < 2 * PRIVATE_KEY.len() {
        return;
    }
    let mut open: Option<usize> = None;
    scan_cost::count(bytes.len());
    for at in memmem::find_iter(bytes, PRIVATE_KEY) {
        let near = bytes.get(at.saturating_sub(32)..at).unwrap_or_default();
        if memmem::rfind(near, b"-----BEGIN").is_some() {
            open = open.or(Some(at + PRIVATE_KEY.len()));
        } else if let Some(end) = memmem::rfind(near, b"-----END")
            && let Some(start) = open.take()
        {
            found.push(Extent { start, end: at - near.len() + end });
        }
    }
    if let Some(start) = open {
        found.push(Extent { start, end: bytes.len() });
    }
}
