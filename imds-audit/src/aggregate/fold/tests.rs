use proptest::prelude::*;

use super::*;

#[test]
fn random_parts_are_folded() {
    for (text, expected) in [
        // Jenkins, durable-task-plugin.
        (
            "/var/lib/jenkins/workspace/deploy@tmp/durable-1a2b3c4d/script.sh.copy",
            "/var/lib/jenkins/workspace/deploy@tmp/durable-*/script.sh.copy",
        ),
        (
            "/workspace/deploy@2@tmp/durable-0f9e8d7c/script.sh",
            "/workspace/deploy@tmp/durable-*/script.sh",
        ),
        ("/workspace/deploy@3/run.sh", "/workspace/deploy/run.sh"),
        // The SSM agent.
        (
            "/var/lib/amazon/ssm/i-0123456789abcdef0/document/orchestration/7f1c9a52-3d1e-4c5b-9a77-0c4f6a1b2c3d/awsrunShellScript/0.awsrunShellScript/_script.sh",
            "/var/lib/amazon/ssm/i-*/document/orchestration/*/awsrunShellScript/0.awsrunShellScript/_script.sh",
        ),
        // GitHub Actions, GitLab, CodeBuild.
        ("/home/r/_work/_temp/7f1c9a52-3d1e-4c5b-9a77-0c4f6a1b2c3d.sh", "/home/r/_work/_temp/*.sh"),
        ("/builds/aB3dE9xY/0/group/app/run.sh", "/builds/*/0/group/app/run.sh"),
        ("/builds/abcdefgh/0/group/app/run.sh", "/builds/*/0/group/app/run.sh"),
        ("/codebuild/output/src396/src/x.sh", "/codebuild/output/src*/src/x.sh"),
        // CodeDeploy, EMR, TeamCity, Tekton, Rundeck, Buildkite, Azure, Bamboo.
        (
            "/opt/codedeploy-agent/deployment-root/7f1c9a52-3d1e-4c5b-9a77-0c4f6a1b2c3d/d-W4Z9KLJHF/deployment-archive/scripts/x.sh",
            "/opt/codedeploy-agent/deployment-root/*/d-*/deployment-archive/scripts/x.sh",
        ),
        (
            "/mnt/var/lib/hadoop/steps/s-2KDNAE1TT2Q5A/run.sh",
            "/mnt/var/lib/hadoop/steps/s-*/run.sh",
        ),
        (
            "/opt/agent/temp/agentTmp/custom_script1234567890123456789",
            "/opt/agent/temp/agentTmp/custom_script*",
        ),
        ("/tekton/scripts/script-1-x2x7z", "/tekton/scripts/script-1-*"),
        ("/tmp/12-345-node1-dispatch-script.tmp.sh", "/tmp/*-node1-dispatch-script.tmp.sh"),
        ("/tmp/buildkite-agent-script-3719468", "/tmp/buildkite-agent-script-*"),
        (
            "/opt/bamboo/temp/APP-MAIN-JOB1-123-ScriptBuildTask-8834561203.sh",
            "/opt/bamboo/temp/APP-MAIN-JOB1-*-ScriptBuildTask-*.sh",
        ),
        // Terraform, Packer, Chef, Salt.
        ("/tmp/terraform_1234567890.sh", "/tmp/terraform_*.sh"),
        ("/tmp/script_7342.sh", "/tmp/script_*.sh"),
        ("/tmp/chef-script20240115-4711-kqzabc", "/tmp/chef-script*"),
        ("/tmp/d20240115-4711-1a2b3c/x.rb", "/tmp/*-*-*/x.rb"),
        ("/tmp/__salt.tmp.k3v0rv_y.sh", "/tmp/__salt.tmp.*.sh"),
        // Databricks, a host's name, a volume of Kubernetes.
        (
            "/dbfs/cluster-logs/0115-103055-ab12cd3e/init_scripts/x.sh",
            "/dbfs/cluster-logs/*/init_scripts/x.sh",
        ),
        ("/var/spool/ip-10-0-1-23/x.sh", "/var/spool/ip-*/x.sh"),
        ("/etc/scripts/..2024_01_15_10_20_30.123456789/x.sh", "/etc/scripts/..*/x.sh"),
        ("/data/2024-01-15T10:20:30Z/run.sh", "/data/*/run.sh"),
        ("/opt/app/releases/20240115102030/run.sh", "/opt/app/releases/*/run.sh"),
        ("/codebuild/output/src123456789/src/x.sh", "/codebuild/output/src*/src/x.sh"),
        // Ansible.
        (
            "/root/.ansible/tmp/ansible-tmp-1700000000.12-34-56/AnsiballZ_setup.py",
            "/root/.ansible/tmp/ansible-tmp-*/AnsiballZ_setup.py",
        ),
        (
            "/root/.ansible/tmp/ansible-tmp-1700000000.1234567-4711-140203040506/AnsiballZ_x.py",
            "/root/.ansible/tmp/ansible-tmp-*/AnsiballZ_x.py",
        ),
        // mktemp(1), Python's tempfile, Perl's File::Temp, Java, systemd.
        ("/tmp/tmp.Kd9sLqX2aB", "/tmp/tmp.*"),
        ("/tmp/tmp.Kd9sLqX2aB/run.sh", "/tmp/tmp.*/run.sh"),
        ("/tmp/tmpq8w7e6r5/x.py", "/tmp/tmp*/x.py"),
        ("/tmp/tmpabcdefgh.py", "/tmp/tmp*.py"),
        ("/tmp/airflowtmpab12cd_x/run.sh", "/tmp/airflowtmp*/run.sh"),
        ("/tmp/aB3dE9xYq1", "/tmp/*"),
        ("/tmp/deploy.aB3dE9", "/tmp/deploy.*"),
        ("/tmp/deploy.abcDEf", "/tmp/deploy.*"),
        ("/tmp/deploy-ab12cd/run.sh", "/tmp/deploy-*/run.sh"),
        ("/tmp/script1234567890123.sh", "/tmp/script*.sh"),
        (
            "/tmp/systemd-private-0123456789abcdef0123456789abcdef-x.service-aB3dE9/tmp/x.sh",
            "/tmp/systemd-private-*-x.service-*/tmp/x.sh",
        ),
        // YARN, Slurm, pids, dates, instances, ids.
        (
            "/x/application_1700000000000_0042/container_1700000000000_0042_01_000002/launch_container.sh",
            "/x/application_*/container_*/launch_container.sh",
        ),
        ("/var/spool/slurmd/job00042/slurm_script", "/var/spool/slurmd/job*/slurm_script"),
        ("/run/x.4711.sh", "/run/x.4711.sh"),
        ("/run/x-4711.sh", "/run/x-*.sh"),
        ("/run/job_123456", "/run/job_*"),
        ("/data/2024-01-15/run.sh", "/data/*/run.sh"),
        ("/data/2024/01/15/run.sh", "/data/*/run.sh"),
        ("/data/20240115/run.sh", "/data/*/run.sh"),
        ("run.sh --id=7f1c9a52-3d1e-4c5b-9a77-0c4f6a1b2c3d x", "run.sh --id=* x"),
        (
            "/nix/store/1b9p07z77phvv2hf6gm9f28syp39f1ag-bash-5.2/bin/bash",
            "/nix/store/*-bash-5.2/bin/bash",
        ),
    ] {
        assert_eq!(fold_random(text), expected, "{text}");
        assert_eq!(fold_random(expected), expected, "{expected} is stable");
    }
}

#[test]
fn what_tells_programs_apart_stays() {
    for text in [
        "/usr/bin/python3.11",
        "/opt/app-v2/run.sh",
        "/opt/app-1.2.3/run.sh",
        "/opt/2024-reports/build.sh",
        "/opt/reports/2024/build.sh",
        "/usr/lib/jvm/jdk-17.0.10/lib",
        "/opt/net/2.0.50727/x.dll",
        "/opt/ubuntu2204/setup.sh",
        "/opt/sha256sum.sh",
        "/usr/lib/x86_64-linux-gnu/x",
        "com.example.IngestV2",
        "getCredentialsV2",
        "/opt/deadbeef/run.sh",
        "/opt/feed/facade.sh",
        "curl -s http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:8080/x",
        "[fd00:ec2::254]:80",
        "/srv/me@example.com/x.sh",
        "/opt/tmpfiles.d/run.sh",
        "/opt/s3/log4j2.xml",
        "/tmp/deploy.sh",
        "/tmp/deploy-runJob/x.sh",
        "/tmp/app-RunNightlyJob.sh",
        "/opt/a-BACKUPTOOL/run.sh",
        "/opt/d-day/run.sh",
        "/opt/ip-tables/run.sh",
        "/opt/app-10-2/run.sh",
        "/opt/scripts/script-1-build/run.sh",
        "/tmp/nightly-backup/run.sh",
        "/builds/group/run.sh",
        "größe-42.sh",
        "",
    ] {
        assert_eq!(fold_random(text), text);
    }
}

proptest! {
    #[test]
    fn any_text_is_folded_without_a_panic_and_no_longer(text in "\\PC{0,60}") {
        prop_assert!(fold_random(&text).len() <= text.len());
    }

    #[test]
    fn every_uuid_is_folded(uuid in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}") {
        prop_assert_eq!(fold_random(&format!("/a/{uuid}/b-{uuid}.sh")), "/a/*/b-*.sh");
    }
}
