//! A reader that follows files by their inodes, as fluent-bit does.

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use super::*;

/// How often a file is still read after its name has gone to another one (fluent-bit's
/// `Rotate_Wait`).
const ROTATE_WAIT: u32 = 5;

/// Follows every file that had the name, by its inode: it goes on in one that was renamed, begins
/// one that is new, and begins again where a file has become shorter than what was read of it.
struct Follower {
    path: PathBuf,
    files: BTreeMap<u64, Followed>,
    read: Vec<u8>,
}

struct Followed {
    file: fs::File,
    offset: u64,
    left: u32,
}

impl Follower {
    fn poll(&mut self) {
        let named = fs::File::open(&self.path).ok();
        let named = named.map(|file| (file.metadata().unwrap().ino(), file));
        let current = named.as_ref().map(|(inode, _)| *inode);
        if let Some((inode, file)) = named {
            self.files.entry(inode).or_insert(Followed { file, offset: 0, left: ROTATE_WAIT });
        }
        for (inode, followed) in &mut self.files {
            if followed.file.metadata().unwrap().len() < followed.offset {
                followed.offset = 0;
            }
            followed.file.seek(SeekFrom::Start(followed.offset)).unwrap();
            followed.offset += followed.file.read_to_end(&mut self.read).unwrap() as u64;
            if Some(*inode) != current {
                followed.left -= 1;
            }
        }
        self.files.retain(|_, followed| followed.left > 0);
    }
}

#[test]
fn a_reader_that_follows_by_inode_reads_every_line_over_rotations_and_compressions() {
    let Some((scene, address)) = scene() else { return };
    let settings = format!(
        "[[output]]\npath = \"{{folder}}/log/events.jsonl\"\nmin_free_percent = 0\n\
         max_size = \"{}B\"\nmax_total_size = \"1GiB\"\ncompress_after = \"0s\"",
        20 * line_length(&scene, &address)
    );
    let Some(agent) = Agent::start(&address, &settings) else { return };
    let path = agent.path("log/events.jsonl");
    let mut follower = Follower { path, files: BTreeMap::new(), read: Vec::new() };
    let folder = ask_over_rotations(&scene, &address, agent, || follower.poll());
    follower.poll();
    assert_read_whole(follower.read);
    drop(folder);
}
