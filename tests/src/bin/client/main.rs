//! A client of the metadata service that does, step by step, what its arguments say.
//!
//! ```text
//! connect ADDR   opens a connection
//! multipath ADDR opens one of Multipath TCP
//! fast ADDR TEXT opens one that carries text in its first packet (TCP Fast Open)
//! fd NUMBER      takes over an open connection
//! take           takes over the connection that the standard input hands over
//! via WAY        sends what follows in another way: see `way`
//! send TEXT      sends text, in a segment of its own; \r, \n and \xHH are escapes, {token} the token,
//!                {header} the name of its header, {padding} 31 KiB of other headers
//! receive        reads one response, the token's of a token request among them
//! crowd NUMBER ADDR TEXT
//!                opens so many connections, sends text on each, then reads a response from each
//! stdin          waits for the end of the standard input
//! stdin-line     waits for a line of it
//! close          closes the connection
//! times NUMBER   does the rest so often
//! note TEXT      does nothing
//! pid            prints its number
//! root FOLDER    makes a folder its root
//! tell           prints a line of JSON, who it is, with each text that it sends from now on
//! exec           goes on with the rest as a new program, the connection open
//! child          has a child go on with the rest, and waits for it
//! pass           has a process go on with the rest that gets the connection over a Unix socket
//! thread         has another thread go on with the rest
//! redirect TEXT  has a thread of the kernel send text
//! vfork TEXT     has a child send text that shares this process's memory
//! ```

mod helpers;
mod ring;
mod send_method;
mod sockmap;
mod stream;

use std::collections::VecDeque;
use std::env;
use std::io::{Read, stdin};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::exit;

use stream::Client;

/// The variable that tells which network namespace this process must be in.
const NAMESPACE_VARIABLE: &str = "IMDS_AUDIT_TEST_NAMESPACE";

fn main() {
    assert_private();
    run(Client::new(), env::args().skip(1).collect());
    // Ends at once, with the connection as it is.
    exit(0);
}

fn run(mut client: Client, mut steps: VecDeque<String>) {
    while let Some(step) = steps.pop_front() {
        let mut operand = || steps.pop_front().expect("a step lacks its operand");
        match step.as_str() {
            "connect" => client.connect(&operand()),
            "multipath" => client.connect_multipath(&operand()),
            "fast" => client.connect_fast(&operand(), &operand()),
            "fd" => client.take_over(&operand()),
            "take" => client.open(helpers::take()),
            "via" => client.way = operand().parse().unwrap(),
            "send" => client.send(&operand()),
            "receive" => client.receive(),
            "crowd" => client.crowd(operand().parse().unwrap(), &operand(), &operand()),
            "stdin" => drop(stdin().read_to_end(&mut Vec::new()).unwrap()),
            "stdin-line" => drop(stdin().read_line(&mut String::new()).unwrap()),
            "close" => client.close(),
            "times" => {
                let times: usize = operand().parse().unwrap();
                let count = steps.len() * times;
                steps = steps.iter().cloned().cycle().take(count).collect();
            }
            "note" => drop(operand()),
            "pid" => println!("{}", std::process::id()),
            "root" => rustix::process::chroot(operand()).unwrap(),
            "tell" => client.tells = true,
            "exec" => panic!("{}", helpers::successor(&client, steps).exec()),
            "child" => {
                let status = helpers::successor(&client, steps).status().unwrap();
                exit(status.code().unwrap_or(1));
            }
            "pass" => exit(helpers::pass(&client, steps)),
            "thread" => return helpers::thread(move || run(client, steps)),
            "redirect" => client.redirect(&operand()),
            "vfork" => client.vfork(&operand()),
            step => panic!("no such step: {step}"),
        }
    }
}

/// Makes sure that no real metadata service can be reached.
fn assert_private() {
    let expected: u64 = env::var(NAMESPACE_VARIABLE).unwrap().parse().unwrap();
    let found = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
    assert_eq!(found, expected, "not in the test's network namespace");
}
