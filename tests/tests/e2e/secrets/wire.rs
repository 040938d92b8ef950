//! Places for a secret in a request and in a response.

use imds_audit_tests::{Listener, PlantedSecret};

/// What one end of a connection does next; `{}` stands for the secret.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The caller sends these bytes.
    Ask(&'static str),
    /// The service does.
    Answer(&'static str),
}

use Step::{Answer, Ask};

/// One connection with one secret on it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Where the secret stands.
    pub place: &'static str,
    /// What passes.
    pub steps: &'static [Step],
}

impl Case {
    /// Plays the connection with a secret of its own.
    pub fn play(&self, desk: &Listener<'_>, number: usize) -> PlantedSecret {
        let needle = PlantedSecret::new(self.place, secret(number));
        let mut line = desk.call();
        for step in self.steps {
            match step {
                Ask(text) => line.ask(text.replace("{}", &needle.secret)),
                Answer(text) => line.answer(text.replace("{}", &needle.secret)),
            }
        }
        needle
    }
}

/// Makes a secret. The lengths that the cases announce count on its 28 bytes.
fn secret(number: usize) -> String {
    format!("planted{number:03}OnTheWireQ7zK2xYw4")
}

const fn case(place: &'static str, steps: &'static [Step]) -> Case {
    Case { place, steps }
}

const OK: Step = Answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
const GET: Step = Ask("GET /latest/meta-data/ami-id HTTP/1.1\r\nHost: imds\r\n\r\n");
const PUT: Step = Ask("PUT /latest/api/token HTTP/1.1\r\nHost: imds\r\n\
                       X-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n");

/// A request with one further header.
macro_rules! header {
    ($line:literal) => {
        &[Ask(concat!("GET /latest/user-data HTTP/1.1\r\nHost: imds\r\n", $line, "\r\n\r\n")), OK]
    };
}

/// A request for a target.
macro_rules! target {
    ($target:literal) => {
        &[Ask(concat!("GET ", $target, " HTTP/1.1\r\nHost: imds\r\n\r\n")), OK]
    };
}

/// Every place of a request.
pub const REQUESTS: [Case; 48] = [
    case("the token's header", header!("X-aws-ec2-metadata-token: {}")),
    case("the token's header in other letters", header!("x-AWS-ec2-METADATA-token:{}")),
    case("a token's header that is folded", header!("X-aws-ec2-metadata-token:\r\n {}")),
    case(
        "the second of two token's headers",
        header!("X-aws-ec2-metadata-token: a\r\nX-aws-ec2-metadata-token: {}"),
    ),
    case("a token's header with a blank in its name", header!("X-aws-ec2-metadata-token : {}")),
    case(
        "a token's header of a token request",
        &[Ask("PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token: {}\r\n\r\n"), OK],
    ),
    case(
        "a token and the path",
        &[Ask("GET /latest/{}/x HTTP/1.1\r\nX-aws-ec2-metadata-token: {}\r\n\r\n"), OK],
    ),
    case("a token and the user agent", header!("User-Agent: a/{}\r\nX-aws-ec2-metadata-token: {}")),
    case(
        "a token and the host",
        &[Ask("GET / HTTP/1.1\r\nHost: {}\r\nX-aws-ec2-metadata-token: {}\r\n\r\n"), OK],
    ),
    case("Authorization: Bearer", header!("Authorization: Bearer {}")),
    case("Authorization: Basic", header!("authorization: Basic {}")),
    case(
        "Authorization of version 4",
        header!(
            "Authorization: AWS4-HMAC-SHA256 Credential=AKIA/x, SignedHeaders=host, Signature={}"
        ),
    ),
    case("Authorization of a scheme of its own", header!("Authorization: {} more")),
    case("Proxy-Authorization", header!("Proxy-Authorization: Basic {}")),
    case("Cookie", header!("Cookie: a=b; session={}; c=d")),
    case("Set-Cookie of a request", header!("Set-Cookie: a={}")),
    case("x-amz-security-token", header!("x-amz-security-token: {}")),
    case("X-Api-Key", header!("X-Api-Key: {}")),
    case("X-Vault-Token", header!("X-Vault-Token: {}")),
    case("a header of any name", header!("X-Anything: {}")),
    case("the name of a header", header!("{}: x")),
    case("a line that is no header", header!("{}")),
    case("Referer", header!("Referer: http://me:{}@host/")),
    case("a URL in the user agent", header!("User-Agent: a (+http://me:{}@host/)")),
    case("a named value in the user agent", header!("User-Agent: a/1 token={} b")),
    case("a bearer in the user agent", header!("User-Agent: Authorization: Bearer {}")),
    case("a login in the host", &[Ask("GET / HTTP/1.1\r\nHost: http://me:{}@imds\r\n\r\n"), OK]),
    case("a query's token", target!("/latest/user-data?a=b&token={}&c=d")),
    case("a query's password", target!("/latest/user-data?password={}")),
    case("a query's X-Amz-Signature", target!("/latest/user-data?X-Amz-Signature={}")),
    case("a query's X-Amz-Security-Token", target!("/latest/?X-Amz-Security-Token={}")),
    case("a query's access_token", target!("/latest/user-data?access_token={}#x")),
    case("a path's parameter", target!("/latest/user-data;token={}")),
    case("a fragment", target!("/latest/user-data#access_token={}")),
    case("a login in an absolute target", target!("http://me:{}@169.254.169.254/latest/")),
    case("a token alone in an absolute target", target!("http://{}@169.254.169.254/latest/")),
    case(
        "another cloud's header",
        &[
            Ask("GET /metadata/instance?api-version=1 HTTP/1.1\r\nMetadata: true\r\n\
             X-IDENTITY-HEADER: {}\r\n\r\n"),
            OK,
        ],
    ),
    case(
        "a body of a PUT",
        &[Ask("PUT /latest/api/token HTTP/1.1\r\nContent-Length: 28\r\n\r\n"), Ask("{}"), OK],
    ),
    case(
        "a body in the segment of its head",
        &[Ask("PUT /latest/api/token HTTP/1.1\r\nContent-Length: 28\r\n\r\n{}"), OK],
    ),
    case(
        "a body in chunks",
        &[
            Ask("PUT /latest/api/token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Ask("1c\r\n{}\r\n0\r\n\r\n"),
            OK,
        ],
    ),
    case(
        "a trailer behind chunks",
        &[
            Ask("PUT /latest/api/token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Ask("1\r\na\r\n0\r\nX-Trailer: {}\r\n\r\n"),
            OK,
        ],
    ),
    case(
        "a body that nobody announced",
        &[Ask("GET /latest/user-data HTTP/1.1\r\nHost: imds\r\n\r\n{}"), OK],
    ),
    case(
        "a body that looks like a request",
        &[
            Ask("PUT /latest/api/token HTTP/1.1\r\nContent-Length: 53\r\n\r\n"),
            Ask("GET /?token={} HTTP/1.1\r\n\r\n"),
            OK,
        ],
    ),
    case(
        "a head that is cut inside its token",
        &[Ask("GET / HTTP/1.1\r\nX-aws-ec2-metadata-token: {}")],
    ),
    case("a request line that is cut", &[Ask("GET /latest/user-data?token={}")]),
    case(
        "a token over two segments",
        &[Ask("GET / HTTP/1.1\r\nX-aws-ec2-metadata-to"), Ask("ken: {}\r\n\r\n"), OK],
    ),
    case("bytes that are no HTTP", &[Ask("\x16\x03\x01 {} \x00\r\n\r\n")]),
    case(
        "the second request of a segment",
        &[
            Ask("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nX-aws-ec2-metadata-token: {}\r\n\r\n"),
            OK,
            OK,
        ],
    ),
];

/// Every place of a response's head, and responses that have none.
pub const RESPONSES: [Case; 8] = [
    case("a reason", &[GET, Answer("HTTP/1.1 200 {}\r\nContent-Length: 0\r\n\r\n")]),
    case(
        "Set-Cookie",
        &[
            GET,
            Answer(
                "HTTP/1.1 200 OK\r\nSet-Cookie: a={}; b\r\n\
                                      Content-Length: 0\r\n\r\n",
            ),
        ],
    ),
    case(
        "the token's header of a response",
        &[
            PUT,
            Answer(
                "HTTP/1.1 200 OK\r\n\
        X-aws-ec2-metadata-token: {}\r\nContent-Length: 0\r\n\r\n",
            ),
        ],
    ),
    case(
        "WWW-Authenticate",
        &[
            GET,
            Answer(
                "HTTP/1.1 401 Unauthorized\r\n\
        WWW-Authenticate: Digest nonce=\"{}\"\r\nContent-Length: 0\r\n\r\n",
            ),
        ],
    ),
    case(
        "Location",
        &[
            GET,
            Answer(
                "HTTP/1.1 302 Found\r\nLocation: http://a:{}@h/?token={}\r\n\
                                    Content-Length: 0\r\n\r\n",
            ),
        ],
    ),
    case("an interim response", &[GET, Answer("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n"), OK]),
    case("a head that is cut", &[GET, Answer("HTTP/1.1 200 OK\r\nX-Secret: {}")]),
    case("a status line that is none", &[GET, Answer("HTTP/1.1 two {}\r\n\r\n")]),
];

/// Every way for a response's body to come: nothing of it may leave the kernel.
pub const BODIES: [Case; 26] = [
    case(
        "a token's response",
        &[
            PUT,
            Answer(
                "HTTP/1.1 200 OK\r\n\
        X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 60\r\nContent-Length: 28\r\n\r\n{}",
            ),
        ],
    ),
    case(
        "a body in the segment of its head",
        &[GET, Answer("HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{}")],
    ),
    case(
        "a body in a segment of its own",
        &[GET, Answer("HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n"), Answer("{}")],
    ),
    case(
        "a body behind bare line feeds",
        &[GET, Answer("HTTP/1.1 200 OK\nContent-Length: 28\n\n{}")],
    ),
    case(
        "a body behind a head in pieces",
        &[GET, Answer("HTTP/1.1 200 OK\r\nContent-Le"), Answer("ngth: 28\r\n\r"), Answer("\n{}")],
    ),
    case(
        "credentials",
        &[
            GET,
            Answer(
                "HTTP/1.1 200 OK\r\nContent-Length: 113\r\n\r\n{\"Code\": \"Success\",\n \
            \"SecretAccessKey\": \"{}\",\n \"Token\": \"{}\"}",
            ),
        ],
    ),
    case(
        "a body in chunks",
        &[
            GET,
            Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1c\r\n{}\r\n0\r\n\r\n"),
        ],
    ),
    case(
        "chunks in segments of their own",
        &[
            GET,
            Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Answer("1c\r\n"),
            Answer("{}"),
            Answer("\r\n0\r\nX-Trailer: {}\r\n\r\n"),
        ],
    ),
    case("a body without a length", &[GET, Answer("HTTP/1.1 200 OK\r\n\r\n"), Answer("{}")]),
    case(
        "a body without a length in the segment of its head",
        &[GET, Answer("HTTP/1.0 200 OK\r\nServer: EC2ws\r\n\r\n{}")],
    ),
    case(
        "a body that looks like a response",
        &[
            GET,
            Answer("HTTP/1.1 200 OK\r\nContent-Length: 57\r\n\r\n"),
            Answer("HTTP/1.1 200 OK\r\nX-Fake: {}\r\n\r\n"),
        ],
    ),
    case(
        "a body without a length that looks like a response",
        &[GET, Answer("HTTP/1.1 200 OK\r\n\r\n"), Answer("HTTP/1.1 200 OK\r\nX-Fake: {}\r\n\r\n")],
    ),
    case(
        "chunks that look like a response",
        &[
            GET,
            Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n39\r\n"),
            Answer("HTTP/1.1 200 OK\r\nX-Fake: {}\r\n\r\n"),
            Answer("\r\n0\r\n\r\n"),
        ],
    ),
    case(
        "a body longer than its length",
        &[GET, Answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na{}"), Answer("{}")],
    ),
    case(
        "a body whose length is no number",
        &[GET, Answer("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}")],
    ),
    case(
        "the body of an answer to the second request on a connection",
        &[GET, OK, GET, Answer("HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{}")],
    ),
    case(
        "the bodies of answers to requests in one segment",
        &[
            Ask("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n"),
            Answer(
                "HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{}\
                HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{}\
                HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{}",
            ),
        ],
    ),
    case(
        "bodies of answers in one segment, in segments cut anywhere",
        &[
            Ask("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"),
            Answer("HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r"),
            Answer("\n{}HTTP/1"),
            Answer(".1 200 OK\r\nContent-Length: 28\r\n\r\n{}"),
        ],
    ),
    case(
        "a body behind an interim response",
        &[
            GET,
            Answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{}"),
        ],
    ),
    case(
        "a body of an answer that nobody asked for",
        &[GET, OK, Answer("HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{}")],
    ),
    case("bytes that came before any request", &[Answer("{}"), GET, OK]),
    case("an answer that is no HTTP", &[GET, Answer("{} is no HTTP")]),
    case(
        "a body of an error",
        &[GET, Answer("HTTP/1.1 401 Unauthorized\r\nContent-Length: 28\r\n\r\n{}")],
    ),
    case(
        "a body while the next request is under way",
        &[
            GET,
            Answer("HTTP/1.1 200 OK\r\nContent-Length: 56\r\n\r\n{}"),
            Ask("GET /latest/meta-data/ami-id HTTP/1.1\r\n\r\n"),
            Answer("{}"),
            OK,
        ],
    ),
    case(
        "a body that looks like a response while the next request is under way",
        &[
            GET,
            Answer("HTTP/1.1 200 OK\r\nContent-Length: 85\r\n\r\n{}"),
            Ask("GET /latest/meta-data/ami-id HTTP/1.1\r\n\r\n"),
            Answer("HTTP/1.1 200 OK\r\nX-Fake: {}\r\n\r\n"),
            OK,
        ],
    ),
    case(
        "a body that looks like a response, all of it behind the next request",
        &[
            GET,
            Answer("HTTP/1.1 200 OK\r\nContent-Length: 57\r\n\r\n"),
            Ask("GET /latest/meta-data/ami-id HTTP/1.1\r\n\r\n"),
            Answer("HTTP/1.1 200 OK\r\nX-Fake: {}\r\n\r\n"),
            OK,
        ],
    ),
];
