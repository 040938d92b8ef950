//! A front before services of the tests' own, on loopback addresses; nothing is redirected to it.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
};

use super::*;

/// A test's own time limit for whatever must come.
const TIMEOUT: Duration = Duration::from_secs(10);

const TOKEN: &str = "X-aws-ec2-metadata-token: t";

/// A front before a service at an address.
struct Rig {
    front: Front,
    address: SocketAddr,
    counters: Arc<Counters>,
}

impl Rig {
    fn before(endpoint: SocketAddr, policy: Policy) -> Self {
        Self::start(endpoint, policy, MAX_CONNECTIONS, Marker::none())
    }

    fn start(endpoint: SocketAddr, policy: Policy, max_connections: usize, marker: Marker) -> Self {
        let mut routes = routes(&[endpoint]).unwrap();
        routes[0].endpoint = endpoint;
        let address = routes[0].front;
        let counters = Arc::new(Counters::default());
        let settings = Arc::new(Settings { policy, hop_limit: None, routes, max_connections });
        let shared = Arc::clone(&counters);
        let front = Front::start(None, settings, shared, marker, Arc::default()).unwrap();
        Self { front, address, counters }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
    }

    fn refused(&self) -> u64 {
        self.counters.refused.load(Ordering::Relaxed)
    }
}

/// A service that acts out a script on its next connection. Gives its address, and what the script
/// returns.
fn service<T: Send + 'static>(
    script: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, Receiver<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        sender.send(script(stream)).ok();
    });
    (address, receiver)
}

/// Reads until the bytes end so.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => read.push(byte[0]),
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&read)),
        }
    }
    String::from_utf8(read).unwrap()
}

fn read_to_end(stream: &mut TcpStream) -> String {
    let mut read = String::new();
    stream.read_to_string(&mut read).unwrap();
    read
}

const PAGE_END: &str = "</html>\n";

#[test]
fn requests_without_a_token_are_refused_in_their_turn_and_the_others_pass_unchanged() {
    let first = format!("GET /latest/a HTTP/1.1\r\nhost:  x\r\n{TOKEN}\r\n fold\r\n\r\n");
    let third = format!("\r\nGET /latest/c HTTP/1.1\n{TOKEN}\n\n");
    let expected = format!("{first}{third}");
    let length = expected.len();
    let (address, seen) = service(move |mut stream| {
        let mut read = vec![0; length];
        for (until, response) in [
            (first.len(), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"),
            (
                length,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nth\r\n3\r\nree\r\n0\r\n\r\n",
            ),
        ] {
            let start = if until == length { first.len() } else { 0 };
            stream.read_exact(&mut read[start..until]).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
        }
        String::from_utf8(read).unwrap()
    });
    let rig = Rig::before(address, Policy::TokensRequired);
    let mut stream = rig.connect();
    // Pipelined, with a refused one in between.
    let middle = "GET /latest/b HTTP/1.1\r\nHost: x\r\n\r\n";
    let (before, after) = expected.split_at(expected.find("\r\n\r\n").unwrap() + 4);
    stream.write_all(format!("{before}{middle}{after}").as_bytes()).unwrap();
    assert_eq!(read_until(&mut stream, "one"), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
    let refusal = read_until(&mut stream, PAGE_END);
    assert!(refusal.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{refusal}");
    let third = read_until(&mut stream, "0\r\n\r\n");
    assert!(third.ends_with("2\r\nth\r\n3\r\nree\r\n0\r\n\r\n"), "{third}");
    assert_eq!(seen.recv_timeout(TIMEOUT).unwrap(), expected);
    assert_eq!(rig.refused(), 1);
}

#[test]
fn a_caller_that_sends_byte_by_byte_is_understood() {
    let request = format!("GET /latest/a HTTP/1.1\r\n{TOKEN}\r\n\r\n");
    let length = request.len();
    let (address, seen) = service(move |mut stream| {
        let mut read = vec![0; length];
        stream.read_exact(&mut read).unwrap();
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil the end").unwrap();
        read
    });
    let rig = Rig::before(address, Policy::TokensRequired);
    let mut stream = rig.connect();
    stream.set_nodelay(true).unwrap();
    for byte in request.bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(read_to_end(&mut stream), "HTTP/1.0 200 OK\r\n\r\nuntil the end");
    assert_eq!(seen.recv_timeout(TIMEOUT).unwrap(), request.as_bytes());
}

#[test]
fn a_half_closed_caller_still_gets_its_response_and_the_service_sees_the_end() {
    let (address, seen) = service(|mut stream| {
        let read = read_to_end(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        read
    });
    let rig = Rig::before(address, Policy::TokensRequired);
    let mut stream = rig.connect();
    let request = format!("PUT /latest/api/token HTTP/1.1\r\n{TOKEN}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&mut stream).ends_with("\r\n\r\nok"));
    assert_eq!(seen.recv_timeout(TIMEOUT).unwrap(), request);

    let (address, _seen) = service(|mut stream| read_to_end(&mut stream));
    let rig = Rig::before(address, Policy::TokensRequired);
    let mut stream = rig.connect();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&mut stream).ends_with(PAGE_END));
}

#[test]
fn a_body_that_waits_for_leave_is_passed_on_after_it() {
    let (address, seen) = service(|mut stream| {
        let head = read_until(&mut stream, "\r\n\r\n");
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let body = read_until(&mut stream, "body");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        (head, body)
    });
    let rig = Rig::before(address, Policy::TokensRequired);
    let mut stream = rig.connect();
    let head =
        "PUT /latest/api/token HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(read_until(&mut stream, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").unwrap();
    assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 200 OK"));
    assert_eq!(seen.recv_timeout(TIMEOUT).unwrap(), (head.to_owned(), "body".to_owned()));
    // Refused without leave: the connection ends, as the body may or may not come.
    let (address, _seen) = service(|mut stream| read_to_end(&mut stream));
    let rig = Rig::before(address, Policy::TokensRequired);
    let mut stream = rig.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .unwrap();
    let refusal = read_to_end(&mut stream);
    assert!(refusal.starts_with("HTTP/1.1 401") && refusal.contains("Connection: close"));
}

#[test]
fn a_refused_request_s_body_is_no_request() {
    let (address, _seen) = service(|mut stream| read_to_end(&mut stream));
    let rig = Rig::before(address, Policy::TokensRequired);
    let mut stream = rig.connect();
    stream
        .write_all(b"GET /a HTTP/1.1\r\nContent-Length: 18\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
        .unwrap();
    stream.write_all(b"GET /c HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let all = read_to_end(&mut stream);
    assert_eq!(all.matches("HTTP/1.1 401").count(), 2, "{all}");
    assert_eq!(rig.refused(), 2);
}

#[test]
fn where_the_service_refuses_or_is_silent_so_is_the_front() {
    // Nobody listens: the caller's connection is reset, whatever it asks.
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rig = Rig::before(unused, Policy::TokensRequired);
    let mut stream = rig.connect();
    let ended = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").and_then(|()| stream.read(&mut [0]));
    assert!(matches!(&ended, Err(_) | Ok(0)), "{ended:?}");
    assert_eq!(rig.refused(), 0);
    // It accepts and does not answer.
    let (address, seen) = service(|mut stream| read_until(&mut stream, "\r\n\r\n"));
    let rig = Rig::before(address, Policy::TokensRequired);
    let (hold, held) = channel::<()>();
    let mut stream = rig.connect();
    stream.write_all(format!("GET / HTTP/1.1\r\n{TOKEN}\r\n\r\n").as_bytes()).unwrap();
    seen.recv_timeout(TIMEOUT).unwrap();
    drop((hold, held));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).ok();
    assert!(rest.is_empty(), "the front made an answer up");
}

#[test]
fn what_is_no_http_passes_both_ways() {
    let (address, seen) = service(|mut stream| {
        let mut read = [0; 5];
        stream.read_exact(&mut read).unwrap();
        stream.write_all(b"\x15\x03\x01").unwrap();
        read
    });
    let rig = Rig::before(address, Policy::TokensRequired);
    let mut stream = rig.connect();
    stream.write_all(b"\x16\x03\x01\x00\x05").unwrap();
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\x15\x03\x01");
    assert_eq!(&seen.recv_timeout(TIMEOUT).unwrap(), b"\x16\x03\x01\x00\x05");
    assert_eq!(rig.counters.tunnelled.load(Ordering::Relaxed), 1);
}

#[test]
fn a_disabled_endpoint_answers_403_to_everything() {
    let (address, _seen) = service(|mut stream| read_to_end(&mut stream));
    let rig = Rig::before(address, Policy::Disabled);
    let mut stream = rig.connect();
    stream.write_all(format!("GET / HTTP/1.1\r\n{TOKEN}\r\n\r\n").as_bytes()).unwrap();
    let refusal = read_until(&mut stream, PAGE_END);
    assert!(refusal.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{refusal}");
    stream.write_all(b"PUT /latest/api/token HTTP/1.1\r\n\r\n").unwrap();
    assert!(read_until(&mut stream, PAGE_END).starts_with("HTTP/1.1 403"));
}

#[test]
fn a_stopped_front_closes_what_is_idle_and_finishes_what_is_not() {
    let (address, seen) = service(|mut stream| {
        read_until(&mut stream, "\r\n\r\n");
        thread::sleep(Duration::from_millis(10));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    });
    let rig = Rig::before(address, Policy::TokensRequired);
    let mut stream = rig.connect();
    stream.write_all(format!("GET / HTTP/1.1\r\n{TOKEN}\r\n\r\n").as_bytes()).unwrap();
    rig.front.stop();
    assert!(read_to_end(&mut stream).ends_with("\r\n\r\nok"));
    seen.recv_timeout(TIMEOUT).unwrap();
    let address = rig.address;
    drop(rig);
    assert!(TcpStream::connect(address).is_err(), "the front still listens");
}

#[test]
fn a_front_that_cannot_listen_says_where_and_leaves_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let settings = Settings {
        policy: Policy::TokensRequired,
        hop_limit: None,
        routes: vec![Route { endpoint: address, front: address }],
        max_connections: 1,
    };
    let (settings, ended) = (Arc::new(settings), Arc::default());
    let started = Front::start(None, settings, Arc::default(), Marker::none(), ended);
    let error = started.err().unwrap();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn connections_beyond_the_bound_wait_for_their_turn_in_the_kernel() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // A service that closes when its caller does.
    thread::spawn(move || {
        for mut stream in listener.incoming().take(3).flatten() {
            thread::spawn(move || stream.read_to_end(&mut Vec::new()));
        }
    });
    let rig = Rig::start(address, Policy::TokensRequired, 2, Marker::none());
    let mut waiting: Vec<_> = (0..3).map(|_| rig.connect()).collect();
    for stream in &mut waiting {
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    }
    for stream in &mut waiting[..2] {
        assert!(read_until(stream, PAGE_END).starts_with("HTTP/1.1 401"));
    }
    // The third is not accepted, and neither is anything of it read, while the two are open.
    assert_eq!(rig.counters.accepted.load(Ordering::Relaxed), 2);
    assert_eq!(rig.refused(), 2);
    let mut third = waiting.pop().unwrap();
    drop(waiting);
    assert!(read_until(&mut third, PAGE_END).starts_with("HTTP/1.1 401"));
}

#[test]
fn a_panic_in_one_connection_ends_that_connection_alone() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let rig =
        Rig::start(unused.local_addr().unwrap(), Policy::TokensRequired, 2, Marker::panicking());
    // More than there are places: each gives its own back.
    for _ in 0..4 {
        let mut stream = rig.connect();
        let ended = stream.read(&mut [0]);
        assert!(matches!(&ended, Err(_) | Ok(0)), "{ended:?}");
    }
    assert!(rig.front.is_running());
    assert_eq!(rig.counters.accepted.load(Ordering::Relaxed), 4);
}

#[test]
fn fronts_have_loopback_addresses_of_the_endpoint_s_family_and_ports_of_their_own() {
    let endpoints = ["169.254.169.254:80", "[fd00:ec2::254]:80", "[::ffff:10.0.0.1]:8080"];
    let routes = routes(&endpoints.map(|address| address.parse().unwrap())).unwrap();
    let fronts: Vec<_> = routes.iter().map(|route| route.front).collect();
    assert!(fronts[0].is_ipv4() && fronts[1].is_ipv6() && fronts[2].is_ipv4());
    assert!(fronts.iter().all(|front| front.ip().is_loopback()), "{fronts:?}");
    assert_ne!(fronts[0].port(), fronts[2].port());
    assert_eq!(routes[2].endpoint, "10.0.0.1:8080".parse().unwrap());
    assert!(fronts.iter().all(|front| (20_000..32_768).contains(&front.port())));
}
