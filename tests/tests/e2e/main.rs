//! End-to-end tests: the real program against a simulated service, with real clients in private
//! networks. They need root and are run by `cargo xtask test`.

mod agent;
mod bad_input;
mod blocked_output;
mod chart;
mod clients;
mod cluster;
mod connections;
mod containers;
mod diagnosis;
mod fallbacks;
mod field_cases;
mod flood;
mod forensics;
mod hidepid;
mod hung_procfs;
mod init_script;
mod integrity_kernel;
mod loss;
mod memory;
mod misclassification;
mod neighbours;
mod output;
mod output_files;
mod own_namespaces;
mod packages;
mod packet;
mod processes;
mod redirection;
mod rehearsal;
mod report;
mod responsible;
mod ring_contents;
mod sdks;
mod secrets;
mod send;
mod sharing;
mod spark;
mod spoofing;
mod staged_day;
mod systemd_units;
mod throughput;
mod unloading;

/// The client that does what its arguments say.
const CLIENT: &str = env!("CARGO_BIN_EXE_imds-audit-test-client");

/// The service's address, as the test client takes it.
const SERVICE: &str = "169.254.169.254:80";

/// A request without a token, as the test client takes it.
const GET_V1: &str = "GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: imds\\r\\n\\r\\n";
/// The same with the token that the test client received last.
const GET_V2: &str = "GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: imds\\r\\n\
                      {header}: {token}\\r\\n\\r\\n";
/// A token request.
const PUT: &str = "PUT /latest/api/token HTTP/1.1\\r\\nHost: imds\\r\\n\
                   X-aws-ec2-metadata-token-ttl-seconds: 60\\r\\n\\r\\n";

/// The path that `GET_V1` and `GET_V2` ask for.
const PATH: &str = "/latest/meta-data/instance-id";
/// The path of the token.
const TOKEN_PATH: &str = "/latest/api/token";
