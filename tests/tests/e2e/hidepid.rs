//! Hosts that hide processes from the audit.

use std::ffi::CString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use imds_audit::event::Rule;
use imds_audit_tests::{Setup, TestBed, become_user, public_copy, root};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{CapabilitySet, UnshareFlags, remove_capability_from_bounding_set};

use super::{CLIENT, GET_V1};

/// Has a command see a procfs in a folder that hides other users' processes, which root sees all
/// the same with the right to trace them, or in the group that may (proc(5), `hidepid` and `gid`).
fn hide(command: &mut Command, folder: CString) {
    let (root, options) = (c"/", c"hidepid=invisible,gid=65533");
    // SAFETY: the closure runs between fork and exec; it makes system calls with texts that were
    // made before and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)?;
            mount_change(root, MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
            mount(c"proc", folder.as_c_str(), c"proc", MountFlags::empty(), Some(options))?;
            remove_capability_from_bounding_set(CapabilitySet::SYS_PTRACE)?;
            Ok::<(), io::Error>(())
        });
    }
}

#[test]
fn a_hidden_process_is_named_by_the_kernel_s_snapshot_and_by_nothing_else() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let procfs = folder.path().to_str().unwrap();
    let place = CString::new(procfs).unwrap();
    let setup = Setup { arguments: &["--procfs", procfs], ..Setup::default() };
    let prepare = |command: &mut Command| hide(command, place);
    let Some((scene, address)) = TestBed::alone_prepared(setup, prepare) else { return };
    let (_folder, client) = public_copy(CLIENT.as_ref());
    let mut command = scene.command(&client);
    command.args(["connect", &address, "send", GET_V1, "receive", "stdin"]).current_dir("/");
    become_user(&mut command, 65_534);
    let (findings, caller) = scene.finish_with(&mut command);
    assert_eq!(findings.verdicts(), [("v1", "served")]);
    findings.assert_sent_by(&caller);
    let process = findings.exchanges[0].process();
    assert_eq!(process.exe.as_deref(), client.file_name().unwrap().to_str(), "{process:#?}");
    // The name of a user stands in a file below the root folder that procfs shows.
    assert_eq!((process.uid, &process.user), (Some(65_534), &None));
    let ancestors = &process.ancestors;
    assert_eq!(ancestors[0].pid, std::process::id(), "{process:#?}");
    assert!(ancestors.iter().all(|ancestor| ancestor.name.is_some()), "{process:#?}");
    assert!(ancestors.iter().all(|ancestor| ancestor.args.is_none()), "{process:#?}");
    let responsible = findings.exchanges[0].responsible();
    assert_eq!((responsible.rule, Some(responsible.pid)), (Rule::Caller, process.pid));
}
