//! Places for a secret on a command line and in an environment.

use imds_audit_tests::{PlantedSecret, TestBed};

/// What a shell does to be seen: one request, answered and read to its end.
const REQUEST: &str = "exec 3<>/dev/tcp/169.254.169.254/80 && \
     printf 'GET /latest/meta-data/ami-id HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3 >/dev/null";

/// Arguments; `{}` stands for the secret.
pub const ARGUMENTS: [&[&str]; 53] = [
    &["curl", "-H", "X-aws-ec2-metadata-token: {}", "h"],
    &["curl", "-H", "x-aws-EC2-metadata-token:{}", "h"],
    &["curl", "-HX-aws-ec2-metadata-token: {}", "h"],
    &["curl", "-H", "X-aws-ec2-metadata-token:", "{}", "h"],
    &["curl", "--header", "X-aws-ec2-metadata-token: {}"],
    &["wget", "--header=X-aws-ec2-metadata-token: {}", "h"],
    &["wget", "--header=X-aws-ec2-metadata-token: a{}"],
    &["curl", "-H", "Authorization: Bearer {}"],
    &["curl", "-H", "Authorization:", "Bearer", "{}", "h"],
    &["curl", "-H", "Proxy-Authorization: Basic {}"],
    &["curl", "-H", "Cookie: a=b; c={}"],
    &["curl", "-H", "x-amz-security-token: {}"],
    &["curl", "-u", "user:{}", "h"],
    &["curl", "-uuser:{}", "h"],
    &["curl", "--user", "user:{}"],
    &["curl", "--user=user:{}"],
    &["curl", "--proxy-user", "user:{}"],
    &["curl", "-U", "user:{}"],
    &["curl", "--oauth2-bearer", "{}"],
    &["curl", "-b", "session={}", "h"],
    &["curl", "-bsession={}", "h"],
    &["curl", "--cookie", "session={}"],
    &["curl", "--cookie=session={}"],
    &["curl", "--data", "password={}&a=b"],
    &["curl", "--data", "{\"password\": \"{}\"}"],
    &["curl", "http://user:{}@host/path"],
    &["git", "clone", "https://{}@host/path"],
    &["env", "AWS_SECRET_ACCESS_KEY={}", "aws"],
    &["env", "AWS_SESSION_TOKEN={}", "aws"],
    &["env", "KEY={}", "aws"],
    &["env", "SECRET_KEY={}", "aws"],
    &["docker", "run", "-e", "DB_PASSWORD={}", "image"],
    &["docker", "run", "-eDB_PASSWORD={}", "image"],
    &["docker", "run", "--env=TOKEN={}", "image"],
    &["docker", "login", "-u", "AWS", "-p", "{}", "h"],
    &["mysql", "-p{}", "db"],
    &["docker", "login", "-p", "-{}", "h"],
    &["mysql", "--password={}", "db"],
    &["java", "-Dspring.datasource.password={}"],
    &["aws", "configure", "set", "aws_secret_access_key", "{}"],
    &["aws", "configure", "set", "aws_session_token", "{}"],
    &["printf", "X-aws-ec2-metadata-token: %s\\r\\nHost: %s\\r\\n", "{}", "h"],
    &["curl", "-su", "user:{}", "h"],
    &["curl", "-u:{}", "h"],
    &["curl", "-sSb", "session={}", "h"],
    &["curl", "-x", "user:{}@proxy:8080", "h"],
    &["curl", "--cert", "cert.pem:{}", "h"],
    &["curl", "http://h/?next=http%3A%2F%2Fh%2F%3Ftoken%3D{}"],
    &["docker", "run", "--env=DB_PASSWORD=a b {}", "image"],
    &["kubectl", "create", "--from-literal=password=a;{}"],
    &["psql", "postgresql://user:a#{}@host/db"],
    &["env", "PASSWORD1={}", "aws"],
    &["ssh", "h", "printf 'X-aws-ec2-metadata-token: %s\\r\\n' {} >&3"],
];

/// Scripts; `{}` stands for the secret.
pub const SCRIPTS: [&str; 28] = [
    ": curl -H \"X-aws-ec2-metadata-token: {}\" h",
    ": curl -H 'X-aws-ec2-metadata-token: '\"{}\" h",
    ": curl -H X-aws-ec2-metadata-token:\\ {} h",
    ": curl -u user:{} h",
    ": curl -bsession={} h",
    ": curl http://user:{}@host/",
    "TOKEN={}",
    "TOKEN='{}'",
    "TOKEN=\"\"'{}'",
    "export AWS_SECRET_ACCESS_KEY={}",
    "KEY={} AWS_SESSION_TOKEN={} :",
    ": env KEY={} aws",
    ": mysql -p'{}' db",
    ": docker login -p -{} h",
    ": python3 -c 'h = {\"X-aws-ec2-metadata-token\": \"{}\"}'",
    ": python3 -c \"h = {'Authorization': 'Bearer ' '{}'}\"",
    ": python3 -c \"r.add_header('X-aws-ec2-metadata-token', \"'\"{}\"'\")\"",
    ": python3 -c 'token = (\"\" \"{}\")'",
    "printf 'X-aws-ec2-metadata-token: %s\\r\\nHost: %s\\r\\n' {} h >/dev/null",
    "printf 'GET %s HTTP/1.1\\r\\nX-aws-ec2-metadata-token: %s\\r\\n' /latest {} >/dev/null",
    ": aws configure set aws_secret_access_key {}",
    ": token {}",
    ": curl -su user:{} h",
    ": curl -u 'user':'{}' h",
    ": python3 -c 'h = {\"X-aws-ec2-metadata-token\":\n  \"{}\"}'",
    ": python3 -c 'token = str(\"{}\")'",
    ": node -e 'f({password: `{}`})'",
    ": '<password>{}</password>'",
];

/// Names of variables in the environment.
pub const VARIABLES: [&str; 5] =
    ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "TOKEN", "DB_PASSWORD", "ANYTHING"];

/// Has shells ask, each with one secret in its arguments, its script or its environment.
pub fn play(scene: &TestBed) -> Vec<PlantedSecret> {
    let mut needles = Vec::new();
    let mut plant = |place: String| {
        let needle =
            PlantedSecret::new(place, format!("typed{:03}InAShellQ7zK2xYw4", needles.len()));
        needles.push(needle.clone());
        needle.secret
    };
    for arguments in ARGUMENTS {
        let secret = plant(format!("{arguments:?}"));
        let arguments: Vec<_> = arguments.iter().map(|text| text.replace("{}", &secret)).collect();
        run(scene, REQUEST, &arguments, &[]);
    }
    for script in SCRIPTS {
        let secret = plant(script.to_owned());
        run(scene, &format!("{}\n{REQUEST}", script.replace("{}", &secret)), &[], &[]);
    }
    let secrets: Vec<_> = VARIABLES.iter().map(|name| plant(format!("${name}"))).collect();
    let variables: Vec<_> = VARIABLES.into_iter().zip(secrets.iter().map(String::as_str)).collect();
    run(scene, REQUEST, &[], &variables);
    needles
}

fn run(scene: &TestBed, script: &str, arguments: &[String], variables: &[(&str, &str)]) {
    let mut command = scene.command("bash");
    command.args(["-c", script]).args(arguments).envs(variables.iter().copied());
    let caller = scene.start_command(&mut command).wait();
    assert!(caller.status.success(), "{caller:?}");
}
