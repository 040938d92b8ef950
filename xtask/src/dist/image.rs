//! The container image: one static program on nothing, for both architectures, in one archive of
//! the OCI image layout (<https://github.com/opencontainers/image-spec>). No daemon is involved.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::archive::{Archive, gzip, sha256};
use super::{Release, date};
use crate::architecture::Architecture;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The blobs of an image, by their sum.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Adds a blob and returns its descriptor.
    fn add(&mut self, kind: &str, data: Vec<u8>) -> Value {
        let sum = sha256(&data);
        let descriptor =
            json!({ "mediaType": kind, "digest": format!("sha256:{sum}"), "size": data.len() });
        self.0.insert(sum, data);
        descriptor
    }
}

/// Writes the image of programs as an archive.
pub fn write(
    release: &Release,
    programs: &[(&Architecture, PathBuf)],
    notices: &str,
    path: &Path,
) -> Result<()> {
    let mut blobs = Blobs::default();
    let mut manifests = Vec::new();
    for (architecture, program) in programs {
        let program = fs::read(program).with_context(|| program.display().to_string())?;
        manifests.push(manifest(release, architecture, &program, notices, &mut blobs)?);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": manifests,
        "annotations": labels(release),
    });
    let mut descriptor = blobs.add(INDEX, serde_json::to_vec(&index)?);
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": release.version });
    let top = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] });

    let mut archive = Archive::new(release.epoch);
    archive.folder("blobs/")?;
    archive.folder("blobs/sha256/")?;
    for (sum, data) in &blobs.0 {
        archive.file(&format!("blobs/sha256/{sum}"), 0o644, data)?;
    }
    archive.file("index.json", 0o644, &serde_json::to_vec(&top)?)?;
    archive.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    super::write(path, &archive.finish()?)?;
    Ok(())
}

/// Adds one architecture's image and returns its descriptor for the index.
fn manifest(
    release: &Release,
    architecture: &Architecture,
    program: &[u8],
    notices: &str,
    blobs: &mut Blobs,
) -> Result<Value> {
    let mut archive = Archive::new(release.epoch);
    archive.file("imds-audit", 0o755, program)?;
    archive.folder("licenses/")?;
    archive.file("licenses/THIRD-PARTY", 0o644, notices.as_bytes())?;
    let layer = archive.finish()?;
    let config = json!({
        "created": date(release.epoch, "+%Y-%m-%dT%H:%M:%SZ")?,
        "architecture": architecture.debian,
        "os": "linux",
        "config": {
            "Entrypoint": ["/imds-audit"],
            "Cmd": ["run"],
            "WorkingDir": "/",
            "Labels": labels(release),
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))] },
        "history": [{
            "created": date(release.epoch, "+%Y-%m-%dT%H:%M:%SZ")?,
            "created_by": "cargo xtask dist",
        }],
    });
    let config = blobs.add(CONFIG, serde_json::to_vec(&config)?);
    let layer = blobs.add(LAYER, gzip(&layer)?);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": [layer],
        "annotations": labels(release),
    });
    let mut descriptor = blobs.add(MANIFEST, serde_json::to_vec(&manifest)?);
    descriptor["platform"] = json!({ "architecture": architecture.debian, "os": "linux" });
    Ok(descriptor)
}

/// Returns what the image says of itself (the spec's annotations.md).
fn labels(release: &Release) -> Value {
    json!({
        "org.opencontainers.image.title": "imds-audit",
        "org.opencontainers.image.description": "Names every process that still uses IMDSv1",
        "org.opencontainers.image.version": release.version,
        "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
        "org.opencontainers.image.source": env!("CARGO_PKG_REPOSITORY"),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::architecture::ARCHITECTURES;
    use crate::dependencies::Dependencies;

    #[test]
    fn every_descriptor_of_the_image_names_a_blob_of_its_size_and_sum() {
        let folder = std::env::temp_dir().join(format!("imds-audit-image-{}", std::process::id()));
        let program = folder.join("program");
        super::super::write(&program, b"a program").unwrap();
        let dependencies = Dependencies { all: Vec::new(), root: 0 };
        let release = Release { version: "1.2.3".into(), epoch: 0, dependencies };
        let programs = ARCHITECTURES.each_ref().map(|one| (one, program.clone()));
        let path = folder.join("image.tar");
        write(&release, &programs, "notices", &path).unwrap();
        let data = fs::read(&path).unwrap();
        write(&release, &programs, "notices", &path).unwrap();
        assert_eq!(data, fs::read(&path).unwrap());
        fs::remove_dir_all(&folder).unwrap();

        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(&*data).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(name, content);
        }
        let mut seen = 0;
        let mut open = vec![serde_json::from_slice::<Value>(&files["index.json"]).unwrap()];
        while let Some(document) = open.pop() {
            let lists =
                ["manifests", "layers"].iter().filter_map(|name| document[*name].as_array());
            for descriptor in lists.flatten().chain(document.get("config")) {
                let Some(digest) = descriptor["digest"].as_str() else { continue };
                let sum = digest.strip_prefix("sha256:").unwrap();
                let blob = &files[&format!("blobs/sha256/{sum}")];
                assert_eq!(
                    (sha256(blob), blob.len() as u64),
                    (sum.into(), descriptor["size"].as_u64().unwrap())
                );
                open.extend(serde_json::from_slice(blob).ok());
                seen += 1;
            }
        }
        // The index, and for each architecture manifest, configuration and layer; the program is
        // the same, so the layers are too.
        assert_eq!(seen, 1 + 2 * 3);
    }
}
