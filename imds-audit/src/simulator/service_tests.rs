//! Speaks to the service in raw bytes, over plain loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::*;

const PUT: &str = "PUT /latest/api/token HTTP/1.1\r\nHost: x\r\n\
                   X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";

struct Fixture {
    _service: BackgroundService,
    handle: Handle,
    address: SocketAddr,
}

fn start(settings: Settings) -> Fixture {
    start_with(Service::builder().settings(settings))
}

fn start_with(builder: Builder) -> Fixture {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let service = BackgroundService::start(builder, vec![listener]).unwrap();
    Fixture { handle: service.handle(), _service: service, address }
}

impl Fixture {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Sends bytes, ends the sending side and gives everything that comes back.
    fn talk(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    fn get(&self, path: &str, headers: &str) -> String {
        self.talk(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes())
    }

    fn token(&self) -> String {
        let answer = self.talk(format!("{PUT}\r\n").as_bytes());
        assert_eq!(status(&answer), 200, "{answer}");
        body(&answer).to_owned()
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {answer:?}")).parse().unwrap()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    head.lines().filter_map(|line| line.split_once(": ")).find(|pair| pair.0 == name).map(|p| p.1)
}

#[test]
fn a_token_session_is_served_and_confirmed_in_each_response() {
    let fixture = start(Settings { http_tokens: HttpTokens::Required, ..Settings::default() });
    let answer = fixture.talk(format!("{PUT}\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(header(&answer, "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"), Some("60"));
    assert_eq!(header(&answer, "Server"), Some("EC2ws"));
    assert_eq!(header(&answer, "Content-Length"), Some("56"));
    assert!(header(&answer, "Date").unwrap().ends_with(" GMT"), "{answer}");
    assert_eq!(fixture.handle.issued_tokens(), [body(&answer)]);

    let token = format!("x-AWS-ec2-metadata-token: {}\r\n", body(&answer));
    let answer = fixture.get("/latest/meta-data/instance-id", &token);
    assert_eq!((status(&answer), body(&answer)), (200, "i-0123456789abcdef0"));
    let left: u64 =
        header(&answer, "X-Aws-Ec2-Metadata-Token-Ttl-Seconds").unwrap().parse().unwrap();
    assert!((50..=60).contains(&left), "{left}");
}

#[test]
fn a_request_without_token_is_served_only_where_tokens_are_optional() {
    let fixture = start(Settings::default());
    let answer = fixture.get("/2009-04-04/meta-data/instance-id", "");
    assert_eq!((status(&answer), body(&answer)), (200, "i-0123456789abcdef0"));
    assert_eq!(header(&answer, "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"), None);
    assert_eq!(header(&answer, "Content-Type"), Some("text/plain"));

    fixture.handle.set_http_tokens(HttpTokens::Required);
    let answer = fixture.get("/latest/meta-data/instance-id", "");
    assert_eq!(status(&answer), 401);
    assert!(body(&answer).contains("<h1>401 - Unauthorized</h1>"), "{answer}");
    assert_eq!(header(&answer, "Content-Type"), Some("text/html"));
    let counters = fixture.handle.log().counters();
    assert_eq!((counters.metadata_no_token, counters.metadata_no_token_rejected), (1, 1));
}

#[test]
fn a_token_stops_working_when_its_time_to_live_is_over() {
    let fixture = start(Settings::default());
    let put = PUT.replace(": 60", ": 1");
    let answer = fixture.talk(format!("{put}\r\n").as_bytes());
    let token = format!("X-aws-ec2-metadata-token: {}\r\n", body(&answer));
    assert_eq!(status(&fixture.get("/latest/", &token)), 200);
    sleep(Duration::from_millis(1_100));
    assert_eq!(status(&fixture.get("/latest/", &token)), 401);
}

#[test]
fn a_get_of_the_token_path_is_refused_as_captured() {
    let answer = start(Settings::default()).get("/latest/api/token", "");
    assert!(answer.starts_with("HTTP/1.1 405 Not Allowed\r\n"), "{answer}");
    assert_eq!(header(&answer, "Allow"), Some("OPTIONS, PUT"));
    assert_eq!(header(&answer, "Connection"), Some("close"));
    assert_eq!(header(&answer, "Content-Length"), Some("0"));
    assert_eq!(body(&answer), "");
}

#[test]
fn credentials_carry_the_canaries() {
    let secrets = Secrets { session_token: "my-own-canary".into(), ..Secrets::default() };
    let fixture = start_with(Service::builder().role("worker").secrets(secrets.clone()));
    let list = fixture.get("/latest/meta-data/iam/security-credentials/", "");
    assert_eq!(body(&list), "worker");
    let answer = fixture.get("/latest/meta-data/iam/security-credentials/worker", "");
    let document: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(document["Token"], "my-own-canary");
    assert_eq!(document["SecretAccessKey"], secrets.secret_access_key.as_str());
    let user_data = fixture.get("/latest/user-data", "");
    assert_eq!(header(&user_data, "Content-Type"), Some("application/octet-stream"));
    assert!(user_data.contains(&secrets.user_data));
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let fixture = start(Settings::default());
    let requests: String = ["instance-id", "nothing-here", "mac", "region"]
        .map(|name| format!("GET /latest/meta-data/{name} HTTP/1.1\r\n\r\n"))
        .concat();
    let answer = fixture.talk(requests.as_bytes());
    let statuses: Vec<_> = answer.split("HTTP/1.1 ").skip(1).map(|part| &part[..3]).collect();
    assert_eq!(statuses, ["200", "404", "200", "404"]);
    let entries = fixture.handle.log().entries();
    let numbers: Vec<_> = entries.iter().map(|entry| entry.request_on_connection).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert!(entries.iter().all(|entry| entry.peer == entries[0].peer));
    assert_eq!(fixture.handle.log().counters().connections, 1);
}

#[test]
fn a_head_response_has_the_length_and_not_the_body() {
    let fixture = start(Settings::default());
    let answer = fixture.talk(b"HEAD /latest/meta-data/instance-id HTTP/1.1\r\n\r\n");
    assert_eq!(header(&answer, "Content-Length"), Some("19"));
    assert_eq!(body(&answer), "");
}

#[test]
fn http_1_0_connections_close_unless_asked_to_stay() {
    let fixture = start(Settings::default());
    let request = "GET /latest/ HTTP/1.0\r\n\r\n";
    let answer = fixture.talk(request.repeat(2).as_bytes());
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert_eq!(header(&answer, "Connection"), Some("close"));
    assert_eq!(answer.matches("HTTP/1.0 200").count(), 1);
    let keep = "GET /latest/ HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
    let answer = fixture.talk(keep.repeat(2).as_bytes());
    assert_eq!(header(&answer, "Connection"), Some("keep-alive"));
    assert_eq!(answer.matches("HTTP/1.0 200").count(), 2);
}

#[test]
fn request_bodies_are_skipped_whatever_their_framing() {
    let fixture = start(Settings::default());
    let next = "GET /latest/meta-data/mac HTTP/1.1\r\n\r\n";
    for (headers, content) in [
        ("Content-Length: 7\r\n", "GET / H"),
        ("Transfer-Encoding: chunked\r\n", "5;a=b\r\nGET /\r\n1\r\nx\r\n0\r\nTrailer: t\r\n\r\n"),
    ] {
        let answer = fixture.talk(format!("{PUT}{headers}\r\n{content}{next}").as_bytes());
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
        assert!(answer.ends_with("02:00:00:00:00:05"), "{answer}");
    }
    assert_eq!(fixture.handle.log().counters().requests, 4);
}

#[test]
fn a_caller_that_waits_for_100_continue_gets_it() {
    let fixture = start(Settings::default());
    let mut stream = fixture.connect();
    let head = format!("{PUT}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), 200);
}

#[test]
fn what_is_no_http_is_answered_400_and_closed() {
    let fixture = start(Settings::default());
    let endless = [b"GET / HTTP/1.1\r\nA: ".as_slice(), &[b'x'; 70_000]].concat();
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00".as_slice(),
        b"hello\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        &endless,
    ] {
        let mut stream = fixture.connect();
        stream.write_all(bytes).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(status(&answer), 400, "{answer}");
        assert_eq!(header(&answer, "Connection"), Some("close"));
    }
    let entries = fixture.handle.log().entries();
    assert_eq!(entries.len(), 6);
    assert!(entries.iter().all(|entry| !entry.readable && entry.status == Some(400)));
}

#[test]
fn a_header_block_of_just_under_64_kib_with_odd_bytes_is_served() {
    let fixture = start(Settings::default());
    let mut request = b"GET /latest/ HTTP/1.1\r\nno colon\r\nA\xff: \xfe\x00\r\nB: ".to_vec();
    request.resize(64 * 1_024 - 8, b'b');
    request.extend_from_slice(b"\r\n\r\n");
    assert_eq!(status(&fixture.talk(&request)), 200);
}

#[test]
fn a_head_that_arrives_byte_by_byte_is_one_request() {
    let fixture = start(Settings::default());
    let mut stream = fixture.connect();
    stream.set_nodelay(true).unwrap();
    for byte in b"GET /latest/ HTTP/1.1\r\nConnection: close\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), 200);
    assert_eq!(fixture.handle.log().counters().requests, 1);
}

#[test]
fn a_cut_request_is_remembered_and_not_answered() {
    let fixture = start(Settings::default());
    assert_eq!(fixture.talk(b"GET /latest/ HTTP/1.1\r\nHost"), "");
    let entries = fixture.handle.log().entries();
    assert_eq!((entries.len(), entries[0].readable, entries[0].status), (1, false, None));
}

#[test]
fn token_modes_change_at_run_time_and_leave_reads_alone() {
    let fixture = start(Settings::default());
    for code in [
        Status::Forbidden,
        Status::NotFound,
        Status::MethodNotAllowed,
        Status::BadRequest,
        Status::InternalServerError,
        Status::ServiceUnavailable,
    ] {
        fixture.handle.set_mode(TokenMode::Status(code));
        let answer = fixture.talk(format!("{PUT}\r\n").as_bytes());
        assert_eq!(status(&answer), code.code());
        assert_eq!(status(&fixture.get("/latest/", "")), 200);
    }
    fixture.handle.set_mode(TokenMode::Normal);
    fixture.token();
}

#[test]
fn a_silent_token_mode_reads_the_request_and_sends_nothing() {
    let fixture = start(Settings { token_mode: TokenMode::NoAnswer, ..Settings::default() });
    let mut stream = fixture.connect();
    stream.write_all(format!("{PUT}\r\n").as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    let entries = fixture.handle.log().entries();
    assert_eq!((entries.len(), entries[0].status), (1, None));
    assert_eq!((entries[0].method.as_str(), entries[0].ttl_header), ("PUT", true));
}

#[test]
fn response_styles_show_on_the_wire() {
    let fixture = start(Settings::default());
    let with = |style: Style| {
        fixture.handle.set_style(style);
        let twice = "GET /latest/meta-data/mac HTTP/1.1\r\n\r\n".repeat(2);
        fixture.talk(twice.as_bytes())
    };
    let answer = with(Style { close: true, ..Style::default() });
    assert_eq!(header(&answer, "Connection"), Some("close"));
    assert_eq!(answer.matches("200 OK").count(), 1);

    let answer = with(Style { version: ResponseVersion::Http10, ..Style::default() });
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert_eq!(answer.matches("200 OK").count(), 1);

    let answer = with(Style { framing: Framing::Chunked, ..Style::default() });
    assert_eq!(header(&answer, "Transfer-Encoding"), Some("chunked"));
    assert_eq!(header(&answer, "Content-Length"), None);
    assert_eq!(answer.matches("\r\n\r\n8\r\n02:00:00\r\n9\r\n:00:00:05\r\n0\r\n\r\n").count(), 2);

    let answer = with(Style { framing: Framing::UntilClose, ..Style::default() });
    assert_eq!(header(&answer, "Content-Length"), None);
    assert_eq!(body(&answer), "02:00:00:00:00:05");
}

#[test]
fn a_split_head_arrives_in_two_segments() {
    let style = Style { split_head: true, ..Style::default() };
    let fixture = start(Settings { style, ..Settings::default() });
    let mut stream = fixture.connect();
    stream.write_all(b"GET /latest/ HTTP/1.1\r\n\r\n").unwrap();
    let mut buffer = [0; 4_096];
    let length = stream.read(&mut buffer).unwrap();
    let first = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(first.starts_with("HTTP/1.1 200") && !first.contains("\r\n\r\n"), "{first}");
}

#[test]
fn a_delayed_response_comes_late() {
    let style = Style { delay: Duration::from_millis(200), ..Style::default() };
    let fixture = start(Settings { style, ..Settings::default() });
    let before = Instant::now();
    assert_eq!(status(&fixture.get("/latest/", "")), 200);
    assert!(before.elapsed() >= Duration::from_millis(200));
}

#[test]
fn the_log_says_what_was_sent_and_holds_no_token() {
    let (sender, lines) = mpsc::channel();
    let fixture = start_with(Service::builder().log_writer(Lines(sender)));
    let token = fixture.token();
    let mut stream = fixture.connect();
    let request = format!(
        "GET /latest/user-data?q HTTP/1.1\r\nConnection: close\r\n\
         User-Agent: test/1\r\nX-aws-ec2-metadata-token: {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    fixture.get("/", "X-aws-ec2-metadata-token: \r\n");

    let entries = fixture.handle.log().entries();
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[1].sequence, 2);
    assert_eq!(entries[1].peer, stream.local_addr().unwrap());
    assert_eq!(entries[1].endpoint, fixture.address);
    assert_eq!(entries[1].target, "/latest/user-data?q");
    assert_eq!(entries[1].user_agent.as_deref(), Some("test/1"));
    assert_eq!(entries[1].status, Some(200));
    let tokens: Vec<_> = entries.iter().map(|entry| entry.token).collect();
    assert_eq!(tokens, [TokenHeader::Absent, TokenHeader::Present, TokenHeader::Empty]);

    let written = String::from_utf8(lines.try_iter().flatten().collect()).unwrap();
    assert_eq!(written.lines().count(), 3);
    assert!(!written.contains(&token));
    let line: serde_json::Value = serde_json::from_str(written.lines().nth(1).unwrap()).unwrap();
    assert_eq!(line["token"], "present");
    assert_eq!(line["peer"], stream.local_addr().unwrap().to_string());
}

#[test]
fn shutting_down_closes_the_listener_and_breaks_off_connections() {
    let fixture = start(Settings::default());
    let mut open = fixture.connect();
    open.write_all(b"GET /latest/ HTTP/1.1\r\n\r\n").unwrap();
    open.read_exact(&mut [0; 12]).unwrap();
    let address = fixture.address;
    drop(fixture);
    // What was sent before may still arrive; then the end does, or a reset.
    open.read_to_end(&mut Vec::new()).ok();
    assert!(TcpStream::connect(address).is_err());
}

/// Hands what is written to a channel.
struct Lines(mpsc::Sender<Vec<u8>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
