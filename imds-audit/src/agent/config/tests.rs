use std::path::Path;

use super::{
    loading::parse,
    settings::{OUTPUT_SETTINGS, SETTINGS},
    *,
};

const FILE: &str = include_str!("../../../../deploy/imds-audit.toml");

fn read(text: &str) -> Result<Loaded, Problems> {
    parse(Path::new("/etc/a.toml"), text, &Overrides::default())
}

fn faults(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn the_default_file_has_the_defaults_and_every_option() {
    let loaded = read(FILE).unwrap();
    assert_eq!(loaded.config, Config::default());
    for key in SETTINGS.iter().map(|setting| setting.key) {
        let key = key.rsplit('.').next().unwrap();
        let has = |line: &str| line.trim_start_matches('#').starts_with(&format!("{key} = "));
        assert!(FILE.lines().any(has), "{key} is not in the file");
    }
    for setting in OUTPUT_SETTINGS {
        let has =
            |line: &str| line.trim_start_matches('#').starts_with(&format!("{} = ", setting.key));
        assert!(FILE.lines().any(has), "{} is not in the file", setting.key);
    }
}

#[test]
fn the_options_that_the_default_file_leaves_out_can_be_put_in() {
    let is_option = |line: &str| {
        let option = line.strip_prefix('#').unwrap_or_default();
        option.starts_with("[[")
            || option.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
    };
    let text: String = FILE
        .lines()
        .map(|line| if is_option(line) { &line[1..] } else { line })
        .map(|line| format!("{line}\n"))
        .collect();
    assert_ne!(text, FILE);
    let loaded = read(&text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.config.outputs.len(), 3);
    assert_eq!(loaded.config.labels["cluster"], "prod-1");
    assert_eq!(loaded.config.procfs.as_deref(), Some(Path::new("/proc")));
}

#[test]
fn an_empty_file_has_the_defaults() {
    assert_eq!(read("").unwrap().config, Config::default());
}

#[test]
fn an_unknown_key_is_shown_in_its_place_with_the_nearest_name() {
    let said = faults("# a comment\ntally_intervall = \"15m\"\n");
    assert_eq!(
        said,
        "/etc/a.toml:2:1: unknown key \"tally_intervall\"; did you mean \"tally_interval\"?\n\
         \x20   2 | tally_intervall = \"15m\"\n\
         \x20     | ^^^^^^^^^^^^^^^"
    );
    assert!(faults("[metrics]\nlisten_on = \"\"\n").contains("did you mean \"metrics.listen\"?"));
    assert!(faults("[[output]]\nmax_sizes = \"1MiB\"\n").contains("did you mean \"max_size\"?"));
    assert!(faults("[outputs]\n").contains("did you mean \"output\"?"));
    assert!(!faults("xyzzy = 1\n").contains("did you mean"));
}

#[test]
fn all_faults_are_reported_at_once_in_the_order_of_the_file() {
    let said = faults(
        "tally_interval = 5\nendpoints = [\"169.254.169.254\"]\n[metrics]\nmax_callers = 1000\n\
         callers = \"yes\"\n[[output]]\ntype = \"files\"\nclasses = [\"v3\"]\npath = \"events\"\n\
         [[output]]\ntype = \"stdout\"\nmax_size = \"1MiB\"\n[labels]\n\"a b\" = \"c\"\nd = 1\n",
    );
    let places: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("/etc/a.toml:")).collect();
    let lines: Vec<&str> = places.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["1", "2", "4", "5", "7", "8", "9", "12", "14", "15"], "{said}");
    assert!(said.contains("a number from 1 to 100"), "{said}");
    assert!(said.contains("max_size is an option of type \"file\""), "{said}");
}

#[test]
fn a_fault_of_the_syntax_is_shown_in_its_place() {
    let said = faults("endpoints = [\n\nring_size = \"2MiB\n");
    assert!(said.starts_with("/etc/a.toml:"), "{said}");
    assert!(said.contains('^'), "{said}");
}

#[test]
fn nothing_in_the_file_reaches_the_terminal_as_a_command() {
    let said = faults("\"a\\u001b[31mb\" = 1 # \u{202e}\u{9b}31m\n");
    let is_bare = |letter: char| letter.is_control() && letter != '\n';
    assert!(!said.contains(is_bare) && !said.contains('\u{202e}'), "{said:?}");
}

#[test]
fn the_flag_wins_over_the_environment_that_over_the_file_and_that_over_the_default() {
    let text =
        "tally_interval = \"1m\"\nring_size = \"1MiB\"\n[metrics]\nlisten = \"127.0.0.1:1\"\n";
    let environment = [
        ("IMDS_AUDIT_TALLY_INTERVAL", "2m"),
        ("IMDS_AUDIT_RING_SIZE", "4MiB"),
        ("IMDS_AUDIT_SOMETHING_ELSE", "x"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let flags = vec![
        ("tally_interval".to_owned(), "3m".to_owned()),
        ("labels.cluster".to_owned(), "a".to_owned()),
    ];
    let loaded = parse(Path::new("/a"), text, &Overrides { environment, flags }).unwrap();
    let Config { tally_interval, ring_size, metrics, labels, host_root, .. } = &loaded.config;
    assert_eq!(*tally_interval, Duration::from_secs(180));
    assert_eq!((*ring_size, labels["cluster"].as_str()), (4 << 20, "a"));
    assert_eq!(metrics.listen, Some("127.0.0.1:1".parse().unwrap()));
    assert_eq!(host_root, Path::new("/"));
    let page = show(&loaded);
    for line in [
        "tally_interval = \"3m\"  # flag --set tally_interval",
        "ring_size = \"4MiB\"  # environment IMDS_AUDIT_RING_SIZE",
        "listen = \"127.0.0.1:1\"  # /a:4",
        "host_root = \"/\"  # default",
        "\"cluster\" = \"a\"  # flag --set labels.cluster",
        "# procfs is not set  # default",
    ] {
        assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
    }
}

#[test]
fn a_fault_of_the_environment_or_a_flag_is_named() {
    let environment = [("IMDS_AUDIT_RING_SIZE".to_owned(), "5000".to_owned())].into();
    let flags = vec![("tally".to_owned(), "1m".to_owned())];
    let problems = parse(Path::new("/a"), "", &Overrides { environment, flags }).unwrap_err();
    let said = problems.to_string();
    assert!(said.contains("IMDS_AUDIT_RING_SIZE: must be a power of two"), "{said}");
    assert!(said.contains("--set tally: unknown key"), "{said}");
}

#[test]
fn what_is_shown_can_be_read_again() {
    let text = "[labels]\n\"a.b\" = \"\\u007f\\u001b \\\" \\\\\"\n[[output]]\ntype = \"syslog\"\n\
                address = \"udp://127.0.0.1:5\"\n[[output]]\nmax_age = \"never\"\n";
    let loaded = read(text).unwrap();
    assert_eq!(read(&show(&loaded)).unwrap().config.labels, loaded.config.labels);
    let again = read(&show(&loaded)).unwrap().config.outputs;
    assert_eq!(again[0].address, loaded.config.outputs[0].address);
    assert_eq!(again[1].max_age, None);
}

#[test]
fn outputs_that_are_in_each_other_s_way_are_refused() {
    let twice = "[[output]]\n[[output]]\n";
    assert!(faults(twice).contains("the same file"));
    let twice = "[[output]]\ntype = \"stdout\"\n[[output]]\ntype = \"stdout\"\n";
    assert!(faults(twice).contains("standard output"));
    let total = "[[output]]\nmax_size = \"2GiB\"\n";
    assert!(read(total).is_ok(), "the bound on the total is raised with the size");
    let total = "[[output]]\nmax_size = \"2MiB\"\nmax_total_size = \"1MiB\"\n";
    assert!(faults(total).contains("must not be less"));
}

#[test]
fn a_missing_file_is_an_error_only_if_it_was_named() {
    let problems = load(Some(Path::new("/nonexistent/a.toml")), &Overrides::default());
    assert!(problems.unwrap_err().to_string().contains("/nonexistent/a.toml"));
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in "[a-z_= \\[\\]\"\n#.0-9\u{e9}]{0,80}") {
        if let Err(problems) = read(&text) {
            proptest::prop_assert!(!problems.to_string().is_empty());
        }
    }
}
