//! Requests and responses that are easy to misread, and what each must be reported as.
//!
//! The audit's unit tests pass them through its stages, and the end-to-end tests send them over
//! real sockets. They are constants, so that the program contains none of them.

use crate::event::{Class, Outcome};

/// A request that is easy to misread.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its peculiarity.
    pub name: &'static str,
    /// The bytes that are sent, as one segment; `{token}` stands for a valid token.
    pub request: &'static [u8],
    /// The class that it must be reported with.
    pub class: Class,
    /// The status of the simulated service's response while tokens are optional.
    pub status: u16,
    /// The rule that decides the class.
    pub law: &'static str,
}

const BYTES: &str = "a header is what stands before the first colon of its line, nothing else";
const NAME: &str = "a name is compared as a whole, its case ignored";
const VALUE: &str = "a token is a value that is not blank, whatever its form";
const FRAME: &str = "what follows a head by its own account is no request";
const METHOD: &str = "the token request is a PUT of the token's path";
const CLOUD: &str = "another cloud's path without a token is not EC2's";
const NONE: &str = "what is no HTTP has no version";

/// Every request.
pub const ROWS: &[Row] = &[
    Row {
        name: "the name in a user agent",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nUser-Agent: X-aws-ec2-metadata-token: abc\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: BYTES,
    },
    Row {
        name: "the name in a query",
        request: b"GET /latest/meta-data/instance-id?X-aws-ec2-metadata-token=abc&X-aws-ec2-metadata-token:%20abc HTTP/1.1\r\nHost: a\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: BYTES,
    },
    Row {
        name: "the name in a path",
        request: b"GET /latest/X-aws-ec2-metadata-token:abc HTTP/1.1\r\nHost: a\r\n\r\n",
        class: Class::V1,
        status: 404,
        law: BYTES,
    },
    Row {
        name: "the name in a body",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\nX-aws-ec2-metadata-token: abc\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: FRAME,
    },
    Row {
        name: "the name in another header's value",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nX-Note: X-aws-ec2-metadata-token: abc\r\nReferer: http://a/X-aws-ec2-metadata-token\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: BYTES,
    },
    Row {
        name: "a longer name",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nX-aws-ec2-metadata-tokens: abc\r\nMy-X-aws-ec2-metadata-token: abc\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: NAME,
    },
    Row {
        name: "a name with underscores",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nX_aws_ec2_metadata_token: abc\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: NAME,
    },
    Row {
        name: "a blank before the colon",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nX-aws-ec2-metadata-token : abc\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: NAME,
    },
    Row {
        name: "a time to live on a GET",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: NAME,
    },
    Row {
        name: "the name in upper case",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nX-AWS-EC2-METADATA-TOKEN: {token}\r\n\r\n",
        class: Class::V2,
        status: 200,
        law: NAME,
    },
    Row {
        name: "the name in mixed case",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nx-AWS-eC2-mEtadata-TOKEN:{token}\r\n\r\n",
        class: Class::V2,
        status: 200,
        law: NAME,
    },
    Row {
        name: "a token without padding",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nX-aws-ec2-metadata-token: AQAEabc\r\n\r\n",
        class: Class::V2,
        status: 401,
        law: VALUE,
    },
    Row {
        name: "an empty token",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nX-aws-ec2-metadata-token:\r\n\r\n",
        class: Class::V2EmptyToken,
        status: 401,
        law: VALUE,
    },
    Row {
        name: "a blank token",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nX-aws-ec2-metadata-token: \t \r\n\r\n",
        class: Class::V2EmptyToken,
        status: 401,
        law: VALUE,
    },
    Row {
        name: "a token of 8 KiB",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nX-aws-ec2-metadata-token: tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt\r\n\r\n",
        class: Class::V2,
        status: 401,
        law: VALUE,
    },
    Row {
        name: "a token in a folded line",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nX-aws-ec2-metadata-token:\r\n {token}\r\n\r\n",
        class: Class::V2,
        status: 200,
        law: VALUE,
    },
    Row {
        name: "the header folded into another",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nX-Note: a\r\n X-aws-ec2-metadata-token: abc\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: BYTES,
    },
    Row {
        name: "bare line feeds",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\nHost: a\nX-aws-ec2-metadata-token: {token}\n\r\n",
        class: Class::V2,
        status: 200,
        law: BYTES,
    },
    Row {
        name: "NUL and ESC in a value",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nUser-Agent: a\0\x1b[2Jb\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: BYTES,
    },
    Row {
        name: "NUL before the name",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\n\0X-aws-ec2-metadata-token: abc\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: NAME,
    },
    Row {
        name: "bytes that are not UTF-8",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nUser-Agent: \xff\xfe\xc3\r\n\xe9: x\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: BYTES,
    },
    Row {
        name: "a lone carriage return",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nUser-Agent: a\rX-aws-ec2-metadata-token: abc\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: BYTES,
    },
    Row {
        name: "ESC in a path",
        request: b"GET /latest/\x1b[31m\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        class: Class::V1,
        status: 404,
        law: BYTES,
    },
    Row {
        name: "an absolute target",
        request: b"GET http://169.254.169.254/latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: BYTES,
    },
    Row {
        name: "HTTP/1.0",
        request: b"GET /latest/meta-data/instance-id HTTP/1.0\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: BYTES,
    },
    Row {
        name: "HTTP/1.0 with a token",
        request: b"GET /latest/meta-data/instance-id HTTP/1.0\r\nX-aws-ec2-metadata-token: {token}\r\n\r\n",
        class: Class::V2,
        status: 200,
        law: BYTES,
    },
    Row {
        name: "a PUT with a body",
        request: b"PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        class: Class::V2Token,
        status: 200,
        law: FRAME,
    },
    Row {
        name: "a chunked body",
        request: b"PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nTransfer-Encoding: chunked\r\n\r\n12\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
        class: Class::V2Token,
        status: 200,
        law: FRAME,
    },
    Row {
        name: "a token request with a slash",
        request: b"PUT /latest/api/token/ HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n",
        class: Class::V2Token,
        status: 403,
        law: METHOD,
    },
    Row {
        name: "a token request of a dated version",
        request: b"PUT /2021-03-23/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n",
        class: Class::V2Token,
        status: 403,
        law: METHOD,
    },
    Row {
        name: "a GET of the token's path",
        request: b"GET /latest/api/token HTTP/1.1\r\nHost: a\r\n\r\n",
        class: Class::V1,
        status: 405,
        law: METHOD,
    },
    Row {
        name: "Google's",
        request: b"GET /computeMetadata/v1/instance/id HTTP/1.1\r\nHost: a\r\nMetadata-Flavor: Google\r\n\r\n",
        class: Class::Foreign,
        status: 404,
        law: CLOUD,
    },
    Row {
        name: "Azure's",
        request: b"GET /metadata/instance?api-version=2021-02-01 HTTP/1.1\r\nHost: a\r\nMetadata: true\r\n\r\n",
        class: Class::Foreign,
        status: 404,
        law: CLOUD,
    },
    Row {
        name: "Oracle's",
        request: b"GET /opc/v2/instance/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer Oracle\r\n\r\n",
        class: Class::Foreign,
        status: 404,
        law: CLOUD,
    },
    Row {
        name: "Azure's header on EC2's path",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nMetadata: true\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: CLOUD,
    },
    Row {
        name: "both a length and chunks",
        request: b"PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n12\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
        class: Class::V2Token,
        status: 200,
        law: FRAME,
    },
    Row {
        name: "chunks with extensions and trailers",
        request: b"PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nTransfer-Encoding: chunked\r\n\r\n12;a=\"b\"\r\nGET / HTTP/1.1\r\n\r\n\r\n0;c\r\nGET: / HTTP/1.1\r\n\r\n",
        class: Class::V2Token,
        status: 200,
        law: FRAME,
    },
    Row {
        name: "the name in a trailer",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-aws-ec2-metadata-token: abc\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: FRAME,
    },
    Row {
        name: "a NUL within the name",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nX-aws-ec2-\0metadata-token: abc\r\n\r\n",
        class: Class::V1,
        status: 200,
        law: NAME,
    },
    Row {
        name: "the header twice, first empty",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nX-aws-ec2-metadata-token:\r\nX-aws-ec2-metadata-token: {token}\r\n\r\n",
        class: Class::V2,
        status: 401,
        law: VALUE,
    },
    Row {
        name: "the header twice, last empty",
        request: b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nX-aws-ec2-metadata-token: {token}\r\nX-aws-ec2-metadata-token:\r\n\r\n",
        class: Class::V2,
        status: 200,
        law: VALUE,
    },
    Row {
        name: "a fragment that climbs out of another cloud's path",
        request: b"GET /opc#/../latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\n\r\n",
        class: Class::V1,
        status: 404,
        law: CLOUD,
    },
    Row {
        name: "characters that turn, end and hide text",
        request: b"GET /latest/\xe2\x80\xae\xe2\x80\xa8\xe3\x85\xa4 HTTP/1.1\r\nHost: a\r\nUser-Agent: \xe2\x80\xa9\xc2\x85\r\n\r\n",
        class: Class::V1,
        status: 404,
        law: BYTES,
    },
    Row {
        name: "a TLS hello",
        request: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        class: Class::Unknown,
        status: 400,
        law: NONE,
    },
    Row {
        name: "HTTP/2 without an upgrade",
        request: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        class: Class::Unknown,
        status: 400,
        law: NONE,
    },
];

/// The request that each response answers.
pub const EXPECTS: &[u8] = b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok";
/// The second request of the connection.
pub const SECOND: &[u8] = b"GET /latest/user-data HTTP/1.1\r\nHost: a\r\n\r\n";
/// The response to [`SECOND`].
pub const SECOND_ANSWER: &[u8] = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";

/// A response that is easy to misread, to a request without a token that expects an interim one.
#[derive(Clone, Copy, Debug)]
pub struct AnswerRow {
    /// Its peculiarity.
    pub name: &'static str,
    /// The bytes that are sent, each part as a segment of its own.
    pub parts: &'static [&'static [u8]],
    /// The outcome that the request must be reported with.
    pub outcome: Outcome,
    /// Whether the connection stays open: then a second request is sent, and answered with 403.
    pub goes_on: bool,
}

const fn answer(
    name: &'static str,
    parts: &'static [&'static [u8]],
    outcome: Outcome,
    goes_on: bool,
) -> AnswerRow {
    AnswerRow { name, parts, outcome, goes_on }
}

/// Every response.
pub const ANSWERS: &[AnswerRow] = &[
    answer("without a length", &[b"HTTP/1.1 200 OK\r\n\r\nbody"], Outcome::Served, false),
    answer(
        "without a length, in parts that look like another",
        &[b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 401 No\r\n\r\n"],
        Outcome::Served,
        false,
    ),
    answer("without a reason", &[b"HTTP/1.1 401\r\nContent-Length: 0\r\n\r\n"], Outcome::Rejected, true),
    answer("with an empty reason", &[b"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n"], Outcome::NotFound, true),
    answer("of HTTP/1.0", &[b"HTTP/1.0 200 OK\r\n\r\n"], Outcome::Served, false),
    answer(
        "after an interim one",
        &[b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"],
        Outcome::Forbidden,
        true,
    ),
    answer(
        "after interim ones in the same segment",
        &[b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </401>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"],
        Outcome::Served,
        true,
    ),
    answer("of an interim one alone", &[b"HTTP/1.1 100 Continue\r\n\r\n"], Outcome::NoResponse, false),
    answer(
        "in chunks that look like another",
        &[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n18\r\nHTTP/1.1 401 Nope, no.\r\n\r\n0\r\n\r\n"],
        Outcome::Served,
        true,
    ),
    answer(
        "in chunks of a segment each, with an extension and a trailer",
        &[
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"18;a=b\r\n",
            b"HTTP/1.1 401 Nope, no.\r\n",
            b"\r\n0\r\n",
            b"X-Status: 401\r\n\r\n",
        ],
        Outcome::Served,
        true,
    ),
    answer(
        "in two halves of a status line",
        &[b"HTTP/1.1 40", b"3 No\r\nContent-Length: 0\r\n\r\n"],
        Outcome::Forbidden,
        true,
    ),
    answer(
        "with a segment for each byte of its version and status",
        &[
            b"H", b"T", b"T", b"P", b"/", b"1", b".", b"1", b" ", b"4", b"0", b"4", b" ",
            b"No\r\nContent-Length: 0\r\n\r\n",
        ],
        Outcome::NotFound,
        true,
    ),
    answer("of half a status line", &[b"HTTP/1.1 40"], Outcome::NoResponse, false),
    answer("of half a head", &[b"HTTP/1.1 401 No\r\nContent-Le"], Outcome::Rejected, false),
    answer("without a body", &[b"HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\n"], Outcome::Served, true),
    answer("not modified", &[b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n"], Outcome::Redirected, true),
    answer("with bare line feeds", &[b"HTTP/1.1 405 No\nContent-Length: 0\n\n"], Outcome::RefusedMethod, true),
    answer("that is no HTTP", &[b"SSH-2.0-x\r\n\r\n"], Outcome::Unobserved, false),
];
