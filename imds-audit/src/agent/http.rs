//! Three paths by HTTP: `/metrics`, `/healthz` and `/readyz`.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use super::metrics::{Exposition, OPEN_METRICS, TEXT};

/// The longest request head in bytes.
const MAX_HEAD: usize = 8 * 1024;
/// The number of header fields of a request.
const MAX_FIELDS: usize = 64;
/// The number of connections at a time; others wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 8;
/// The time that a request, and a response, may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The time until another connection is accepted after an error, such as no free descriptor.
const PAUSE: Duration = Duration::from_secs(1);

/// A response.
struct Response {
    status: &'static str,
    kind: &'static str,
    body: String,
}

/// Serves until it is dropped. Every response ends its connection.
pub(super) async fn serve(listener: TcpListener, exposition: Arc<Exposition>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let exposition = Arc::clone(&exposition);
                tokio::spawn(async move {
                    if let Err(error) = serve_one(stream, &exposition).await {
                        log::debug!("a metrics connection failed error={error}");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                log::warn!("cannot accept a metrics connection error={error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve_one(mut stream: TcpStream, exposition: &Exposition) -> io::Result<()> {
    let head = timeout(TIMEOUT, read_head(&mut stream)).await??;
    let (response, has_body) = respond(&head, exposition);
    let Response { status, kind, body } = response;
    let length = body.len();
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    if has_body {
        bytes.push_str(&body);
    }
    timeout(TIMEOUT, async {
        stream.write_all(bytes.as_bytes()).await?;
        stream.shutdown().await
    })
    .await?
}

/// Reads until the end of the head, or as much as a head may have.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut block = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < MAX_HEAD {
        let length = stream.read(&mut block).await?;
        match block.get(..length) {
            Some([]) | None => break,
            Some(bytes) => head.extend_from_slice(bytes),
        }
    }
    Ok(head)
}

/// Returns the response to a request head, and whether its body is sent.
fn respond(head: &[u8], exposition: &Exposition) -> (Response, bool) {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let is_whole = request.parse(head).is_ok_and(|status| status.is_complete());
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return (text("400 Bad Request", "not a request\n"), true);
    };
    if !is_whole {
        return (text("400 Bad Request", "not a request\n"), true);
    }
    if !matches!(method, "GET" | "HEAD") {
        return (text("405 Method Not Allowed", "use GET\n"), true);
    }
    let path = target.split('?').next().unwrap_or_default();
    let accepts_open_metrics = request.headers.iter().any(|field| {
        field.name.eq_ignore_ascii_case("accept")
            && memchr::memmem::find(field.value, b"application/openmetrics-text").is_some()
    });
    let response = match path {
        "/metrics" => metrics(exposition, accepts_open_metrics),
        // It is answered by the thread that audits: an agent that hangs does not answer. And it
        // listens for requests only once it is attached.
        "/healthz" | "/readyz" => text("200 OK", "ok\n"),
        _ => text("404 Not Found", "use /metrics, /healthz or /readyz\n"),
    };
    (response, method == "GET")
}

fn metrics(exposition: &Exposition, open_metrics: bool) -> Response {
    let (kind, page) = if open_metrics {
        (OPEN_METRICS, exposition.open_metrics())
    } else {
        (TEXT, exposition.text())
    };
    match page {
        Ok(body) => Response { status: "200 OK", kind, body },
        Err(_) => text("500 Internal Server Error", "the metrics cannot be rendered\n"),
    }
}

fn text(status: &'static str, body: &str) -> Response {
    Response { status, kind: "text/plain; charset=utf-8", body: body.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::metrics::Metrics;

    fn exposition() -> Exposition {
        Exposition::new(Arc::new(Metrics::new(None)))
    }

    fn status(head: &str) -> (&'static str, bool) {
        let (response, has_body) = respond(head.as_bytes(), &exposition());
        (response.status, has_body)
    }

    #[test]
    fn three_paths_answer_and_nothing_else_does() {
        for path in ["/metrics", "/healthz", "/readyz", "/metrics?a=b"] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(status(&head), ("200 OK", true), "{path}");
        }
        assert_eq!(status("HEAD /metrics HTTP/1.0\r\n\r\n"), ("200 OK", false));
        assert_eq!(status("GET /etc/passwd HTTP/1.1\r\n\r\n").0, "404 Not Found");
        assert_eq!(status("POST /metrics HTTP/1.1\r\n\r\n").0, "405 Method Not Allowed");
        for head in ["", "GET", "GET /metrics HTTP/1.1\r\n", "\0\0\r\n\r\n", "GET  / x\r\n\r\n"] {
            assert_eq!(status(head).0, "400 Bad Request", "{head:?}");
        }
    }

    #[test]
    fn open_metrics_are_for_those_who_accept_them() {
        let head =
            b"GET /metrics HTTP/1.1\r\naccept: application/openmetrics-text;version=1.0.0\r\n\r\n";
        let (response, _) = respond(head, &exposition());
        assert_eq!(response.kind, OPEN_METRICS);
        assert!(response.body.ends_with("# EOF\n"));
    }

    #[tokio::test]
    async fn a_request_of_a_client_is_served_and_one_without_end_is_bounded() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Arc::new(exposition())));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut page = String::new();
        client.read_to_string(&mut page).await.unwrap();
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("build_info"), "{page}");
        let mut client = TcpStream::connect(address).await.unwrap();
        // It may be cut off before all of it is sent.
        let _ = client.write_all(&vec![b'a'; MAX_HEAD]).await;
        let mut page = Vec::new();
        let _ = client.read_to_end(&mut page).await;
        assert!(page.is_empty() || page.starts_with(b"HTTP/1.1 400"), "{page:?}");
        server.abort();
    }
}
