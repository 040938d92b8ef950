//! Java clients: a Spark driver without tokens, and what the AWS SDK for Java does.

use imds_audit::event::SparkRole;

use super::*;

/// The main class of Spark's driver on Databricks; Java's sockets are IPv6 ones that carry IPv4.
const DRIVER: &str = r#"
package com.databricks.backend.daemon.driver;
public class DriverDaemon {
    public static void main(String[] arguments) throws Exception {
        java.net.URLConnection connection = new java.net.URL("URL").openConnection();
        try (java.io.InputStream answer = connection.getInputStream()) {
            System.out.println(new String(answer.readAllBytes()));
        }
    }
}
"#;
/// What version 1 of the AWS SDK for Java does from 1.11.678 on, and version 2: a token for each
/// request, and the request without one where there is none (`EC2ResourceFetcher`,
/// `InstanceMetadataServiceResourceFetcher`).
const SDK: &str = r#"
public class Sdk {
    static String base = "http://169.254.169.254";
    static String ask(String method, String path, String name, String value) throws Exception {
        java.net.HttpURLConnection connection = (java.net.HttpURLConnection)
            new java.net.URL(base + path).openConnection(java.net.Proxy.NO_PROXY);
        connection.setConnectTimeout(2000);
        connection.setReadTimeout(20000);
        connection.setRequestMethod(method);
        connection.addRequestProperty("Accept", "*/*");
        connection.addRequestProperty("User-Agent", "aws-sdk-java/1.11.901 Linux");
        connection.addRequestProperty("Connection", "keep-alive");
        if (name != null) connection.addRequestProperty(name, value);
        connection.setDoOutput(method.equals("PUT"));
        connection.connect();
        if (connection.getResponseCode() != 200) return null;
        try (java.io.InputStream answer = connection.getInputStream()) {
            return new String(answer.readAllBytes());
        }
    }
    static String get(String path) throws Exception {
        String header = "x-aws-ec2-metadata-token";
        String token = ask("PUT", "/latest/api/token", header + "-ttl-seconds", "21600");
        String answer = token == null ? ask("GET", path, null, null) : ask("GET", path, header, token);
        if (answer == null) System.exit(5);
        return answer;
    }
    public static void main(String[] arguments) throws Exception {
        String path = "/latest/meta-data/iam/security-credentials/";
        System.out.println(get(path + get(path).trim()).contains("AccessKeyId"));
    }
}
"#;

/// Compiles a class into a folder; `false` where there is no compiler.
fn compile(folder: &std::path::Path, name: &str, text: &str) -> bool {
    if Command::new("javac").arg("--version").output().is_err() {
        skip("there is no javac");
        return false;
    }
    let source = folder.join(format!("{name}.java"));
    fs::write(&source, text).unwrap();
    let compiled = Command::new("javac").arg("-d").arg(folder).arg(&source).status().unwrap();
    assert!(compiled.success());
    true
}

#[test]
fn a_driver_of_spark_breaks_though_its_sockets_are_ipv6_ones() {
    let Some(stage) = stage() else { return };
    let folder = tempfile::tempdir().unwrap();
    let text = DRIVER.replace("URL\"", &format!("{URL}\""));
    if !compile(folder.path(), "DriverDaemon", &text) {
        return;
    }
    let class = "com.databricks.backend.daemon.driver.DriverDaemon";
    let command = ["java", "-cp", folder.path().to_str().unwrap(), class];
    let Some(rehearsed) = rehearse(&stage, &[], &command) else { return };
    assert_eq!(rehearsed.verdicts(), ["breaks"], "{rehearsed:?}");
    let request = &rehearsed.events.requests()[0];
    assert!(request.network.mapped, "{request:#?}");
    let role = request.process.spark.as_ref().and_then(|spark| spark.role);
    assert_eq!(role, Some(SparkRole::Driver), "{request:#?}");
}

#[test]
fn what_the_sdk_for_java_does_adapts() {
    let Some(stage) = stage() else { return };
    let folder = tempfile::tempdir().unwrap();
    if !compile(folder.path(), "Sdk", SDK) {
        return;
    }
    let command = ["java", "-cp", folder.path().to_str().unwrap(), "Sdk"];
    let Some(rehearsed) = rehearse(&stage, &[], &command) else { return };
    assert_eq!(rehearsed.stdout, "true\n", "{rehearsed:?}");
    assert_eq!(rehearsed.verdicts(), ["adapts"], "{rehearsed:?}");
    assert_eq!(rehearsed.result().callers[0].refused, 0, "{rehearsed:?}");
}
