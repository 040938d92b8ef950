use std::path::Path;
use std::sync::Arc;

use super::*;

/// The example of the design.
pub(crate) fn example() -> RequestEvent {
    RequestEvent {
        time: Time("2026-11-22T01:02:03.123456Z".parse().unwrap()),
        imds: Imds {
            class: Class::V1,
            version: Some(Version::V1),
            operation: Some(Operation::Read),
            resource: Some(Resource::Credentials),
            outcome: Outcome::Served,
            duration_us: Some(812),
            endpoint: "169.254.169.254:80".to_owned(),
            token: None,
            reason: None,
        },
        http: Some(Http {
            method: "GET".to_owned(),
            path: "/latest/meta-data/iam/security-credentials/app".to_owned(),
            status: Some(200),
            host: Some("169.254.169.254".to_owned()),
            user_agent: Some("curl/7.88.1".to_owned()),
            forwarded_for: None,
        }),
        network: Network {
            family: Family::Ipv4,
            source: Some("10.0.0.5:43210".to_owned()),
            response_ttl: Some(1),
            netns: Some(4_026_531_840),
            host_network: None,
            mapped: false,
        },
        process: Arc::new(process(&["curl", "-s", "http://169.254.169.254/x"])),
        caller: Arc::new(Caller {
            id: "e552bf6c2ad21ceb".to_owned(),
            title: "curl -s http://169.254.169.254/x".to_owned(),
            home: Some("refresh.service".to_owned()),
        }),
        client: Some(Client {
            name: "curl".to_owned(),
            version: Some("7.88.1".to_owned()),
            hint: Hint::UserAgent,
            imdsv2_since: None,
            falls_back_on: Cow::Borrowed(&[]),
        }),
        relay: None,
        advice: None,
        window: None,
    }
}

/// The process of the example, with these arguments.
pub(crate) fn process(args: &[&str]) -> Process {
    let words = |args: &[&str]| Some(args.iter().map(|&word| word.to_owned()).collect());
    Process {
        pid: Some(4242),
        tid: Some(4242),
        name: Some("curl".to_owned()),
        thread_name: None,
        exe: Some("/usr/bin/curl".to_owned()),
        args: words(args),
        args_truncated: false,
        cwd: None,
        uid: Some(0),
        user: Some("root".to_owned()),
        gid: None,
        namespace_pid: None,
        start_time: Some(Time("2026-11-22T01:02:03.1Z".parse().unwrap())),
        attribution: Attribution::Writer,
        ancestors: vec![Ancestor {
            pid: 4200,
            name: Some("bash".to_owned()),
            args: words(&["bash", "/opt/refresh.sh"]),
        }],
        responsible: None,
        spark: None,
        databricks: None,
        cgroup: Some("/system.slice/refresh.service".to_owned()),
        unit: Some("refresh.service".to_owned()),
        slice: None,
        manager: None,
        container: None,
        pod: None,
    }
}

#[test]
fn the_example_of_the_design_is_written_as_it_stands_there() {
    let expected = concat!(
        r#"{"schema":1,"kind":"request","time":"2026-11-22T01:02:03.123456Z","#,
        r#""imds":{"class":"v1","version":1,"operation":"read","resource":"credentials","#,
        r#""outcome":"served","duration_us":812,"endpoint":"169.254.169.254:80"},"#,
        r#""http":{"method":"GET","path":"/latest/meta-data/iam/security-credentials/app","#,
        r#""status":200,"host":"169.254.169.254","user_agent":"curl/7.88.1"},"#,
        r#""network":{"family":"ipv4","source":"10.0.0.5:43210","response_ttl":1,"#,
        r#""netns":4026531840},"#,
        r#""process":{"pid":4242,"tid":4242,"name":"curl","exe":"/usr/bin/curl","#,
        r#""args":["curl","-s","http://169.254.169.254/x"],"uid":0,"user":"root","#,
        r#""start_time":"2026-11-22T01:02:03.100000Z","attribution":"writer","#,
        r#""ancestors":[{"pid":4200,"name":"bash","args":["bash","/opt/refresh.sh"]}],"#,
        r#""cgroup":"/system.slice/refresh.service","unit":"refresh.service","#,
        r#""container":null,"pod":null},"caller":{"id":"e552bf6c2ad21ceb","title":"#,
        r#""curl -s http://169.254.169.254/x","home":"refresh.service"},"client":{"name":"curl","version":"7.88.1","#,
        r#""hint":"user-agent"}}"#,
    );
    let event = Event::from(example());
    let line = serde_json::to_string(&event).unwrap();
    assert_eq!(line, expected);
    assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
}

#[test]
fn the_checked_in_schema_is_the_one_the_code_has() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/event.schema.json");
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(Event)).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &schema).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(checked_in == schema, "run this test with UPDATE_SCHEMA=1 and look at the difference");
}
