//! Secret members of the AWS CLI's operations, made by `xtask/aws_members.py` from the models
//! of botocore 1.44.8. Do not edit.

/// Services in order, each with its operations, one a line, and their members that take a secret;
/// `+` marks those inside of others.
pub(super) const SERVICES: &[(&str, &str)] = &[
    (
        "account",
        "\n\
accept-primary-email-update Otp\n\
verify-phone-number Otp",
    ),
    (
        "amplifyuibuilder",
        "\n\
exchange-code-for-token +code",
    ),
    (
        "appfabric",
        "\n\
connect-app-authorization +code",
    ),
    (
        "appflow",
        "\n\
create-connector-profile +credentialsMap\n\
update-connector-profile +credentialsMap",
    ),
    (
        "apprunner",
        "\n\
create-service +RuntimeEnvironmentSecrets\n\
update-service +RuntimeEnvironmentSecrets",
    ),
    (
        "cloudfront",
        "\n\
create-distribution +HeaderValue\n\
create-distribution-with-tags +HeaderValue\n\
update-distribution +HeaderValue",
    ),
    (
        "cognito-identity",
        "\n\
get-credentials-for-identity Logins\n\
get-id Logins\n\
get-open-id-token Logins\n\
get-open-id-token-for-developer-identity Logins\n\
unlink-identity Logins",
    ),
    (
        "cognito-idp",
        "\n\
admin-initiate-auth AuthParameters Session\n\
admin-respond-to-auth-challenge ChallengeResponses Session\n\
associate-software-token Session\n\
confirm-sign-up Session\n\
initiate-auth AuthParameters Session\n\
respond-to-auth-challenge ChallengeResponses Session\n\
verify-software-token Session UserCode",
    ),
    (
        "connect",
        "\n\
update-participant-authentication Code",
    ),
    (
        "datazone",
        "\n\
create-connection +credentials +customAuthenticationCredentials +oAuth2Credentials\n\
update-connection +credentials",
    ),
    (
        "dms",
        "\n\
create-endpoint +SecurityDbEncryption\n\
import-certificate CertificatePem\n\
modify-endpoint +SecurityDbEncryption",
    ),
    (
        "ec2",
        "\n\
copy-snapshot PresignedUrl\n\
create-delegate-mac-volume-ownership-task MacCredentials\n\
create-fleet +LaunchTemplateSpecificationUserData\n\
create-launch-template +UserData\n\
create-launch-template-version +UserData\n\
create-mac-system-integrity-protection-modification-task MacCredentials\n\
import-instance +UserData\n\
modify-fleet +LaunchTemplateSpecificationUserData\n\
request-spot-fleet +UserData\n\
request-spot-instances +UserData\n\
run-instances UserData",
    ),
    (
        "endusermessaging",
        "\n\
validate-notify-code-verification code",
    ),
    (
        "evs",
        "\n\
create-environment +solutionKey +vsanKey",
    ),
    (
        "glue",
        "\n\
create-connection +CustomAuthenticationCredentials\n\
test-connection +CustomAuthenticationCredentials\n\
update-connection +CustomAuthenticationCredentials",
    ),
    (
        "inspector2",
        "\n\
update-code-security-integration +code",
    ),
    (
        "interconnect",
        "\n\
accept-connection-proposal activationKey\n\
describe-connection-proposal activationKey",
    ),
    (
        "iot-managed-integrations",
        "\n\
create-managed-thing AuthenticationMaterial\n\
start-device-discovery AuthenticationMaterial",
    ),
    (
        "kms",
        "\n\
encrypt Plaintext",
    ),
    (
        "notificationscontacts",
        "\n\
activate-email-contact code",
    ),
    (
        "partnercentral-account",
        "\n\
associate-aws-training-certification-email-domain EmailVerificationCode\n\
create-partner EmailVerificationCode\n\
put-alliance-lead-contact EmailVerificationCode",
    ),
    (
        "payment-cryptography",
        "\n\
import-key +WrappedKeyBlock +WrappedKeyCryptogram",
    ),
    (
        "payment-cryptography-data",
        "\n\
decrypt-data +Tr31KeyBlock\n\
encrypt-data +Tr31KeyBlock PlainText\n\
generate-mac +ApplicationCryptogram\n\
generate-mac-emv-pin-change +ApplicationCryptogram +CurrentEncryptedPinBlock NewEncryptedPinBlock\n\
generate-pin-data +EncryptedPinBlock +Tr31KeyBlock\n\
re-encrypt-data +Tr31KeyBlock\n\
translate-key-material +WrappedKeyBlock\n\
translate-pin-data +Tr31KeyBlock EncryptedPinBlock\n\
verify-auth-request-cryptogram AuthRequestCryptogram\n\
verify-mac +ApplicationCryptogram\n\
verify-pin-data +Tr31KeyBlock EncryptedPinBlock",
    ),
    (
        "quicksight",
        "\n\
create-data-source Credentials\n\
start-asset-bundle-import-job +CredentialPair\n\
update-data-source Credentials",
    ),
    (
        "rds",
        "\n\
copy-db-cluster-snapshot PreSignedUrl\n\
copy-db-snapshot PreSignedUrl\n\
create-db-cluster PreSignedUrl\n\
create-db-instance-read-replica PreSignedUrl\n\
start-db-instance-automated-backups-replication PreSignedUrl",
    ),
    (
        "secretsmanager",
        "\n\
create-secret SecretBinary\n\
put-secret-value SecretBinary\n\
update-secret SecretBinary",
    ),
    (
        "signin",
        "\n\
create-o-auth2-token-with-token-exchange assertion",
    ),
    (
        "socialmessaging",
        "\n\
associate-whats-app-business-account +twoFactorPin\n\
get-whats-app-message-media destinationS3PresignedUrl\n\
post-whats-app-message-media sourceS3PresignedUrl",
    ),
    (
        "ssm",
        "\n\
put-parameter Value",
    ),
    (
        "sso-oidc",
        "\n\
create-token-with-iam assertion",
    ),
    (
        "storagegateway",
        "\n\
update-chap-credentials SecretToAuthenticateInitiator SecretToAuthenticateTarget",
    ),
    (
        "transfer",
        "\n\
create-server HostKey\n\
import-host-key HostKeyBody\n\
update-server HostKey",
    ),
    (
        "wickr",
        "\n\
create-bot challenge\n\
update-bot challenge",
    ),
    (
        "workspaces-instances",
        "\n\
create-workspace-instance +UserData",
    ),
];

/// Endings of names that are left out, because they are secrets whatever they belong to.
#[cfg(test)]
pub(super) const KNOWN: &[&str] = &[
    "accesskey",
    "accountkey",
    "apikey",
    "apikeyvalue",
    "authcode",
    "authkey",
    "authorization",
    "authorizationcode",
    "basicauthcredentials",
    "basicauthenticationcredentials",
    "codeverifier",
    "cookie",
    "credential",
    "customerkey",
    "encryptionkey",
    "jwt",
    "masterkey",
    "passphrase",
    "password",
    "presharedkey",
    "privatekey",
    "samlassertion",
    "secret",
    "secrethash",
    "secretkey",
    "secretstring",
    "secretvalue",
    "tokenvalue",
    "sessionkey",
    "signature",
    "token",
];
