use super::*;

mod corpus;
mod places;
mod work;

const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "AQAEAJgN2Q_Zx7-kTqL0bVxkz8n5hPRc1mYw4uGdEoSfBiKaHtWjQ==";

/// Redacts arguments that are written one a line.
pub(super) fn redacted(lines: &[&str]) -> Vec<String> {
    let lines: Vec<String> = lines.iter().map(|line| line.replace("{T}", TOKEN)).collect();
    arguments(lines.iter().map(|line| line.as_bytes()))
        .iter()
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

#[test]
fn an_argument_keeps_everything_but_its_secret() {
    for (argument, expected) in [
        ("X-aws-ec2-metadata-token: {T}", "X-aws-ec2-metadata-token: <redacted>"),
        ("x-AWS-ec2-metadata-token:{T}", "x-AWS-ec2-metadata-token:<redacted>"),
        ("X-aws-ec2-metadata-token: with blank", "X-aws-ec2-metadata-token: <redacted>"),
        ("--header=X-aws-ec2-metadata-token: {T}", "--header=X-aws-ec2-metadata-token: <redacted>"),
        ("-HX-aws-ec2-metadata-token: {T}", "-HX-aws-ec2-metadata-token: <redacted>"),
        ("TOKEN={T}", "TOKEN=<redacted>"),
        ("AWS_SECRET_ACCESS_KEY=wJalr/XUt+nF", "AWS_SECRET_ACCESS_KEY=<redacted>"),
        ("AWS_SESSION_TOKEN=abc def", "AWS_SESSION_TOKEN=<redacted>"),
        ("AWS_ACCESS_KEY_ID=ASIAEXAMPLE", "AWS_ACCESS_KEY_ID=ASIAEXAMPLE"),
        ("Authorization: Bearer a.b.c", "Authorization: Bearer <redacted>"),
        ("authorization: a b", "authorization: <redacted>"),
        ("Cookie: a=b; c=d", "Cookie: <redacted>"),
        ("--password=x y", "--password=<redacted>"),
        ("--user=me:pass", "--user=me:<redacted>"),
        ("-ume:pass", "-ume:<redacted>"),
        ("http://user:p:w@host/p", "http://user:<redacted>@host/p"),
        ("http://user@host/p@q:r", "http://user@host/p@q:r"),
        ("https://ghp_0123456789abcdefghij@github.com/", "https://<redacted>@github.com/"),
        (
            "https://h/?a=1&X-Amz-Signature=ab&X-Amz-Security-Token=cd&b=2",
            "https://h/?a=1&X-Amz-Signature=<redacted>&X-Amz-Security-Token=<redacted>&b=2",
        ),
        ("https://h/?X-Amz-Credential=AKIA/x", "https://h/?X-Amz-Credential=AKIA/x"),
        ("--max-tokens=5", "--max-tokens=5"),
        ("X-aws-ec2-metadata-token-ttl-seconds: 60", "X-aws-ec2-metadata-token-ttl-seconds: 60"),
        ("X-aws-ec2-metadata-token: $TOKEN", "X-aws-ec2-metadata-token: $TOKEN"),
        ("PWD=/root", "PWD=/root"),
        ("http://169.254.169.254/latest/api/token", "http://169.254.169.254/latest/api/token"),
        ("{T}", "<redacted>"),
        ("-Dspring.datasource.password=x,y;z", "-Dspring.datasource.password=<redacted>"),
        ("TOKEN+=abcsecret", "TOKEN+=<redacted>"),
        ("TOKEN:=abcsecret", "TOKEN:=<redacted>"),
        ("--oauth2-bearer=mF_9.B5f", "--oauth2-bearer=<redacted>"),
        ("", ""),
    ] {
        assert_eq!(redacted(&[argument]), [expected], "{argument}");
    }
}

#[test]
fn a_secret_in_the_next_argument_is_removed() {
    for (lines, expected) in [
        (&["--password", "x y", "z"][..], &["--password", "<redacted>", "z"][..]),
        (&["--token", "--next", "z"], &["--token", "--next", "z"]),
        (&["-u", "me:pass", "h"], &["-u", "me:<redacted>", "h"]),
        (&["-u", "script.py", "h"], &["-u", "script.py", "h"]),
        (&["-u", "http://a:b@h"], &["-u", "http://a:<redacted>@h"]),
        (
            &["-H", "X-aws-ec2-metadata-token:", "abc", "u"],
            &["-H", "X-aws-ec2-metadata-token:", "<redacted>", "u"],
        ),
        (
            &["-H", "X-aws-ec2-metadata-token:", "http://h/"],
            &["-H", "X-aws-ec2-metadata-token:", "http://h/"],
        ),
        (
            &["-H", "Authorization:", "Bearer", "abc", "u"],
            &["-H", "Authorization:", "Bearer", "<redacted>", "u"],
        ),
        (
            &["aws", "configure", "set", "aws_secret_access_key", SECRET_KEY],
            &["aws", "configure", "set", "aws_secret_access_key", "<redacted>"],
        ),
        (&["x", "aws_secret_access_key", "short"], &["x", "aws_secret_access_key", "short"]),
        (&["curl", "--oauth2-bearer", "mF_9.B5f"], &["curl", "--oauth2-bearer", "<redacted>"]),
        (&["curl", "-b", "JSESSIONID=abc", "h"], &["curl", "-b", "<redacted>", "h"]),
        (&["curl", "--cookie", "x=y", "h"], &["curl", "--cookie", "<redacted>", "h"]),
        (&["curl", "-b", "jar.txt", "h"], &["curl", "-b", "jar.txt", "h"]),
        (&["curl", "--cookie", "jar.txt", "h"], &["curl", "--cookie", "jar.txt", "h"]),
        (
            &["docker", "login", "-u", "AWS", "-p", "secret", "h"],
            &["docker", "login", "-u", "AWS", "-p", "<redacted>", "h"],
        ),
        (
            &["sshpass", "-p", "secret", "ssh", "-p", "22", "h"],
            &["sshpass", "-p", "<redacted>", "ssh", "-p", "22", "h"],
        ),
        (&["/usr/bin/mysql", "-psecret", "db"], &["/usr/bin/mysql", "-p<redacted>", "db"]),
        (&["mysql", "-p", "-h", "db"], &["mysql", "-p", "-h", "db"]),
        (&["redis-cli", "-a", "secret"], &["redis-cli", "-a", "<redacted>"]),
        (
            &["docker", "run", "--name", "mysql", "-p", "3306:3306"],
            &["docker", "run", "--name", "mysql", "-p", "3306:3306"],
        ),
        (
            &["printf", "X-aws-ec2-metadata-token: %s\\r\\n", "tok"],
            &["printf", "X-aws-ec2-metadata-token: %s\\r\\n", "<redacted>"],
        ),
        (
            &["printf", "GET %s\\r\\nToken: %s\\r\\n", "/p", "tok", "u"],
            &["printf", "GET %s\\r\\nToken: %s\\r\\n", "<redacted>", "<redacted>", "u"],
        ),
        (
            &["ssh", "h", "printf 'Token: %s' \"tok\" x >&3", "y"],
            &["ssh", "h", "printf 'Token: %s' \"<redacted>\" <redacted> >&3", "y"],
        ),
        (&["docker", "login", "-p", "-x", "h"], &["docker", "login", "-p", "<redacted>", "h"]),
        (&["redis-cli", "-a", "--x", "get"], &["redis-cli", "-a", "<redacted>", "get"]),
        (&["curl", "-bs=abc; t=d", "h"], &["curl", "-bs=<redacted>", "h"]),
        (&["/usr/bin/curl", "-bjar.txt", "h"], &["/usr/bin/curl", "-bjar.txt", "h"]),
        (&["consul", "agent", "-bind=10.0.0.1"], &["consul", "agent", "-bind=10.0.0.1"]),
        (&["env", "KEY=abc", "x"], &["env", "KEY=<redacted>", "x"]),
        (&["env", "TLS_KEY=a b", "x"], &["env", "TLS_KEY=<redacted>", "x"]),
        (&["env", "PUBLIC_KEY=abc", "x"], &["env", "PUBLIC_KEY=abc", "x"]),
        (&["sort", "--key=2", "KEYS=2"], &["sort", "--key=2", "KEYS=2"]),
        (&["x", "token", "a1b2c3d4e5f6a7b8"], &["x", "token", "<redacted>"]),
        (&["x", "token", "authentication-service"], &["x", "token", "authentication-service"]),
        (&["x", "token", "/run/tokens/0123456789"], &["x", "token", "/run/tokens/0123456789"]),
        (&["-H", "Accept: x", "-H", "Cookie: s"], &["-H", "Accept: x", "-H", "Cookie: <redacted>"]),
    ] {
        assert_eq!(redacted(lines), expected, "{lines:?}");
    }
}

#[test]
fn a_script_keeps_everything_but_its_secrets() {
    for (script, expected) in [
        (
            "curl -s -H \"X-aws-ec2-metadata-token: {T}\" http://h/ | jq .",
            "curl -s -H \"X-aws-ec2-metadata-token: <redacted>\" http://h/ | jq .",
        ),
        ("curl -H X-aws-ec2-metadata-token:{T} h", "curl -H X-aws-ec2-metadata-token:<redacted> h"),
        (
            "curl -H X-aws-ec2-metadata-token: abc h",
            "curl -H X-aws-ec2-metadata-token: <redacted> h",
        ),
        ("ssh h \\\"Token: abc\\\" x", "ssh h \\\"Token: <redacted>\\\" x"),
        ("TOKEN=abc; curl h", "TOKEN=<redacted>; curl h"),
        ("TOKEN='a b' curl h", "TOKEN='<redacted>' curl h"),
        ("TOKEN=\"a b\"c curl h", "TOKEN=\"<redacted> curl h"),
        ("TOKEN= curl h", "TOKEN= curl h"),
        ("curl -u me:pass h", "curl -u me:<redacted> h"),
        ("curl --user 'me:pa ss' h", "curl --user 'me:<redacted>' h"),
        ("mysql --password abc h", "mysql --password <redacted> h"),
        ("curl -H 'Authorization: Basic abc' h", "curl -H 'Authorization: Basic <redacted>' h"),
        (
            "h={\"SecretAccessKey\": \"ab\", \"n\": 1}",
            "h={\"SecretAccessKey\": \"<redacted>\", \"n\": 1}",
        ),
        (
            "r.add_header('X-aws-ec2-metadata-token', 'ab') #",
            "r.add_header('X-aws-ec2-metadata-token', '<redacted>') #",
        ),
        (
            "printf 'GET / HTTP/1.1\\r\\nX-aws-ec2-metadata-token: ab\\r\\n\\r\\n' >&3",
            "printf 'GET / HTTP/1.1\\r\\nX-aws-ec2-metadata-token: <redacted>\\r\\n\\r\\n' >&3",
        ),
        (
            "aws configure set aws_secret_access_key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY; x",
            "aws configure set aws_secret_access_key <redacted>; x",
        ),
        ("curl --oauth2-bearer mF_9.B5f h", "curl --oauth2-bearer <redacted> h"),
        ("curl -b 'JSESSIONID=abc' h", "curl -b '<redacted>' h"),
        ("curl --cookie x=y h", "curl --cookie <redacted> h"),
        ("docker login -u AWS -p secret h", "docker login -u AWS -p <redacted> h"),
        ("mysql -p'se cret' db", "mysql -p'<redacted>' db"),
        ("sshpass -p secret ssh -p 22 h", "sshpass -p <redacted> ssh -p 22 h"),
        ("redis-cli -h h -a secret", "redis-cli -h h -a <redacted>"),
        ("h['Authorization'] = 'Bearer qqqqsecret'", "h['Authorization'] = 'Bearer <redacted>'"),
        ("h['Authorization'] = f'Bearer qqqq'", "h['Authorization'] = f'Bearer <redacted>'"),
        ("h['X-aws-ec2-metadata-token'] = 'tok'", "h['X-aws-ec2-metadata-token'] = '<redacted>'"),
        (
            "print \"X-aws-ec2-metadata-token: \" . 'tok' . \"x\"",
            "print \"X-aws-ec2-metadata-token: \" . '<redacted>' . \"x\"",
        ),
        (
            "printf 'X-aws-ec2-metadata-token: %s\\r\\n' tok >&3",
            "printf 'X-aws-ec2-metadata-token: %s\\r\\n' <redacted> >&3",
        ),
        ("'X-aws-ec2-metadata-token: %s' % 'tok'", "'X-aws-ec2-metadata-token: %s' % '<redacted>'"),
        ("curl -H 'Token: '\"abc\" h", "curl -H 'Token: <redacted>\" h"),
        ("curl -H 'Token: a'\"bc d\"'e' h", "curl -H 'Token: <redacted>' h"),
        (
            "sh -c \"curl -H 'Token: a'\" && x \"y\"",
            "sh -c \"curl -H 'Token: <redacted>'\" && x \"y\"",
        ),
        ("TOKEN=\"\"'abc' x", "TOKEN=\"<redacted>' x"),
        ("h = {'Authorization': 'Bearer ' 'abc'}", "h = {'Authorization': 'Bearer ' '<redacted>'}"),
        ("token = (\"\" \"abc\")", "token = (\"\" \"<redacted>\")"),
        ("token = (\"abc\")", "token = (\"<redacted>\")"),
        ("curl -H 'Token: ' 'http://h/'", "curl -H 'Token: ' 'http://h/'"),
        (
            "printf 'GET %s\\r\\nToken: %s\\r\\n' /p \"tok\" >&3; x 'y'",
            "printf 'GET %s\\r\\nToken: %s\\r\\n' <redacted> \"<redacted>\" >&3; x 'y'",
        ),
        (
            "printf 'Token: %s\\r\\nHost: %s' \"$T\" h",
            "printf 'Token: %s\\r\\nHost: %s' \"$T\" <redacted>",
        ),
        ("'%s Token: %s' % (name, 'tok')", "'%s Token: %s' % (name, '<redacted>')"),
        ("KEY=abc A_KEY='d e' x", "KEY=<redacted> A_KEY='<redacted>' x"),
        ("curl 'http://h/?key=abc&a=b'", "curl 'http://h/?key=<redacted>&a=b'"),
        ("curl -bs=abc h; x -bs=y", "curl -bs=<redacted> h; x -bs=y"),
        ("curl -b's=abc; t=d' h", "curl -b'<redacted>' h"),
        ("docker login -p -x h", "docker login -p <redacted> h"),
        ("x token a1b2c3d4e5f6a7b8; y", "x token <redacted>; y"),
        ("API_KEY='abc'\\''secret' x", "API_KEY='<redacted>' x"),
        ("TOKEN+=abcsecret x", "TOKEN+=<redacted> x"),
        ("token := \"xyzsecret\" x", "token := \"<redacted>\" x"),
        ("${TOKEN:-abc}", "${TOKEN:<redacted>"),
        ("password=${P:-abc} x", "password=${P<redacted> x"),
    ] {
        assert_eq!(redacted(&["bash", "-c", script])[2], expected, "{script}");
    }
}

#[test]
fn an_option_of_one_letter_stays_where_it_takes_no_password() {
    for script in [
        "mkdir -p some/dir",
        "ssh -p 22 h",
        "ps -p 1",
        "cp -p a b",
        "mysql -h h db; mkdir -p some/dir",
        "docker login h && ssh -p 22 h",
        "curl -b jar.txt h",
        "{\"token\": \"\", \"name\": \"x\"}",
        "unset AWS_SECRET_ACCESS_KEY AWS_SECURITY_TOKEN",
        "docker login -u AWS -p $(aws ecr get-login-password) h",
        "docker login -u AWS -p \"$P\" h",
    ] {
        assert_eq!(redacted(&["bash", "-c", script])[2], script);
        let words: Vec<&str> = script.split(' ').collect();
        if !script.contains(['"', ';', '$', '&']) {
            assert_eq!(redacted(&words), words);
        }
    }
}

#[test]
fn the_documented_one_liner_stays_as_it_is() {
    for script in [
        "TOKEN=$(curl -X PUT \"http://169.254.169.254/latest/api/token\" \
         -H \"X-aws-ec2-metadata-token-ttl-seconds: 21600\") && curl -H \
         \"X-aws-ec2-metadata-token: $TOKEN\" http://169.254.169.254/latest/meta-data/",
        "TOKEN=`curl -X PUT \"http://169.254.169.254/latest/api/token\"` && curl -H \
         \"X-aws-ec2-metadata-token: ${TOKEN}\" h",
        "curl -H \"Authorization: Bearer $T\" h",
        "curl -H \"X-aws-ec2-metadata-token: $(cat /run/t)\" h",
        "curl -u \"me:$PASSWORD\" h",
    ] {
        assert_eq!(redacted(&["bash", "-c", script])[2], script);
        assert!(matches!(text(script.as_bytes()), Cow::Borrowed(_)), "{script}");
    }
}

#[test]
fn a_secret_inside_a_substitution_is_removed() {
    let script = "TOKEN=$(curl -H \"Authorization: Bearer abc\" h)";
    assert_eq!(
        text(script.as_bytes()),
        "TOKEN=$(curl -H \"Authorization: Bearer <redacted>\" h)".as_bytes()
    );
}

#[test]
fn a_known_secret_is_removed_wherever_it_stands() {
    assert_eq!(
        known(b"a secretsecret b secretsecret", b"secretsecret").as_ref(),
        b"a <redacted> b <redacted>"
    );
    assert_eq!(known(b"a short b", b"short").as_ref(), b"a short b");
}

#[test]
fn a_mark_does_not_make_a_name_long() {
    let once = text(b"http://token=/$(token@h").into_owned();
    assert_eq!(text(&once), once);
}

#[test]
fn a_name_behind_a_login_option_keeps_its_own_value() {
    assert_eq!(
        text(b"-u \"password\": \"s3cr3tvalu3Q\"").as_ref(),
        b"-u \"password\": \"<redacted>\""
    );
}

const SECRET: &str = "s3cr3tvalu3Q";

/// What random seeds found: each is a text before, one behind, and a shape between.
#[test]
fn a_secret_behind_an_ambiguous_quote_or_operator_is_removed() {
    for (before, after, shape) in [
        ("-u0:\"A", "", "\"X-aws-ec2-metadata-token: {}\""),
        ("Pw:\"", "", "\"password\": \"{}\""),
        ("", "='", "TOKEN={}"),
        ("", "=\"", "Authorization: Bearer {}"),
        ("<PW", ">", "\"X-aws-ec2-metadata-token: {}\""),
    ] {
        let planted = format!("{before} {} {after}", shape.replace("{}", SECRET));
        for shown in [redacted(&["sh", "-c", &planted]).remove(2), redacted(&[&planted]).remove(0)]
        {
            assert!(!shown.contains(SECRET), "{planted} => {shown}");
        }
    }
}

fn without_marks(bytes: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(bytes).replace("<redacted>", "").into_bytes()
}

/// Returns whether `part` is left of `whole` when some of its bytes are taken away.
fn is_part(part: &[u8], whole: &[u8]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|byte| rest.any(|other| other == byte))
}

proptest::proptest! {
    #[test]
    fn a_planted_secret_never_gets_through(
        before in "[ -~]{0,20}",
        after in "[ -~]{0,20}",
        shape in proptest::sample::select(vec![
            "\"X-aws-ec2-metadata-token: {}\"", "'X-aws-ec2-metadata-token:{}'", "TOKEN={}",
            "AWS_SECRET_ACCESS_KEY='{}'", "--password {}", "--password={}", "\"password\": \"{}\"",
            "Authorization: Bearer {}", "Cookie: a={}; b", "http://u:{}@h/", "?X-Amz-Signature={}",
        ]),
    ) {
        let planted = format!("{before} {} {after}", shape.replace("{}", SECRET));
        let script = arguments([b"sh".as_slice(), b"-c", planted.as_bytes()]);
        let plain = arguments([planted.as_bytes()]);
        for output in [text(planted.as_bytes()), script[2].clone(), plain[0].clone()] {
            let output = String::from_utf8_lossy(&output).into_owned();
            proptest::prop_assert!(!output.contains(SECRET), "{planted} => {output}");
        }
    }

    #[test]
    fn a_text_without_secrets_is_unchanged(input in "[ -~&&[^@]]{0,200}") {
        let lower = input.to_ascii_lowercase();
        let names = ["token", "secret", "pass", "key", "signature", "auth", "cookie", "credential",
            "sig", "pwd", "pw", "jwt", "cred", "psk", "bearer", "-u", "aqa"];
        proptest::prop_assume!(!names.iter().any(|name| lower.contains(name)));
        proptest::prop_assert_eq!(text(input.as_bytes()), input.as_bytes());
    }

    #[test]
    fn redacting_twice_brings_nothing_back(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "token", "--password", "-u", "a:b", "=", ":", " ", "\"", "'", "$T", "$(", "${T:-x}",
            "http://", "@h", "/", "?", "&", "x", "Authorization", "Bearer", "\\", "\n", ",", "`",
        ]), 0..16),
    ) {
        let input = words.concat();
        let once = text(input.as_bytes()).into_owned();
        let twice = text(&once).into_owned();
        // A second look may take more away: a mark ends a word that an open quote had not ended.
        proptest::prop_assert!(is_part(&without_marks(&twice), &without_marks(&once)));
        proptest::prop_assert!(is_part(&without_marks(&once), input.as_bytes()));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, more: Vec<u8>) {
        arguments([bytes.as_slice(), more.as_slice()]);
    }
}
