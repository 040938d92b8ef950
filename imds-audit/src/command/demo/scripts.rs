//! Scripts of the demonstration, as they are found on instances: names and texts.

/// A script as they are found on instances: it reads the role's credentials with IMDSv1.
pub(super) const REFRESH_CREDENTIALS: (&str, &str) = (
    "refresh-credentials.sh",
    "#!/bin/sh\n\
     base=http://169.254.169.254/latest/meta-data/iam/security-credentials\n\
     role=$(curl -s $base/)\n\
     credentials=$(curl -s $base/$role)\n\
     test -n \"$credentials\"\n",
);

/// A script that means IMDSv2, but runs behind a hop: the token never arrives, and it falls back.
pub(super) const CONTAINER_START: (&str, &str) = (
    "container-start.sh",
    "#!/bin/sh\n\
     base=http://169.254.169.254/latest\n\
     token=$(curl -s -m 1 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $base/api/token)\n\
     if [ -n \"$token\" ]; then\n\
     \x20 curl -s -H \"X-aws-ec2-metadata-token: $token\" $base/meta-data/local-ipv4\n\
     else\n\
     \x20 curl -s $base/meta-data/local-ipv4\n\
     fi\n",
);
