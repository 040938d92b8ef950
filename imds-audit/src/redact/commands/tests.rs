use super::super::secret_name::Key;
use super::super::tests::redacted;
use super::aws_members::{KNOWN, SERVICES};
use super::table::PROGRAMS;

fn shown(line: &str) -> String {
    redacted(&line.split(' ').collect::<Vec<_>>()).join(" ")
}

fn script(line: &str) -> String {
    redacted(&["sh", "-c", line])[2].clone()
}

#[test]
fn an_option_or_an_operand_is_redacted_and_what_is_around_it_stays() {
    for (line, expected) in [
        (
            "kubectl exec pod -- wpa_passphrase net X",
            "kubectl exec pod -- wpa_passphrase net <redacted>",
        ),
        (
            "aws ssm put-parameter --name n --value X",
            "aws ssm put-parameter --name n --value <redacted>",
        ),
        (
            "aws ssm put-parameter --value=X --name n",
            "aws ssm put-parameter --value=<redacted> --name n",
        ),
        (
            "aws --region r kms encrypt --plaintext X",
            "aws --region r kms encrypt --plaintext <redacted>",
        ),
        ("aws s3 cp a b --sse-c-key X", "aws s3 cp a b --sse-c-key <redacted>"),
        ("htpasswd -nbB me X", "htpasswd -nbB me <redacted>"),
        ("htpasswd -bc f me X", "htpasswd -bc f me <redacted>"),
        ("vault kv put secret/a k=X", "vault kv put secret/a k=<redacted>"),
        ("openssl rsa -passin pass:X -in k", "openssl rsa -passin pass:<redacted> -in k"),
        ("smbclient //h/s -U me%X", "smbclient //h/s -U me%<redacted>"),
        ("sqlplus me/X@db @f.sql", "sqlplus me/<redacted>@db @f.sql"),
        ("lftp -u me,X h", "lftp -u me,<redacted> h"),
        ("7z a -pX f", "7z a -p<redacted> f"),
        ("run.sh --jitconfig X", "run.sh --jitconfig <redacted>"),
        ("consul agent -encrypt=X -bind=h", "consul agent -encrypt=<redacted> -bind=h"),
        ("keytool -storepass X -alias a", "keytool -storepass <redacted> -alias a"),
        ("docker login -u me -p X h", "docker login -u me -p <redacted> h"),
        (
            "sshpass -p X ssh -p 22 h mysql -pX",
            "sshpass -p <redacted> ssh -p 22 h mysql -p<redacted>",
        ),
    ] {
        assert_eq!(shown(line), expected);
        assert_eq!(script(line), expected);
    }
}

#[test]
fn what_belongs_to_another_command_or_to_no_secret_stays() {
    for line in [
        "aws ssm put-parameter --name n --value file://x",
        "aws ssm get-parameter --name n --value X",
        "aws kms encrypt --plaintext fileb://x --key-id k",
        "openssl rsa -passin env:P -in k -keyform PEM",
        "vault login role=web",
        "vault kv put secret/a @f.json",
        "smbclient //h/s -c ls",
        "sqlplus /nolog @f.sql",
        "docker build --secret id=x .",
        "etcdctl --user root get k",
        "cargo login --registry r",
    ] {
        assert_eq!(shown(line), line);
        assert_eq!(script(line), line);
    }
    assert_eq!(script("mysql -h h; mkdir -pX y"), "mysql -h h; mkdir -pX y");
    assert_eq!(script("mysql -h h && tar -pX y"), "mysql -h h && tar -pX y");
}

#[test]
fn what_a_script_prints_to_a_reader_of_secrets_is_redacted() {
    for (line, expected) in [
        (
            "echo X | docker login --password-stdin",
            "echo <redacted> | docker login --password-stdin",
        ),
        ("echo 'me:X' | sudo chpasswd", "echo 'me:<redacted>' | sudo chpasswd"),
        ("chpasswd <<< 'me:X'", "chpasswd <<< 'me:<redacted>'"),
        ("echo X | sudo -S ls", "echo <redacted> | sudo -S ls"),
        ("printf '%s' X | gpg --passphrase-fd 0", "printf '%s' <redacted> | gpg --passphrase-fd 0"),
        ("echo foo | grep passwd", "echo foo | grep passwd"),
        ("echo foo; docker login --password-stdin", "echo foo; docker login --password-stdin"),
        ("echo $P | docker login --password-stdin", "echo $P | docker login --password-stdin"),
    ] {
        assert_eq!(script(line), expected);
    }
}

#[test]
fn a_list_of_words_in_quotes_is_read_like_a_command_line() {
    for (line, expected) in [
        ("run(['redis-cli', '-a', 'X'])", "run(['redis-cli', '-a', '<redacted>'])"),
        ("run(['mysql', '-pX', 'd'])", "run(['mysql', '-p<redacted>', 'd'])"),
    ] {
        assert_eq!(script(line), expected);
    }
}

#[test]
fn names_left_out_of_the_table_of_members_are_secrets_anyway() {
    for name in KNOWN {
        assert!(Key::of(name.as_bytes()).is_some(), "{name}");
    }
}

#[test]
fn services_stand_in_order() {
    assert!(SERVICES.is_sorted_by(|(left, _), (right, _)| left < right));
    assert!(SERVICES.len() > 20);
}

#[test]
fn every_rule_has_options_or_ends_a_program() {
    for program in PROGRAMS {
        assert!(!program.rules.is_empty(), "{}", program.names);
        for rule in program.rules {
            assert!(
                !rule.options.is_empty() || rule.takes == super::Takes::End,
                "{}",
                program.names
            );
            let options = rule.options.split_ascii_whitespace();
            let operands = options.filter(|option| !option.starts_with(['-', '/']));
            assert_eq!(
                rule.has_operand,
                operands.count() > 0,
                "{}: {}",
                program.names,
                rule.options
            );
        }
    }
}
