//! How much work redaction makes.

use super::super::{arguments, text, work};

/// Texts that, repeated, make a scanner look at the same bytes again and again if it can be made
/// to.
const HOSTILE: [&str; 65] = [
    "token ",
    "token: ",
    "://",
    "$(",
    "token=\"",
    "\\\"token: ",
    "-u ",
    "AQAE",
    "-",
    "-u=",
    "--user=",
    "-u \"",
    "?token=$(",
    "'token: $(\"",
    "\"token: `",
    "token='$(",
    "-ux:",
    "--token ",
    "Authorization: $(",
    "Cookie: Bearer ",
    "token:\\ ",
    "token\\\"",
    "-b \"",
    "-b a=\"",
    "login -p \"",
    "login -p 1:",
    "a_token \"",
    "'token'] ",
    "token='\\''",
    "token: %s",
    "token: \" . '",
    "token: %s' '",
    "token (",
    "token = (\"\" ",
    "token=\"\"'a",
    "token: '' ",
    "token: %s' a % (",
    "token: %s\\\" a",
    "%token: %s",
    "KEY=",
    "A_KEY='",
    "?key=$(",
    "curl -ba=",
    "curl -b'",
    "token aaaaaaaaaaaaaaaa1",
    "token a/",
    "token=`a",
    "token: `a` ",
    "token:\n\n",
    "\"token\":\n",
    "token=a(b(",
    "<token>",
    "token%3D",
    "//a:b/",
    "//",
    "curl -su ",
    "curl -sua:",
    "curl -x a:b",
    "curl --proxy ",
    "-xa:",
    "curl -u'a':",
    "login a password ",
    "\\\\\\\"token\\\\\\\":",
    "a=1,token;",
    "login -p -",
];

/// Returns how many bytes are looked at to redact a text, as a script and as one argument.
fn work_of(input: &str) -> usize {
    work::take();
    text(input.as_bytes());
    arguments([input.as_bytes(), input.as_bytes()]);
    work::take()
}

#[test]
fn the_work_grows_with_the_text_and_not_faster() {
    for piece in HOSTILE {
        let repeated = |bytes: usize| piece.repeat(bytes / piece.len());
        let (small, large) = (work_of(&repeated(20_000)), work_of(&repeated(200_000)));
        assert!(small > 10_000, "{piece}: the work is not counted");
        assert!(large < 11 * small, "{piece}: {small} and {large} bytes looked at");
        assert!(large < 256 * 200_000, "{piece}: {large} bytes looked at");
    }
}
