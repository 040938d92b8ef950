//! Tests that make network namespaces, and so need root.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::*;

/// Says whether the test may run. Without root it is skipped, loudly; in CI that is a failure.
fn may_run(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{test} needs root in CI");
    eprintln!("SKIPPED {test}: it makes network namespaces and needs root");
    false
}

fn serve(network: &Network, settings: Settings) -> (BackgroundService, Handle) {
    let builder = Service::builder().settings(settings);
    let service = BackgroundService::start(builder, network.listeners().unwrap()).unwrap();
    let handle = service.handle();
    (service, handle)
}

fn endpoints(network: &Network) -> Vec<SocketAddr> {
    let v6 = network.ipv6().then(|| SocketAddr::from((SERVICE_V6, 80)));
    if v6.is_none() {
        eprintln!("SKIPPED the IPv6 half: this kernel has no IPv6");
    }
    [SocketAddr::from((SERVICE_V4, 80))].into_iter().chain(v6).collect()
}

/// Sends a request from the client's namespace and gives what comes back within a second.
fn ask(network: &Network, endpoint: SocketAddr, request: &str) -> io::Result<String> {
    network
        .in_client(|| {
            let mut stream = TcpStream::connect_timeout(&endpoint, Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(format!("{request}\r\nConnection: close\r\n\r\n").as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })
        .unwrap()
}

const PUT: &str = "PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60";
const GET: &str = "GET /latest/meta-data/instance-id HTTP/1.1";

#[test]
fn every_topology_serves_its_client_and_the_log_knows_the_client_address() {
    if !may_run("every_topology_serves_its_client") {
        return;
    }
    for (topology, client) in [
        (Topology::Direct, Some(Ipv4Addr::new(10, 0, 0, 5))),
        (Topology::Routed, Some(Ipv4Addr::new(172, 17, 0, 2))),
        (Topology::Loopback, None),
    ] {
        let network = Network::new(topology).unwrap();
        assert_eq!(network.topology(), topology);
        let (_service, handle) = serve(&network, Settings::default());
        for endpoint in endpoints(&network) {
            let answer = ask(&network, endpoint, GET).unwrap();
            assert!(answer.ends_with("i-0123456789abcdef0"), "{topology:?} {answer}");
        }
        let entries = handle.log().entries();
        assert_eq!(entries[0].endpoint, SocketAddr::from((SERVICE_V4, 80)));
        if let Some(client) = client {
            assert_eq!(entries[0].peer.ip(), client, "{topology:?}");
        }
    }
}

#[test]
fn behind_a_router_a_token_response_with_hop_limit_1_dies_and_with_2_arrives() {
    if !may_run("behind_a_router_a_token_response_dies") {
        return;
    }
    let network = Network::new(Topology::Routed).unwrap();
    let (_service, handle) = serve(&network, Settings::default());
    for endpoint in endpoints(&network) {
        handle.set_hop_limit(HopLimit::default());
        let error = ask(&network, endpoint, PUT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{endpoint}");
        assert!(ask(&network, endpoint, GET).unwrap().starts_with("HTTP/1.1 200"), "{endpoint}");

        handle.set_hop_limit(2.try_into().unwrap());
        assert!(ask(&network, endpoint, PUT).unwrap().starts_with("HTTP/1.1 200"), "{endpoint}");
    }
    let statuses: Vec<_> = handle.log().entries().iter().map(|entry| entry.status).collect();
    assert!(statuses.iter().all(|status| *status == Some(200)), "{statuses:?}");
}

#[test]
fn without_a_router_hop_limit_1_is_enough() {
    if !may_run("without_a_router_hop_limit_1_is_enough") {
        return;
    }
    let network = Network::new(Topology::Direct).unwrap();
    let (_service, _) = serve(&network, Settings::default());
    for endpoint in endpoints(&network) {
        assert!(ask(&network, endpoint, PUT).unwrap().starts_with("HTTP/1.1 200"), "{endpoint}");
    }
}

#[test]
fn the_ttl_is_back_at_64_for_a_read_that_follows_a_token_on_one_connection() {
    if !may_run("the_ttl_is_back_at_64") {
        return;
    }
    let network = Network::new(Topology::Routed).unwrap();
    let settings = Settings { hop_limit: 2.try_into().unwrap(), ..Settings::default() };
    let (_service, handle) = serve(&network, settings);
    for endpoint in endpoints(&network) {
        handle.set_hop_limit(2.try_into().unwrap());
        network
            .in_client(|| {
                let mut stream = TcpStream::connect(endpoint).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                let mut buffer = [0; 4_096];
                for (request, hop_limit, arrives) in
                    [(PUT, 2, true), (GET, 1, true), (PUT, 1, false)]
                {
                    handle.set_hop_limit(hop_limit.try_into().unwrap());
                    stream.write_all(format!("{request}\r\n\r\n").as_bytes()).unwrap();
                    let answer = stream.read(&mut buffer);
                    assert_eq!(answer.is_ok(), arrives, "{request} {hop_limit} {answer:?}");
                }
            })
            .unwrap();
    }
}

#[test]
fn the_documented_curl_commands_work_in_the_client_namespace() {
    if !may_run("the_documented_curl_commands_work") {
        return;
    }
    let network = Network::new(Topology::Direct).unwrap();
    let settings = Settings { http_tokens: HttpTokens::Required, ..Settings::default() };
    let (_service, handle) = serve(&network, settings);
    // EC2 User Guide, "Use IMDSv2".
    let script = "TOKEN=`curl -s -X PUT http://169.254.169.254/latest/api/token \
                  -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600'` \
                  && curl -s http://169.254.169.254/latest/meta-data/ami-id \
                  -H \"X-aws-ec2-metadata-token: $TOKEN\"";
    let output = network.command("sh").unwrap().args(["-c", script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ami-0123456789abcdef0", "{output:?}");
    let entries = handle.log().entries();
    let seen: Vec<_> = entries.iter().map(|entry| (entry.method.as_str(), entry.token)).collect();
    assert_eq!(seen, [("PUT", TokenHeader::Absent), ("GET", TokenHeader::Present)]);
    assert!(entries[1].user_agent.as_deref().unwrap().starts_with("curl/"));
}

#[test]
fn a_command_runs_in_the_client_namespace_and_this_thread_is_told_apart_from_it() {
    if !may_run("a_command_runs_in_the_client_namespace") {
        return;
    }
    let network = Network::new(Topology::Loopback).unwrap();
    let mut command = network.command("readlink").unwrap();
    let output = command.arg("/proc/self/ns/net").output().unwrap();
    let expected = format!("net:[{}]\n", network.client_inode());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert!(matches!(
        network.client().assert_private(),
        Err(NamespaceError::NotPrivate { expected, found }) if expected != found
    ));
    network.in_client(|| network.client().assert_private().unwrap()).unwrap();
}

#[test]
fn the_private_network_leads_nowhere_but_to_the_service() {
    if !may_run("the_private_network_leads_nowhere") {
        return;
    }
    for topology in [Topology::Direct, Topology::Routed, Topology::Loopback] {
        let network = Network::new(topology).unwrap();
        let error = network
            .in_client(|| TcpStream::connect("192.0.2.1:80").map(drop).unwrap_err())
            .unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NetworkUnreachable, "{topology:?}");
    }
}

#[test]
fn an_ipv6_socket_reaches_the_ipv4_address_as_java_clients_do() {
    if !may_run("an_ipv6_socket_reaches_the_ipv4_address") {
        return;
    }
    let network = Network::new(Topology::Direct).unwrap();
    if !network.ipv6() {
        eprintln!("SKIPPED: this kernel has no IPv6");
        return;
    }
    let (_service, handle) = serve(&network, Settings::default());
    let mapped = SocketAddr::from((SERVICE_V4.to_ipv6_mapped(), 80));
    assert!(ask(&network, mapped, PUT).unwrap().starts_with("HTTP/1.1 200"));
    assert!(handle.log().entries()[0].peer.is_ipv4());
}

#[test]
fn without_rights_the_error_names_the_missing_one() {
    if !may_run("without_rights_the_error_names_the_missing_one") {
        return;
    }
    let error = std::thread::spawn(|| {
        let nobody = rustix::process::Uid::from_raw(65_534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        Network::new(Topology::Direct).unwrap_err()
    })
    .join()
    .unwrap();
    assert!(matches!(error, NetworkError::Namespace(NamespaceError::MissingRight)), "{error}");
    assert!(error.to_string().contains("CAP_SYS_ADMIN"), "{error}");
}
