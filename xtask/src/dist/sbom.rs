//! The list of parts in the form of CycloneDX 1.6.

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::archive::hex;
use super::{Release, date};
use crate::dependencies::Dependency;

/// Returns the list of a release.
pub fn write(release: &Release) -> Result<String> {
    let time = date(release.epoch, "+%Y-%m-%dT%H:%M:%SZ")?;
    let mut text = serde_json::to_string_pretty(&document(release, &time))?;
    text.push('\n');
    Ok(text)
}

fn document(release: &Release, time: &str) -> Value {
    let all = &release.dependencies.all;
    let root = &all[release.dependencies.root];
    let others = all.iter().filter(|one| one.name != root.name);
    let edges = all.iter().map(|one| {
        let needs: Vec<_> = one.needs.iter().map(|&place| reference(&all[place])).collect();
        json!({ "ref": reference(one), "dependsOn": needs })
    });
    let components: Vec<_> = others.map(component).chain(linked()).collect();
    let mut list = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": time,
            "component": component(root),
        },
        "components": components,
        "dependencies": edges.collect::<Vec<_>>(),
    });
    list["metadata"]["component"]["type"] = "application".into();
    // Of the content, so that two runs make the same.
    list["serialNumber"] = serial(&list.to_string()).into();
    list
}

/// Returns what the linker adds that is no crate.
fn linked() -> [Value; 3] {
    let part = |name: &str, licence: &str, what: &str| {
        json!({
            "type": "library",
            "bom-ref": format!("linked:{name}"),
            "name": name,
            "scope": "required",
            "description": what,
            "licenses": [{ "expression": licence }],
        })
    };
    [
        part("glibc", "LGPL-2.1-or-later", "the C library, linked statically"),
        part(
            "libgcc",
            "GPL-3.0-or-later WITH GCC-exception-3.1",
            "GCC's runtime library, linked statically",
        ),
        part("rust-std", "MIT OR Apache-2.0", "Rust's standard library, linked statically"),
    ]
}

fn component(one: &Dependency) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": reference(one),
        "name": one.name,
        "version": one.version,
        "scope": if one.is_build_time { "excluded" } else { "required" },
        "licenses": [{ "expression": one.licence }],
        "purl": reference(one),
    });
    if let Some(sum) = &one.checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
    }
    if let Some(repository) = &one.repository {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}

/// Returns a crate's package URL, which is also its name within the list.
fn reference(one: &Dependency) -> String {
    format!("pkg:cargo/{}@{}", one.name, one.version)
}

/// Returns a UUID of version 8 (RFC 9562) made from a text.
fn serial(text: &str) -> String {
    let mut bytes: [u8; 32] = Sha256::digest(text).into();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes[..16]);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    format!("urn:uuid:{}", parts.join("-"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::dependencies::Dependencies;
    use crate::workspace::Workspace;

    #[test]
    fn the_list_names_each_crate_once_and_its_edges_name_nothing_else() {
        let dependencies = Dependencies::read(&Workspace::locate().unwrap()).unwrap();
        let release = Release { version: "1.2.3".into(), epoch: 86_400, dependencies };
        let text = write(&release).unwrap();
        assert_eq!(text, write(&release).unwrap());
        let list: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(list["metadata"]["timestamp"], "1970-01-02T00:00:00Z");
        let components = list["components"].as_array().unwrap();
        let mut names: BTreeSet<_> =
            components.iter().map(|one| one["bom-ref"].as_str().unwrap()).collect();
        assert_eq!(names.len(), components.len());
        names.insert(list["metadata"]["component"]["bom-ref"].as_str().unwrap());
        for edge in list["dependencies"].as_array().unwrap() {
            for end in edge["dependsOn"].as_array().unwrap().iter().chain([&edge["ref"]]) {
                assert!(names.contains(end.as_str().unwrap()), "{end}");
            }
        }
        let serial = list["serialNumber"].as_str().unwrap();
        assert_eq!(serial.len(), "urn:uuid:".len() + 36);
    }
}
