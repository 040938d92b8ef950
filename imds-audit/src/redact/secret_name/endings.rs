//! Table of the endings of secrets' names, by their last letter.

/// The names that end in one letter, each in lower case and without `-`, `_` and `.`. Most names in
/// a text end in a letter that no secret's name ends in, so the letter is compared first.
pub(super) struct Names {
    /// Endings of the names of secrets.
    pub(super) words: &'static [&'static [u8]],
    /// Endings that are common inside other words: only as the last part of a name, or as the
    /// last hump of one (`dbPwd`).
    pub(super) parts: &'static [&'static [u8]],
    /// The ending of a name whose value has several words.
    pub(super) line: Option<&'static [u8]>,
    /// Names that end like a secret's and hold none: the working folder, the scope of a signature,
    /// which has the access key id, places in a list, and English words.
    pub(super) harmless: &'static [&'static [u8]],
}

impl Names {
    const NONE: Self = Self { words: &[], parts: &[], line: None, harmless: &[] };

    /// Returns those that end in a letter; `None` where there are none.
    pub(super) const fn ending_in(letter: u8) -> Option<Self> {
        Some(match letter {
            b'd' => Self {
                words: &[b"password", b"passwd", b"passwrd", b"pwd"],
                parts: &[b"cred"],
                harmless: &[
                    b"oldpwd",
                    b"lpwd",
                    b"chpasswd",
                    b"smbpasswd",
                    b"htpasswd",
                    b"gpasswd",
                    b"vncpasswd",
                ],
                ..Self::NONE
            },
            b'e' => Self {
                words: &[
                    b"passphrase",
                    b"signature",
                    b"secretvalue",
                    b"secretkeybase",
                    b"tokenvalue",
                    b"apikeyvalue",
                    b"passcode",
                    b"authcode",
                    b"authorizationcode",
                ],
                line: Some(b"cookie"),
                ..Self::NONE
            },
            b'g' => Self { words: &[b"secretstring"], parts: &[b"sig"], ..Self::NONE },
            b'h' => {
                Self { words: &[b"secrethash", b"passwordhash"], parts: &[b"auth"], ..Self::NONE }
            }
            b'k' => Self { parts: &[b"psk"], ..Self::NONE },
            b'l' => Self { words: &[b"credential"], harmless: &[b"xamzcredential"], ..Self::NONE },
            b'n' => Self {
                words: &[b"token", b"samlassertion", b"clientassertion"],
                line: Some(b"authorization"),
                harmless: &[
                    b"nexttoken",
                    b"startingtoken",
                    b"pagetoken",
                    b"continuationtoken",
                    b"clientrequesttoken",
                    b"idempotencytoken",
                    b"csrftoken",
                ],
                ..Self::NONE
            },
            b'r' => Self {
                words: &[b"oauth2bearer", b"codeverifier"],
                parts: &[b"bearer"],
                ..Self::NONE
            },
            b's' => Self {
                words: &[
                    b"pass",
                    b"passwords",
                    b"basicauthcredentials",
                    b"basicauthenticationcredentials",
                ],
                harmless: &[
                    b"bypass",
                    b"compass",
                    b"encompass",
                    b"surpass",
                    b"trespass",
                    b"overpass",
                    b"underpass",
                    b"multipass",
                    b"singlepass",
                    b"onepass",
                    b"twopass",
                    b"firstpass",
                    b"secondpass",
                    b"lastpass",
                    b"keepass",
                    b"gopass",
                    b"highpass",
                    b"lowpass",
                    b"bandpass",
                    b"allpass",
                    b"renderpass",
                ],
                ..Self::NONE
            },
            b't' => Self { words: &[b"secret"], parts: &[b"jwt"], ..Self::NONE },
            b'w' => Self {
                words: &[b"rootpw", b"bindpw", b"dbpw", b"userpw", b"adminpw", b"ldappw"],
                parts: &[b"pw"],
                ..Self::NONE
            },
            b'y' => Self {
                words: &[
                    b"secretkey",
                    b"accesskey",
                    b"apikey",
                    b"appkey",
                    b"privatekey",
                    b"sessionkey",
                    b"authkey",
                    b"accountkey",
                    b"masterkey",
                    b"encryptionkey",
                    b"presharedkey",
                    b"sharedkey",
                    b"customerkey",
                    b"signingkey",
                    b"hmackey",
                    b"passkey",
                    b"storagekey",
                    b"licensekey",
                ],
                ..Self::NONE
            },
            _ => return None,
        })
    }
}
