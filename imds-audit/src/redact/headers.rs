//! The secrets that went over the wire, which may stand anywhere else too: a token that a script
//! was given as its second argument has no name there.

use super::{
    SHORTEST_KNOWN,
    secret_name::{self, Key},
    value,
};

/// The most that are looked for; a request that has more is a game, and each costs a look at
/// every text.
const MOST: usize = 16;

/// The header of a session token, whose value is the secret that matters most.
const TOKEN_HEADER: &[u8] = b"x-aws-ec2-metadata-token";

/// Returns the secrets of a request's headers, each once, the longest first: one may be a part of
/// another. Where there are too many, those of the token's own header stay, and then the longest.
pub(super) fn secrets<'a>(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<&'a [u8]> {
    let mut tokens = Vec::new();
    let mut others = Vec::new();
    for (name, value) in headers {
        // A blank before the colon makes another name, and its value no less a secret.
        let name = name.trim_ascii();
        if name.eq_ignore_ascii_case(TOKEN_HEADER) {
            if tokens.len() < MOST {
                tokens.push(value.trim_ascii());
            }
            continue;
        }
        match Key::of(name) {
            Some(Key::Line) if secret_name::is_cookie(name) => {
                let pairs = value.split(|byte| *byte == b';');
                others.extend(pairs.filter_map(|pair| pair.splitn(2, |byte| *byte == b'=').nth(1)));
            }
            Some(Key::Line) => others.extend(value.get(value::scheme(value, 0)..)),
            Some(Key::Word) => others.push(value),
            None => {}
        }
    }
    let ordered = |secrets: &mut Vec<&[u8]>| {
        secrets.retain(|secret| secret.len() >= SHORTEST_KNOWN);
        secrets.sort_by_key(|secret| (std::cmp::Reverse(secret.len()), *secret));
        secrets.dedup();
    };
    for secret in &mut others {
        *secret = secret.trim_ascii();
    }
    ordered(&mut tokens);
    ordered(&mut others);
    let mut secrets = tokens;
    secrets.extend(others);
    secrets.truncate(MOST);
    ordered(&mut secrets);
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_of_a_head_is_known_and_nothing_else() {
        let headers: &[(&[u8], &[u8])] = &[
            (b"Host", b"169.254.169.254"),
            (b"X-aws-ec2-metadata-token", b"first-token"),
            (b"x-aws-ec2-metadata-token ", b"the-second-token"),
            (b"X-aws-ec2-metadata-token-ttl-seconds", b"21600000"),
            (b"Authorization", b"Bearer bearer-secret"),
            (b"Cookie", b"a=short; session=cookie-secret; b=cookie-secret"),
        ];
        let found = secrets(headers.iter().copied());
        let expected: [&[u8]; 4] =
            [b"the-second-token", b"bearer-secret", b"cookie-secret", b"first-token"];
        assert_eq!(found, expected);
    }

    #[test]
    fn no_flood_of_other_secrets_hides_the_token() {
        let decoys: Vec<_> = (0..50).map(|number| format!("{number:0100}")).collect();
        let decoys = decoys.iter().map(|value| (&b"Api-Token"[..], value.as_bytes()));
        let token = (&b"X-AWS-EC2-Metadata-Token"[..], &b"the-token"[..]);
        let found = secrets(decoys.chain([token]));
        assert_eq!(found.len(), MOST);
        assert_eq!(found.last(), Some(&token.1));
    }

    #[test]
    fn a_flood_of_secrets_is_bounded() {
        let values: Vec<_> = (0..1000).map(|number| format!("secret-{number:04}")).collect();
        let headers = values.iter().map(|value| (&b"Token"[..], value.as_bytes()));
        assert_eq!(secrets(headers).len(), MOST);
    }
}
