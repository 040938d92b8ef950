//! Options and operands that programs document as secret, each with its manual.
//!
//! Options whose name says it (`--password`, `--token`) need no row: [`super::super::secret_name`]
//! knows them whatever program they belong to.

/// What a program takes as an option's value or as an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// A secret, unless it looks like another option.
    Secret,
    /// A secret, unless it is a setting (`role=web`).
    Token,
    /// A secret in the next word only, unless it looks like an option: the program has other options
    /// that begin alike.
    Apart,
    /// A secret, even where it looks like an option.
    Anything,
    /// A secret in the same word only (`-pX`): the next word is something else.
    Attached,
    /// A secret behind the first `:`, `%` or `/`: a login.
    Behind(u8),
    /// A secret if it is one by its prefix (`pass:X`), and else says where to read it.
    Prefixed,
    /// A name and a secret (`NAME=X`).
    Pair,
    /// Nothing that is secret, though the option's name says so elsewhere.
    Nothing,
    /// Nothing that is secret: the options behind it belong to another program.
    End,
}

/// Options and operands of a program that take a secret.
pub(super) struct Rule {
    /// Words that must have come before, in any place: subcommands, or `-x` for an option that
    /// has the letter.
    pub after: &'static str,
    /// The options, with a blank between. A digit stands for the operand in that place behind the
    /// words of `after`, with `!` only where no option stands before it; `*` stands for each.
    pub options: &'static str,
    /// What they take.
    pub takes: Takes,
    /// There is an operand among them.
    pub has_operand: bool,
}

/// A program, or several that share their options.
pub(super) struct Program {
    /// The names of their executables, with a blank between.
    pub names: &'static str,
    /// What they take.
    pub rules: &'static [Rule],
}

const fn rule(after: &'static str, options: &'static str, takes: Takes) -> Rule {
    let has_operand = !matches!(options.as_bytes(), [] | [b'-' | b'/', ..]);
    Rule { after, options, takes, has_operand }
}

const fn program(names: &'static str, rules: &'static [Rule]) -> Program {
    Program { names, rules }
}

use Takes::{Anything, Apart, Attached, Behind, End, Nothing, Pair, Prefixed, Secret, Token};

/// Every program with options or operands that need a row.
pub(super) const PROGRAMS: &[Program] = &[
    // Cloud.
    //
    // https://docs.aws.amazon.com/cli/latest/reference/s3/cp.html, …/sts/assume-role.html,
    // …/codeartifact, …/ecs: what the models have no mark for, or the CLI itself adds.
    program(
        "aws aws2 awscli aws-cli awslocal",
        &[
            // Structures, and identifiers of requests.
            rule("", "--auth --client-token --change-token --registration-token", Nothing),
            rule("", "--sse-c-key --sse-c-copy-source-key --token-code", Secret),
            rule(
                "enable-mfa-device",
                "--authentication-code1 --authentication-code2 --authentication-code-1 --authentication-code-2",
                Secret,
            ),
            rule(
                "resync-mfa-device",
                "--authentication-code1 --authentication-code2 --authentication-code-1 --authentication-code-2",
                Secret,
            ),
            rule("change-password", "--old-password --new-password", Secret),
        ],
    ),
    // https://learn.microsoft.com/cli/azure/reference-index
    program(
        "az",
        &[
            rule("keyvault secret set", "--value", Secret),
            rule("login", "-p", Anything),
            rule("ad", "--password -p", Secret),
            rule("vm create", "--admin-password", Secret),
            rule("storage", "--account-key --sas-token --connection-string", Secret),
            rule("appconfig kv set", "--connection-string", Secret),
            rule("sql", "-p", Secret),
        ],
    ),
    // https://cloud.google.com/sdk/gcloud/reference
    program("gcloud", &[rule("sql users", "--root-password", Secret)]),
    // https://bitwarden.com/help/cli/
    program("bw", &[rule("login", "2", Secret), rule("unlock", "1", Secret)]),
    // https://docs.databricks.com/aws/en/dev-tools/cli/reference/secrets-commands
    program(
        "databricks",
        &[
            rule("secrets put-secret", "--string-value --bytes-value", Secret),
            rule("secrets put", "--string-value --binary-file", Secret),
        ],
    ),
    // https://cli.github.com/manual/gh_secret_set
    program("gh", &[rule("secret set", "--body -b", Secret)]),
    // https://docs.gitlab.com/cli/variable/set/, …/runner/register/
    program("glab", &[rule("variable", "--value -v", Secret), rule("auth login", "-t", Secret)]),
    program("gitlab-runner", &[rule("register", "-r", Secret)]),
    // https://fly.io/docs/flyctl/secrets-set/
    program("flyctl fly", &[rule("secrets set", "*", Pair)]),
    // https://docs.github.com/actions/hosting-your-own-runners, actions/runner's Runner.Listener
    program(
        "run.sh Runner.Listener Runner.Worker config.sh",
        &[rule("", "--jitconfig --pat", Secret)],
    ),
    // Secrets and service discovery.
    //
    // https://developer.hashicorp.com/vault/docs/commands
    program(
        "vault bao",
        &[
            rule("kv put", "*", Pair),
            rule("kv patch", "*", Pair),
            rule("write", "secret_id=", Secret),
            rule("login", "1", Token),
            rule("unseal", "1", Secret),
            rule("unwrap", "1", Secret),
            rule("revoke", "1", Secret),
            rule("token lookup", "1", Secret),
            rule("token renew", "1", Secret),
            rule("rekey", "1", Secret),
        ],
    ),
    // https://developer.hashicorp.com/consul/docs/reference/cli, …/nomad/commands
    program(
        "consul nomad serf",
        &[
            rule("", "-encrypt --encrypt -encrypt-key", Secret),
            rule("keyring", "-install -use -remove -i", Secret),
        ],
    ),
    // https://etcd.io/docs/v3.5/op-guide/authentication/rbac/
    program("etcdctl", &[rule("", "--user", Behind(b':')), rule("user add", "1", Behind(b':'))]),
    // Containers.
    //
    // https://docs.docker.com/reference/cli/docker/login/, https://docs.podman.io, skopeo(1)
    program(
        "docker podman nerdctl buildah skopeo crane oras finch img",
        &[
            rule("login", "-p", Anything),
            rule("", "--creds --src-creds --dest-creds --registry-creds", Behind(b':')),
            rule("", "--src-password --dest-password", Secret),
            rule("swarm join", "--token", Secret),
            // Where a secret is kept: `id=npm,src=…`.
            rule("", "--secret", Nothing),
        ],
    ),
    // https://helm.sh/docs/helm/helm_registry_login/
    program("helm", &[rule("registry login", "-p", Anything)]),
    // https://kubernetes.io/docs/reference/kubectl/generated/kubectl_create/
    program(
        "kubectl oc k3s microk8s",
        &[
            rule("secret", "--from-literal", Pair),
            rule("", "--docker-password", Secret),
            rule("login", "-p", Anything),
        ],
    ),
    // https://kubernetes.io/docs/reference/setup-tools/kubeadm/
    program(
        "kubeadm",
        &[
            rule("", "--certificate-key --discovery-token --tls-bootstrap-token", Secret),
            rule("token create", "1", Secret),
            rule("token delete", "1", Secret),
        ],
    ),
    // https://argo-cd.readthedocs.io/en/stable/user-guide/commands/argocd_account_update-password/
    program(
        "argocd",
        &[
            rule("", "--current-password --new-password --auth-token", Secret),
            rule("repo add", "--github-app-private-key", Secret),
        ],
    ),
    // https://docs.cloudfoundry.org/cf-cli/
    program("cf", &[rule("login", "-p", Anything), rule("auth", "2", Secret)]),
    // Databases.
    //
    // https://dev.mysql.com/doc/refman/8.4/en/password-security-user.html
    program(
        "mysql mysqldump mysqladmin mysqlimport mysqlcheck mysqlshow mysqlsh mysqlpump mysqlslap \
         mysqlbinlog mysql_upgrade mariadb mariadb-dump mariadb-admin mariadb-import \
         mariadb-check mariadb-backup xtrabackup innobackupex mycli mydumper myloader",
        &[rule("", "-p", Attached), rule("password", "1", Secret)],
    ),
    // https://www.postgresql.org/docs/current/app-psql.html: it asks for a password.
    program(
        "psql pg_dump pg_dumpall pg_restore pg_basebackup createdb dropdb createuser dropuser \
         vacuumdb reindexdb pg_isready pg_receivewal",
        &[rule("", "--password -W", Nothing)],
    ),
    // https://redis.io/docs/latest/develop/tools/cli/, https://valkey.io/topics/cli/
    program(
        "redis-cli valkey-cli keydb-cli redli iredis",
        &[
            rule("", "-a --pass --askpass-value", Anything),
            rule("auth", "*", Secret),
            rule("AUTH", "*", Secret),
            rule("requirepass", "1", Secret),
            rule("masterauth", "1", Secret),
        ],
    ),
    // https://redis.io/docs/latest/operate/oss_and_stack/management/config/
    program(
        "redis-server valkey-server keydb-server redis-sentinel",
        &[rule(
            "",
            "--requirepass --masterauth --tls-key-file-pass --tls-client-key-file-pass",
            Anything,
        )],
    ),
    // https://learn.microsoft.com/sql/tools/sqlcmd/sqlcmd-utility, …/tools/bcp-utility
    program("sqlcmd bcp osql isql tsql", &[rule("", "-P -Z -z /P", Anything)]),
    // https://learn.microsoft.com/sql/tools/sqlpackage/sqlpackage
    program(
        "sqlpackage SqlPackage",
        &[rule("", "/tp /sp /TargetPassword /SourcePassword", Secret)],
    ),
    // https://docs.oracle.com/en/database/oracle/oracle-database/19/sqpug/starting-SQL-Plus.html
    program(
        "sqlplus sqlldr expdp impdp rman dgmgrl",
        &[
            rule("", "*", Behind(b'/')),
            rule("target", "1", Behind(b'/')),
            rule("catalog", "1", Behind(b'/')),
            rule("", "userid=", Behind(b'/')),
        ],
    ),
    program("CONNECT CONN conn", &[rule("", "1", Behind(b'/'))]),
    // https://www.mongodb.com/docs/mongodb-shell/reference/options/, …/database-tools
    program(
        "mongo mongosh mongodump mongorestore mongoexport mongoimport mongostat mongotop mongofiles",
        &[
            rule("", "-p", Secret),
            rule("", "--sslPEMKeyPassword --tlsCertificateKeyFilePassword", Secret),
        ],
    ),
    // https://cassandra.apache.org/doc/latest/cassandra/managing/tools/cqlsh.html
    program("cqlsh cqlsh.py", &[rule("", "-p", Secret)]),
    program("nodetool", &[rule("", "-pw", Secret)]),
    // https://clickhouse.com/docs/interfaces/cli
    program("clickhouse-client clickhouse", &[rule("", "--password", Anything)]),
    // https://docs.influxdata.com/influxdb/v2/reference/cli/influx/
    program(
        "influx influxd",
        &[rule("", "-t", Secret), rule("setup", "-p", Secret), rule("user", "-p", Secret)],
    ),
    // https://docs.couchbase.com/server/current/cli/cbcli/couchbase-cli.html
    program("couchbase-cli cbbackupmgr cbq cbc", &[rule("", "-p", Secret)]),
    // https://neo4j.com/docs/operations-manual/current/cypher-shell/
    program("cypher-shell", &[rule("", "-p", Secret)]),
    program("neo4j-admin", &[rule("set-initial-password", "1", Secret)]),
    // https://docs.snowflake.com/en/user-guide/snowsql-start
    program("snowsql snow", &[rule("", "--private-key-passphrase --mfa-passcode", Secret)]),
    // https://hive.apache.org (beeline)
    program("beeline", &[rule("", "-p", Secret)]),
    // https://sqoop.apache.org/docs/1.4.7/SqoopUserGuide.html
    program("sqoop", &[rule("", "--password --connection-param-pass", Secret)]),
    // https://www.ibm.com/docs/en/db2 (CLP: connect to X user U using P)
    program("db2", &[rule("using", "1", Secret)]),
    // Messaging.
    //
    // https://www.rabbitmq.com/docs/man/rabbitmqctl.8
    program(
        "rabbitmqctl",
        &[
            rule("add_user", "2", Secret),
            rule("change_password", "2", Secret),
            rule("authenticate_user", "2", Secret),
        ],
    ),
    program("rabbitmqadmin", &[rule("", "-p", Secret)]),
    // https://mosquitto.org/man/mosquitto_pub-1.html
    program("mosquitto_pub mosquitto_sub mosquitto_rr", &[rule("", "-P --pw --psk", Secret)]),
    program("mosquitto_passwd", &[rule("-b", "3", Secret)]),
    // https://docs.nats.io/using-nats/nats-tools/nats_cli
    program("nats", &[rule("", "--password --nkey", Secret)]),
    // HTTP and file transfer.
    //
    // https://curl.se/docs/manpage.html
    program(
        "curl",
        &[
            rule(
                "",
                "--pass --proxy-pass --tlspassword --proxy-tlspassword --login-options",
                Secret,
            ),
            rule("", "--oauth2-bearer --aws-secret", Secret),
        ],
    ),
    // https://httpie.io/docs/cli/authentication: a login or a bearer token; both go whole.
    program("http https xh xhs httpie", &[rule("", "-a", Anything)]),
    // wget(1), aria2c(1)
    program(
        "wget wget2 aria2c",
        &[rule(
            "",
            "--password --http-password --ftp-password --proxy-password --http-passwd \
                 --ftp-passwd --proxy-passwd --all-proxy-passwd --rpc-secret",
            Secret,
        )],
    ),
    // lftp(1), ncftp(1)
    program("lftp", &[rule("", "-u", Behind(b','))]),
    program("ncftpput ncftpget ncftpls ncftp", &[rule("", "-p", Secret)]),
    // ab(1)
    program("ab", &[rule("", "-A -P", Behind(b':'))]),
    // https://rclone.org/commands/rclone_obscure/
    program(
        "rclone",
        &[
            rule("obscure", "1", Secret),
            rule("", "--rc-pass --pass --sftp-pass --ftp-pass --webdav-pass", Secret),
        ],
    ),
    // https://s3tools.org/usage
    program("s3cmd", &[rule("", "--secret_key", Secret)]),
    // https://min.io/docs/minio/linux/reference/minio-mc.html: NAME URL ACCESS SECRET
    program(
        "mc mcli",
        &[
            rule("alias set", "4", Secret),
            rule("config host add", "4", Secret),
            rule("admin user add", "3", Secret),
        ],
    ),
    // ssh, and what hands it a password: sshpass(1), https://the.earth.li/~sgtatham/putty
    program("sshpass", &[rule("", "-p", Anything)]),
    program("plink pscp psftp putty", &[rule("", "-pw -pwfile-text", Anything)]),
    program("ssh scp sftp rsync", &[rule("", "", End)]),
    // smbclient(1), net(8), rpcclient(1), mount.cifs(8)
    program("smbclient", &[rule("", "-U --user", Behind(b'%')), rule("", "!2", Secret)]),
    program(
        "rpcclient smbget net smbcacls smbtree wbinfo smbmap",
        &[rule("", "-U --user --authenticate", Behind(b'%'))],
    ),
    // https://github.com/Hackplayers/evil-winrm, impacket's DOMAIN/USER:PASSWORD@HOST
    program("evil-winrm crackmapexec netexec nxc", &[rule("", "-p -H", Secret)]),
    program("xfreerdp xfreerdp3 wlfreerdp rdesktop", &[rule("", "-p /p: /p", Anything)]),
    // ldapsearch(1), slappasswd(8)
    program(
        "ldapsearch ldapadd ldapmodify ldapdelete ldapwhoami ldapcompare ldapmodrdn",
        &[rule("", "-w", Anything)],
    ),
    program("slappasswd", &[rule("", "-s", Anything)]),
    program("ldappasswd", &[rule("", "-w -a -s", Anything)]),
    // https://docs.snmp.com: snmpcmd(1)
    program(
        "snmpget snmpwalk snmpset snmpbulkwalk snmpbulkget snmpgetnext snmptrap snmptable snmpstatus",
        &[rule("", "-A -X", Anything)],
    ),
    // ipmitool(1)
    program("ipmitool", &[rule("", "-P", Anything), rule("user set password", "2", Secret)]),
    // Cryptography and keys.
    //
    // openssl-passphrase-options(1), openssl-enc(1)
    program(
        "openssl",
        &[
            rule("", "-passin -passout -pass -srppass -passcerts", Prefixed),
            rule("", "-K -k -hmac -psk", Apart),
            rule("", "-signature -sigfile", Nothing),
            rule("passwd", "1", Secret),
        ],
    ),
    // gpg(1)
    program("gpg gpg2 gpg-preset-passphrase gpgsm", &[rule("", "--passphrase -P", Secret)]),
    // https://docs.oracle.com/en/java/javase/21/docs/specs/man/keytool.html, …/jarsigner.html
    program(
        "keytool jarsigner",
        &[
            rule("", "-keypasswd -storepasswd", Nothing),
            rule(
                "",
                "-storepass -keypass -srcstorepass -deststorepass -srckeypass -destkeypass -new \
                 -newpass",
                Anything,
            ),
        ],
    ),
    // ssh-keygen(1)
    program("ssh-keygen", &[rule("", "-N -P", Anything)]),
    // https://docs.ansible.com/ansible/latest/cli/ansible-vault.html
    program("ansible-vault", &[rule("encrypt_string", "1", Secret)]),
    // zip(1), unzip(1), 7z's manual: -p
    program("zip unzip zipcloak zipnote", &[rule("", "-P", Anything)]),
    program("7z 7za 7zr 7zz p7zip", &[rule("", "-p", Attached)]),
    program("rar unrar", &[rule("", "-p -hp", Attached)]),
    // pdftk(1), qpdf(1), pdftotext(1)
    program(
        "pdftk",
        &[
            rule("input_pw", "1", Secret),
            rule("owner_pw", "1", Secret),
            rule("user_pw", "1", Secret),
        ],
    ),
    program("qpdf", &[rule("--encrypt", "1", Secret), rule("--encrypt", "2", Secret)]),
    program("pdftotext pdfinfo pdfimages pdftoppm", &[rule("", "-upw -opw", Secret)]),
    // pkcs11-tool(1), softhsm2-util(1), yubico-piv-tool(1)
    program(
        "pkcs11-tool softhsm2-util p11tool pkcs15-tool yubico-piv-tool ykman",
        &[
            rule("", "--pin --so-pin --new-pin --puk -p -P", Secret),
            rule("accounts add", "2", Secret),
        ],
    ),
    // Accounts.
    //
    // htpasswd(1): -b takes the password as its last operand, behind a file without -n.
    program("htpasswd", &[rule("-n -b", "2 3", Secret), rule("-b", "3 4", Secret)]),
    // useradd(8), usermod(8): a hash
    program("useradd usermod groupadd newusers", &[rule("", "-p", Anything)]),
    // https://learn.microsoft.com/windows-server/administration/windows-commands/net-user
    program("net.exe", &[rule("user", "2", Secret), rule("use", "3", Secret)]),
    program("cmdkey", &[rule("", "/pass /p", Secret)]),
    program("schtasks PsExec psexec PsExec64 wmic", &[rule("", "/rp /RP -p", Secret)]),
    // https://learn.microsoft.com/powershell/module/microsoft.powershell.security
    program("ConvertTo-SecureString", &[rule("", "1", Secret), rule("", "-String", Secret)]),
    // https://docs.aws.amazon.com/powershell/latest/reference/
    program("Write-SSMParameter", &[rule("", "-Value", Secret)]),
    program("Set-LocalUser New-LocalUser Set-ADAccountPassword", &[rule("", "-Password", Secret)]),
    // realm(8), adcli(8), ipa(1), kinit
    program(
        "ipa-client-install ipa-server-install ipa-replica-install",
        &[rule("", "-w -p -a", Secret)],
    ),
    // Networks.
    //
    // https://tailscale.com/kb/1080/cli, https://docs.netbird.io, https://ngrok.com/docs
    program("tailscale netbird", &[rule("", "--authkey --auth-key --setup-key -k", Secret)]),
    program("cloudflared", &[rule("service install", "1", Secret)]),
    program("ngrok", &[rule("add-authtoken", "1", Secret), rule("authtoken", "1", Secret)]),
    // wpa_passphrase(8), nmcli(1), iw(8), iwctl
    program("wpa_passphrase", &[rule("", "2", Secret)]),
    program(
        "nmcli",
        &[
            rule("wifi-sec.psk", "1", Secret),
            rule("802-11-wireless-security.psk", "1", Secret),
            rule("vpn.secrets", "1", Secret),
        ],
    ),
    program("iwctl", &[rule("", "--passphrase -P", Secret)]),
    program("openconnect vpnc", &[rule("", "--cookie -C --token-secret", Secret)]),
    // Source control, packages, builds.
    //
    // svn help, hg help config.auth
    program("svn", &[rule("", "--password", Anything)]),
    // https://learn.microsoft.com/dotnet/core/tools/dotnet-nuget-push
    program(
        "dotnet nuget",
        &[
            rule("push", "-k --api-key -ApiKey", Secret),
            rule("source", "-p", Secret),
            rule("user-secrets set", "2", Secret),
            rule("setapikey", "1", Secret),
        ],
    ),
    // https://twine.readthedocs.io, https://python-poetry.org/docs/cli/#config
    program("twine", &[rule("", "-p", Secret)]),
    program(
        "poetry",
        &[rule("config pypi-token.pypi", "1", Secret), rule("publish", "-p", Secret)],
    ),
    // https://doc.rust-lang.org/cargo/commands/cargo-login.html
    program("cargo", &[rule("login", "!1", Secret)]),
    // https://bundler.io/man/bundle-config.1.html
    program("bundle", &[rule("config", "2", Behind(b':')), rule("config set", "2", Behind(b':'))]),
    program("gem", &[rule("push", "--otp", Secret)]),
    program("npm yarn pnpm", &[rule("", "--otp", Secret)]),
    // https://docs.snyk.io, https://docs.sonarsource.com
    program("snyk", &[rule("auth", "1", Secret)]),
    program("sonar-scanner", &[rule("", "-Dsonar.login", Secret)]),
    program("codecov", &[rule("", "-t", Secret)]),
    // https://www.pulumi.com/docs/iac/cli/commands/pulumi_config_set/
    program("pulumi", &[rule("config set --secret", "2", Secret)]),
    // https://www.elastic.co/docs/reference/elasticsearch/command-line-tools/users-command
    program("elasticsearch-users", &[rule("", "-p", Secret)]),
    program(
        "elastic-agent",
        &[rule("", "--enrollment-token --fleet-server-service-token -t", Secret)],
    ),
    program("grafana-cli grafana", &[rule("reset-admin-password", "*", Secret)]),
    program("newrelic newrelic-install", &[rule("", "--apiKey --licenseKey", Secret)]),
    // https://www.jenkins.io/doc/book/managing/cli/ (-auth USER:TOKEN)
    program("jenkins-cli.jar jenkins-cli", &[rule("", "-auth", Behind(b':'))]),
    program("agent.jar", &[rule("", "-secret", Secret)]),
    // swaks(1), sendEmail(1)
    program("swaks", &[rule("", "-ap --auth-password", Secret)]),
    program("sendemail sendEmail", &[rule("", "-xp", Secret)]),
    // x11vnc(1)
    program("x11vnc", &[rule("", "-passwd -viewpasswd", Secret)]),
    // youtube-dl(1)
    program(
        "yt-dlp youtube-dl",
        &[rule("", "-p --video-password --ap-password -2 --twofactor", Secret)],
    ),
    // https://wp-cli.org, https://www.drush.org
    program("wp", &[rule("", "--user_pass --admin_password --dbpass", Secret)]),
    // Anything that logs in to a registry in the way that docker does.
    program("login", &[rule("", "-p", Anything)]),
];
