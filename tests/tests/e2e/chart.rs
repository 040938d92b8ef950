//! The Helm chart and the plain manifests: rendered by helm, validated by Kubernetes' own schemas,
//! and the configuration in them by the program.

use std::{env, fs, process::Command};

use imds_audit_tests::{
    chart::{Chart, agent_config, deploy, of_kind},
    program,
};

const PRESETS: [&str; 5] = ["none", "eks", "bottlerocket", "openshift", "privileged"];

/// The releases of Kubernetes that the chart is for.
const VERSIONS: [&str; 13] = [
    "1.25", "1.26", "1.27", "1.28", "1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36",
    "1.37",
];

const IMAGE: &str = "image.repository=registry.example/imds-audit";

/// Everything that is optional.
const ALL: [&str; 8] = [
    IMAGE,
    "output.file.enabled=true",
    "metrics.podMonitor.enabled=true",
    "metrics.podMonitor.labels.release=prometheus",
    "metrics.dashboard.enabled=true",
    "networkPolicy.enabled=true",
    "image.pullSecrets[0].name=key",
    "labels.cluster=prod",
];

/// The release that the plain manifests are made for: the first with every field that they have.
const PLAIN: &str = "1.33";

#[test]
fn the_chart_is_valid_for_every_kubernetes_with_every_preset() {
    let Some(chart) = Chart::new() else { return };
    let folder = Chart::folder();
    let lint = chart.helm(&["lint", "--strict", folder.to_str().unwrap(), "--set", IMAGE]);
    assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stdout));
    for version in VERSIONS {
        let mut all = chart.render(version, &[IMAGE]);
        for preset in PRESETS {
            let preset = format!("preset={preset}");
            all.push_str(&chart.render(version, &[&ALL[..], &[&*preset]].concat()));
        }
        let found = chart.validate(&all, &[version]);
        let count = |kind: &str| {
            let kinds = found["validated"].as_array().unwrap().iter();
            kinds
                .chain(found["custom"].as_array().unwrap())
                .filter(|found| **found == *kind)
                .count()
        };
        for (kind, wanted) in [
            ("DaemonSet", 6),
            ("ConfigMap", 6 + 5),
            ("ServiceAccount", 6),
            ("NetworkPolicy", 5),
            ("PodMonitor", 5),
            ("SecurityContextConstraints", 1),
        ] {
            assert_eq!(count(kind), wanted, "{kind} for {version}");
        }
    }
    // The validator sees a field that a release does not know.
    assert!(!chart.is_valid(&chart.render("1.30", &[IMAGE]), "1.29"));
}

#[test]
fn a_value_that_the_chart_does_not_know_is_refused_by_name() {
    let Some(chart) = Chart::new() else { return };
    let folder = Chart::folder();
    for (value, named) in [
        ("metrics.enabeld=false", "enabeld"),
        ("prset=eks", "prset"),
        ("preset=gke", "preset"),
        ("endpoints={169.254.169.254}", "endpoints"),
        ("labels.node=x", "node"),
    ] {
        let folder = folder.to_str().unwrap();
        let output = chart.helm(&["template", folder, "--set", IMAGE, "--set", value]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(named), "{value}: {said}");
    }
    let without_image = chart.helm(&["template", folder.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&without_image.stderr);
    assert!(said.contains("image.repository is required"), "{said}");
}

#[test]
fn a_pod_asks_for_five_capabilities_and_for_no_token_network_or_writable_root() {
    let Some(chart) = Chart::new() else { return };
    let manifests = chart.parse(&chart.render("1.37", &[IMAGE]));
    let pod = &of_kind(&manifests, "DaemonSet")["spec"]["template"]["spec"];
    assert_eq!(pod["hostPID"], true);
    assert_eq!(pod["hostUsers"], true);
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert!(pod.get("hostNetwork").is_none() && pod.get("hostIPC").is_none());
    let rights = &pod["containers"][0]["securityContext"];
    assert_eq!(rights["privileged"], false);
    assert_eq!(rights["readOnlyRootFilesystem"], true);
    assert_eq!(rights["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert_eq!(
        rights["capabilities"]["add"],
        serde_json::json!(["BPF", "PERFMON", "NET_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"])
    );
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    assert!(mounts.iter().all(|mount| mount["readOnly"] == true), "{mounts:?}");
    assert!(!manifests.iter().any(|one| one["kind"].as_str().unwrap().contains("Role")));
}

#[test]
fn the_pod_monitor_has_what_the_prometheus_operator_reads() {
    let Some(chart) = Chart::new() else { return };
    let manifests = chart.parse(&chart.render("1.37", &ALL));
    let Some(count) = chart.validate_pod_monitors(&manifests) else { return };
    assert_eq!(count, 1);
    let monitor = of_kind(&manifests, "PodMonitor");
    let pod = &of_kind(&manifests, "DaemonSet")["spec"]["template"];
    // It selects the pods, and names a port that they have.
    for (label, value) in monitor["spec"]["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(&pod["metadata"]["labels"][label], value, "{label}");
    }
    let port = &monitor["spec"]["podMetricsEndpoints"][0]["port"];
    assert_eq!(&pod["spec"]["containers"][0]["ports"][0]["name"], port);
}

#[test]
fn the_chart_s_dashboard_is_the_one_of_the_project() {
    let Some(chart) = Chart::new() else { return };
    let manifests = chart.parse(&chart.render("1.37", &ALL));
    let found = manifests.iter().find(|one| one["metadata"]["labels"]["grafana_dashboard"] == "1");
    let (found, path) = (found.expect("a dashboard"), deploy().join("grafana/imds-audit.json"));
    let text = found["data"]["imds-audit.json"].as_str().unwrap();
    assert_eq!(text.trim_end(), fs::read_to_string(path).unwrap().trim_end());
    assert_eq!(found["metadata"]["name"], "imds-audit-dashboard");
    // The limit of etcd, and so of a ConfigMap.
    assert!(text.len() < 1 << 20);
}

#[test]
fn the_agent_takes_every_configuration_that_the_chart_makes() {
    let (Some(chart), Some(program)) = (Chart::new(), program()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let odd = [
        IMAGE,
        "output.stdout.enabled=false",
        "output.file.enabled=true",
        "metrics.enabled=false",
        "metrics.callers=true",
        "labels.cluster=a \"quoted\" & <odd> name",
        "endpoints={[fd00:ec2::254]:80}",
        "tallyInterval=1h 30m",
    ];
    for values in [&[IMAGE][..], &ALL, &odd] {
        let manifests = chart.parse(&chart.render("1.37", values));
        let text = agent_config(&manifests);
        let path = folder.path().join("imds-audit.toml");
        fs::write(&path, text).unwrap();
        let mut check = Command::new(&program);
        check
            .args([
                "agent",
                "check-config",
                "--set",
                "labels.node=n1",
                "--set",
                "host_name=n1",
                "--config",
            ])
            .arg(&path);
        let output = check.output().unwrap();
        assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_plain_manifests_are_what_the_chart_makes() {
    let Some(chart) = Chart::new() else { return };
    let version = env!("CARGO_PKG_VERSION");
    for preset in PRESETS {
        let name =
            if preset == "none" { "imds-audit.yaml" } else { &format!("imds-audit-{preset}.yaml") };
        let path = deploy().join("kubernetes").join(name);
        let rendered = chart.render(PLAIN, &[IMAGE, &format!("preset={preset}")]);
        // Helm's own marks mean nothing without it.
        let kept = rendered.lines().filter(|line| {
            !line.contains("app.kubernetes.io/managed-by: Helm") && !line.contains("helm.sh/chart:")
        });
        let mut wanted = format!(
            "# imds-audit {version} for Kubernetes {PLAIN} and newer, preset {preset}. Made from the chart in\n\
             # deploy/helm: UPDATE_MANIFESTS=1 cargo test -p imds-audit-tests manifests\n\
             # Put the image that you pushed in place of registry.example/imds-audit.\n\
             apiVersion: v1\nkind: Namespace\nmetadata:\n  name: imds-audit\n  labels:\n    \
             pod-security.kubernetes.io/enforce: privileged\n"
        );
        for line in kept {
            wanted.push_str(line.trim_end());
            wanted.push('\n');
        }
        if env::var_os("UPDATE_MANIFESTS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &wanted).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == wanted, "{} is not what the chart makes", path.display());
        chart.validate(&found, &VERSIONS[8..]);
    }
}
