//! Finds the names of pods in the kubelet's own log folders, without any API.
//!
//! The kubelet makes a folder `NAMESPACE_POD_UID` with one folder a container for each pod
//! (`BuildPodLogsDirectory` in pkg/kubelet/kuberuntime/helpers.go), and for each container a link
//! `POD_NAMESPACE_CONTAINER-ID.log` in a folder beside (`legacyLogSymlink` in legacy.go there).
//! Only the names in these folders are read, no link is followed in them, and no file is opened.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lru::LruCache;

use super::cgroup_path::CgroupLocation;

/// The largest number of names read of a folder: a node has a few hundred pods.
const MAX_ENTRIES: usize = 16_384;
/// The number of pods and containers remembered; the least recently used goes.
const MAX_KNOWN: NonZeroUsize = NonZeroUsize::new(512).unwrap();
/// The largest length of a label and of a name with dots in it (RFC 1123).
const MAX_LABEL: usize = 63;
const MAX_DOTTED: usize = 253;
/// How long what was not found is not looked for again, in nanoseconds.
const RETRY_AFTER: u64 = 1_000_000_000;

/// What people call a container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodNames {
    /// The pod's namespace.
    pub namespace: Box<[u8]>,
    /// The pod's name.
    pub name: Box<[u8]>,
    /// The container's name; `None` where the folders do not tell it for certain.
    pub container: Option<Box<[u8]>>,
}

/// What is asked of the kubelet's folders.
#[derive(Clone, Debug)]
pub(crate) struct PodQuestion {
    /// The pod's uid and the container's id, which is empty where it is not known.
    asked: Asked,
    /// When, in nanoseconds since boot.
    time: u64,
}

impl PodQuestion {
    /// Asks for the names of a place; `None` where it is in no pod.
    pub(crate) fn of(location: &CgroupLocation, time: u64) -> Option<Self> {
        let container = location.host_container().map(Into::into);
        let asked = (location.pod.clone()?, container.unwrap_or_default());
        Some(Self { asked, time })
    }

    /// Returns the container's id, empty where it is not known.
    pub(super) fn container(&self) -> &[u8] {
        &self.asked.1
    }
}

/// A pod's uid and a container's id.
type Asked = (Box<[u8]>, Box<[u8]>);

/// The kubelet's log folders.
#[derive(Debug)]
pub(crate) struct Pods {
    /// The folder that has `pods` and `containers` in it.
    logs: PathBuf,
    known: LruCache<Asked, (Option<PodNames>, u64)>,
}

impl Pods {
    /// Uses the folders `pods` and `containers` below `logs`.
    pub(crate) fn new(logs: &Path) -> Self {
        Self { logs: logs.into(), known: LruCache::new(MAX_KNOWN) }
    }

    /// Finds the names of a pod and of a container in it.
    pub(crate) fn names(&mut self, question: PodQuestion) -> Option<PodNames> {
        let PodQuestion { asked, time } = question;
        if let Some((names, last)) = self.known.get(&asked) {
            // The kubelet links a container's log when the container runs already.
            let is_whole = names.as_ref().is_some_and(|names| names.container.is_some());
            if is_whole || time < last.saturating_add(RETRY_AFTER) {
                return names.clone();
            }
        }
        let (uid, container) = &asked;
        let names = self.look_up(uid, Some(&**container).filter(|id| !id.is_empty()));
        self.known.put(asked, (names.clone(), time));
        names
    }

    fn look_up(&self, uid: &[u8], container: Option<&[u8]>) -> Option<PodNames> {
        let pods = self.logs.join("pods");
        let (namespace, name, folder) = entries(&pods).find_map(|entry| {
            let mut parts = entry.split(|&byte| byte == b'_');
            let (namespace, name, found) = (parts.next()?, parts.next()?, parts.next()?);
            let fits = found == uid
                && parts.next().is_none()
                && is_name(namespace, MAX_LABEL)
                && is_name(name, MAX_DOTTED);
            fits.then(|| (Box::from(namespace), Box::from(name), entry.clone()))
        })?;
        // Without an id it may be any of the pod's containers, those to come among them.
        let container = container.and_then(|id| {
            let folder = pods.join(std::ffi::OsStr::from_bytes(&folder));
            self.container(&namespace, &name, id).or_else(|| only_folder(&folder))
        });
        Some(PodNames { namespace, name, container })
    }

    /// Finds a container by the id that ends its link's name.
    fn container(&self, namespace: &[u8], pod: &[u8], id: &[u8]) -> Option<Box<[u8]>> {
        let head = [pod, b"_", namespace, b"_"].concat();
        let tail = [b"-", id, b".log"].concat();
        entries(&self.logs.join("containers")).find_map(|entry| {
            let name = entry.strip_prefix(&*head)?.strip_suffix(&*tail)?;
            is_name(name, MAX_LABEL).then(|| name.into())
        })
    }
}

/// Returns the only folder in a pod's: the kubelet makes one before it starts a container, so a
/// pod with one has no other container, but for the one that holds its network and does nothing.
fn only_folder(pod: &Path) -> Option<Box<[u8]>> {
    // The folder of the pod must be one itself, and no link to somewhere else.
    fs::symlink_metadata(pod).ok().filter(fs::Metadata::is_dir)?;
    let mut names = entries(pod);
    let name = names.next()?;
    (names.next().is_none() && is_name(&name, MAX_LABEL)).then(|| name.into())
}

/// Reads the names in a folder, in no order.
fn entries(folder: &Path) -> impl Iterator<Item = Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(MAX_ENTRIES);
    entries.filter_map(|entry| Some(entry.ok()?.file_name().as_bytes().to_vec()))
}

/// Returns whether this is a name as Kubernetes allows it: lower case, digits, `-`, `.`.
fn is_name(name: &[u8], longest: usize) -> bool {
    let inner = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
    };
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    name.len() <= longest && edge(name.first()) && edge(name.last()) && name.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const UID: &[u8] = b"2c48913c-b29f-11e7-9350-020968147796";

    fn folders(names: &[&str], links: &[&str]) -> (tempfile::TempDir, Pods) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("containers")).unwrap();
        for name in names {
            fs::create_dir_all(folder.path().join("pods").join(name)).unwrap();
        }
        for link in links {
            symlink("/etc/passwd", folder.path().join("containers").join(link)).unwrap();
        }
        let pods = Pods::new(folder.path());
        (folder, pods)
    }

    fn ask(pods: &mut Pods, uid: &[u8], container: Option<&[u8]>, time: u64) -> Option<PodNames> {
        let asked = (uid.into(), container.unwrap_or_default().into());
        pods.names(PodQuestion { asked, time })
    }

    fn reported(names: Option<PodNames>) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        names.map_or("-".to_owned(), |names| {
            let container = names.container.as_deref().map_or("-".to_owned(), text);
            format!("{} {} {container}", text(&names.namespace), text(&names.name))
        })
    }

    #[test]
    fn a_pod_and_its_container_are_found_by_uid_and_id() {
        let pod = format!("shop_web-0_{}", String::from_utf8_lossy(UID));
        let (_folder, mut pods) = folders(
            &[&format!("{pod}/app"), &format!("{pod}/proxy"), "kube-system_dns_00"],
            &["web-0_shop_proxy-abc.log", "web-0_shop_app-def.log", "web-0_other_x-abc.log"],
        );
        assert_eq!(reported(ask(&mut pods, UID, Some(b"abc"), 0)), "shop web-0 proxy");
        assert_eq!(reported(ask(&mut pods, UID, Some(b"def"), 0)), "shop web-0 app");
        assert_eq!(reported(ask(&mut pods, UID, Some(b"000"), 0)), "shop web-0 -");
        assert_eq!(reported(ask(&mut pods, b"00", None, 0)), "kube-system dns -");
        assert_eq!(reported(ask(&mut pods, b"11", None, 0)), "-");
    }

    #[test]
    fn the_only_container_of_a_pod_needs_no_link() {
        let pod = format!("shop_web_{}/app", String::from_utf8_lossy(UID));
        let (_folder, mut pods) = folders(&[&pod], &[]);
        assert_eq!(reported(ask(&mut pods, UID, Some(b"abc"), 0)), "shop web app");
    }

    #[test]
    fn names_that_kubernetes_does_not_allow_name_nothing() {
        let (folder, mut pods) = folders(
            &["a\nb_web_01", "..\u{1b}[0m_x_02", "a_B_03", "a_b_c_04", "-a_b_05", "a_b_06/X\n"],
            &[],
        );
        for uid in ["01", "02", "03", "04", "05", "c"] {
            assert_eq!(reported(ask(&mut pods, uid.as_bytes(), None, 0)), "-", "{uid}");
        }
        assert_eq!(reported(ask(&mut pods, b"06", None, 0)), "a b -");
        symlink("/", folder.path().join("pods/a_b_07")).unwrap();
        assert_eq!(reported(ask(&mut pods, b"07", None, 0)), "a b -");
    }

    #[test]
    fn a_pod_that_is_not_there_yet_is_looked_for_again_later() {
        let (folder, mut pods) = folders(&[], &[]);
        assert_eq!(reported(ask(&mut pods, b"01", None, 0)), "-");
        fs::create_dir_all(folder.path().join("pods/a_b_01/c")).unwrap();
        assert_eq!(reported(ask(&mut pods, b"01", None, RETRY_AFTER - 1)), "-");
        assert_eq!(reported(ask(&mut pods, b"01", None, RETRY_AFTER)), "a b -");
    }

    #[test]
    fn a_container_whose_log_is_linked_after_its_first_request_is_named_later() {
        let (folder, mut pods) = folders(&["a_b_01/init", "a_b_01/app"], &[]);
        assert_eq!(reported(ask(&mut pods, b"01", Some(b"abc"), 0)), "a b -");
        symlink("/no/such/file", folder.path().join("containers/b_a_app-abc.log")).unwrap();
        assert_eq!(reported(ask(&mut pods, b"01", Some(b"abc"), RETRY_AFTER - 1)), "a b -");
        assert_eq!(reported(ask(&mut pods, b"01", Some(b"abc"), RETRY_AFTER)), "a b app");
    }

    #[test]
    fn a_container_without_an_id_is_not_taken_for_the_only_one_of_its_pod() {
        let (_folder, mut pods) = folders(&["a_b_01/init"], &[]);
        assert_eq!(reported(ask(&mut pods, b"01", None, 0)), "a b -");
        assert_eq!(reported(ask(&mut pods, b"01", Some(b"abc"), 0)), "a b init");
    }
}
