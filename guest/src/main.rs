mod statistics;
use imds_audit::probe::{host::CgroupRoot, loader::{Loaded, Options}};
use rustix::mount::{MountFlags, mount};
use std::time::Instant;
fn main() {
    if std::process::id() != 1 {
        let options = Options { endpoints: vec!["169.254.169.254:80".parse().unwrap(), "[fd00:ec2::254]:80".parse().unwrap()], ..Default::default() };
        let _ = Loaded::load(&options);
        std::process::exit(0);
    }
    let fixed = [("devtmpfs","/dev"),("proc","/proc"),("sysfs","/sys"),("tracefs","/sys/kernel/tracing"),("cgroup2","/sys/fs/cgroup")];
    for (kind, place) in fixed {
        if std::process::id() != 1 { break; }
        let _ = std::fs::create_dir_all(place);
        if let Err(e) = mount(kind, place, kind, MountFlags::empty(), None::<&std::ffi::CStr>) { println!("mount {place}: {e}"); }
    }
    println!("START");
    let options = Options { endpoints: vec!["169.254.169.254:80".parse().unwrap(), "[fd00:ec2::254]:80".parse().unwrap()], ..Default::default() };
    let t = Instant::now();
    match Loaded::load(&options) {
        Ok(mut loaded) => {
            println!("LOADED {:?} {:?}", t.elapsed(), loaded.verified_instructions());
            let r = CgroupRoot::find().map_err(|e| e.to_string()).and_then(|root| loaded.attach(&root).map_err(|e| e.to_string()));
            println!("ATTACHED {:?} {:?} {:?}", r, t.elapsed(), loaded.fallbacks);
        }
        Err(error) => {
            let text = error.to_string();
            println!("REFUSED {}", &text[..text.len().min(300)]);
            println!("...{}", &text[text.len().saturating_sub(6000)..]);
        }
    }
    let _ = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
}
