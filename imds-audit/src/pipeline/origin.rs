//! The origin that every event of a run carries.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::rand::{GetRandomFlags, getrandom};

use crate::event::{HostIdentity, Origin, SourceKind};
use crate::process::Roots;

/// The asset tag of the board: the instance id on Nitro instances (EC2 User Guide, "Find the
/// instance ID", and cloud-init's EC2 data source).
const BOARD_ASSET_TAG: &str = "/sys/devices/virtual/dmi/id/board_asset_tag";
/// The instance id as cloud-init keeps it (cloud-init documentation, "Instance metadata").
const CLOUD_INIT_ID: &str = "var/lib/cloud/data/instance-id";
/// The host's name as it is set at boot (`hostname(5)`).
const HOSTNAME: &str = "etc/hostname";
/// The largest number of bytes that is read of one of these files; an instance id has 19, a host's
/// name at most 253 (RFC 1123).
const MAX_READ: u64 = 512;
/// The longest name of a host in bytes.
const MAX_HOST_NAME: usize = 253;

/// Returns the origin of a new run on this host: its name, its instance id where the machine
/// reveals it without the network, a random run id, the labels and the source.
///
/// The metadata service is never asked.
pub(crate) fn of_run(
    roots: &Roots,
    labels: BTreeMap<String, String>,
    source: SourceKind,
) -> Origin {
    let host = HostIdentity { name: host_name(roots), id: instance_id(roots) };
    Origin { host: Some(host), run: run_id(), labels, source: Some(source), rehearsal: false }
}

/// Returns the origin of a run over a capture, which another host may have made.
pub(crate) fn of_capture(labels: BTreeMap<String, String>, source: SourceKind) -> Origin {
    Origin { host: None, run: run_id(), labels, source: Some(source), rehearsal: false }
}

/// Returns 128 random bits in hexadecimal, `None` if the kernel has no randomness to give.
fn run_id() -> Option<String> {
    let mut bytes = [0_u8; 16];
    let filled = getrandom(&mut bytes, GetRandomFlags::empty()).ok()?;
    (filled == bytes.len()).then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns the audited host's name. A container has a name of its own, and the kernel tells the
/// host's only inside the host's UTS namespace: there the file of the host's root has it.
pub(crate) fn host_name(roots: &Roots) -> Option<String> {
    let of_host = is_in_container(&roots.procfs)
        .then(|| roots.procfs.join("1/root").join(HOSTNAME))
        .and_then(|path| read_bounded(&path).ok())
        .and_then(|text| {
            text.lines().map(str::trim).find(|line| is_host_name(line)).map(str::to_owned)
        });
    of_host.or_else(|| {
        let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Some(own).filter(|name| !name.is_empty())
    })
}

/// Returns whether this process has another host name and another root folder than the first process
/// of a procfs; `false` where that cannot be told. A service with a UTS namespace of its own has the
/// host's root.
fn is_in_container(procfs: &Path) -> bool {
    let namespace = |process: &Path| fs::read_link(process.join("ns/uts")).ok();
    let root = |process: &Path| {
        let root = fs::metadata(process.join("root")).ok()?;
        Some((root.dev(), root.ino()))
    };
    let (own, first) = (Path::new("/proc/self"), &procfs.join("1"));
    let differs =
        |own: Option<_>, first: Option<_>| own.is_some() && first.is_some() && own != first;
    differs(namespace(own), namespace(first))
        && matches!((root(own), root(first)), (Some(own), Some(first)) if own != first)
}

/// Returns whether a text can be a host's name: letters, digits, `-`, `_` and points, as `hostname(7)`
/// and Kubernetes' node names have them.
pub(crate) fn is_host_name(text: &str) -> bool {
    (1..=MAX_HOST_NAME).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn instance_id(roots: &Roots) -> Option<String> {
    let candidates: [PathBuf; 2] =
        [PathBuf::from(BOARD_ASSET_TAG), roots.procfs.join("1/root").join(CLOUD_INIT_ID)];
    candidates.iter().find_map(|path| read_bounded(path).ok().as_deref().and_then(parse_id))
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_READ).read_to_string(&mut text)?;
    Ok(text)
}

/// Returns the text if it is an instance id: `i-` and 8 or 17 hexadecimal digits (EC2 User Guide,
/// "Resource IDs"). Other clouds and hypervisors put other things there.
fn parse_id(text: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.strip_prefix("i-")?;
    let is_id = matches!(digits.len(), 8 | 17)
        && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_an_instance_id_is_one() {
        for (text, is_id) in [
            ("i-0123456789abcdef0\n", true),
            ("i-01234567", true),
            ("i-0123456789abcdef", false),
            ("i-0123456789ABCDEF0", false),
            ("Not Specified", false),
            ("", false),
        ] {
            assert_eq!(parse_id(text).is_some(), is_id, "{text}");
        }
    }

    #[test]
    fn only_a_host_s_name_is_one() {
        let longest = "a".repeat(MAX_HOST_NAME);
        for name in ["ip-10-0-0-1.ec2.internal", "node_1", &longest] {
            assert!(is_host_name(name), "{name}");
        }
        let too_long = "a".repeat(MAX_HOST_NAME + 1);
        for text in ["", "# a comment", "$(NODE_NAME)", "a\u{1b}[2J", "ü", &too_long] {
            assert!(!is_host_name(text), "{text}");
        }
    }

    #[test]
    fn a_process_in_the_root_folder_of_a_procfs_s_first_is_in_no_container() {
        let folder = tempfile::tempdir().unwrap();
        let process = folder.path().join("1");
        fs::create_dir_all(process.join("ns")).unwrap();
        symlink("uts:[1]", process.join("ns/uts")).unwrap();
        symlink("/", process.join("root")).unwrap();
        assert!(!is_in_container(folder.path()));
        // Another root, and another name.
        fs::remove_file(process.join("root")).unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        symlink(&root, process.join("root")).unwrap();
        assert!(is_in_container(folder.path()));
        let roots = Roots {
            procfs: folder.path().to_owned(),
            cgroup: None,
            kubelet_logs: PathBuf::from("/var/log"),
        };
        let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
        assert_eq!(host_name(&roots).as_ref(), Some(&own));
        fs::write(root.join(HOSTNAME), "# set at boot\nip-10-0-0-1.ec2.internal\n").unwrap();
        assert_eq!(host_name(&roots).as_deref(), Some("ip-10-0-0-1.ec2.internal"));
        // Another root with the host's name: a program in a chroot.
        fs::remove_file(process.join("ns/uts")).unwrap();
        symlink(fs::read_link("/proc/self/ns/uts").unwrap(), process.join("ns/uts")).unwrap();
        assert_eq!(host_name(&roots), Some(own));
    }

    #[test]
    fn two_runs_have_two_ids() {
        let (one, two) = (run_id().unwrap(), run_id().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(one, two);
    }
}
