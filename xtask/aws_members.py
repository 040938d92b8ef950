#!/usr/bin/env python3
"""Generates the AWS CLI's secret options from botocore's models.

    pip download --no-deps botocore && python3 xtask/aws_members.py botocore-*.whl

writes imds-audit/src/redact/commands/aws_members.rs. botocore marks as "sensitive" whatever AWS
keeps out of its own logs: secrets, but also names, addresses and whole documents. Kept are the
members whose name or shape says that they are secret; members that every program's options are
read for (`--master-user-password`) are left out, because redact/secret_name.rs knows them.
"""

import gzip
import json
import re
import sys
import zipfile

TARGET = "imds-audit/src/redact/commands/aws_members.rs"

# Endings that redact/secret_name.rs knows; the test `names_left_out_of_the_table_are_known` there
# reads the same list from the generated file.
KNOWN = [
    "accesskey", "accountkey", "apikey", "apikeyvalue", "authcode", "authkey", "authorization",
    "authorizationcode", "basicauthcredentials", "basicauthenticationcredentials", "codeverifier",
    "cookie", "credential", "customerkey", "encryptionkey", "jwt", "masterkey", "passphrase",
    "password", "presharedkey", "privatekey", "samlassertion", "secret", "secrethash", "secretkey",
    "secretstring", "secretvalue", "tokenvalue", "sessionkey", "signature", "token",
]  # fmt: skip

# Parts of names of members, or of their shapes, that hold a secret.
SECRET = re.compile(
    r"activationkey|assertion|authcode|authenticationmaterial|authparameters|challengeresponses"
    r"|credential|cryptogram|headervalue|hostkey|jwt|keyblock|keystring|licen[cs]ekey|^logins$|^otp$"
    r"|passphrase|passcode|password|pinblock|plaintext|presignedurl|presharedkey|privatekey|secret"
    r"|token|twofactorpin|usercode|userdata|verificationcode|verifier|vsankey|solutionkey"
    r"|^session$|^code$|^assertion$|^challenge$",
    re.IGNORECASE,
)

# What these patterns also match and is none: names, addresses and places of secrets.
HARMLESS = re.compile(
    r"arn$|url$(?<!presignedurl)|id$|endpoint|nexttoken|maxtokens|clienttoken|requesttoken"
    r"|idempotencytoken|country|currency|postal|zip|servicecode|restrictioncode|secretsmanagerkey"
    r"|manifestcode|sessionspans|usercontextdata|functioncode|codegen|name$|certificateauthority",
    re.IGNORECASE,
)

# Members whose own name says nothing, and whose shape is one of a secret.
NAMED = {("ssm", "PutParameter", "Value"), ("kms", "Encrypt", "Plaintext")}

# Members that mean something else under the same name.
NEVER = {
    ("bedrock-agent", "code"),  # a script
    ("qconnect", "code"),  # of a country
    ("ecs", "repositoryCredentials"),  # the ARN of a secret
    ("dms", "SelectionRules"),  # a filter whose shape is called SecretString
}  # fmt: skip


def kebab(name):
    """Returns the name of an operation as the AWS CLI has it."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1-\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", name).lower()


def is_wanted(service, operation, member, shape):
    if (service, operation, member) in NAMED:
        return True
    letters = member.lower()
    if (service, member) in NEVER or HARMLESS.search(letters):
        return False
    if any(letters.endswith(ending) for ending in KNOWN):
        return False
    # A name of one common word counts where the shape's name says more.
    return bool(SECRET.search(letters) or re.search(r"secret|password|privatekey", shape, re.I))


def members(model, service, operation):
    """Yields the sensitive members of an operation's input, those below the top with a `+`."""
    shapes = model["shapes"]
    seen = set()

    def walk(shape, name, depth):
        kind = shapes[shape]["type"]
        if kind == "structure":
            if shape in seen:
                return
            seen.add(shape)
            for member, reference in shapes[shape].get("members", {}).items():
                target = reference["shape"]
                is_marked = shapes[target].get("sensitive") or reference.get("sensitive")
                if is_marked and is_wanted(service, operation, member, target):
                    yield member if depth == 0 else "+" + member
                yield from walk(target, member, depth + 1)
        elif kind == "list":
            inner = shapes[shape]["member"]["shape"]
            if shapes[inner].get("sensitive") and is_wanted(service, operation, name, inner):
                yield name if depth == 1 else "+" + name
            yield from walk(inner, name, depth)
        elif kind == "map":
            inner = shapes[shape]["value"]["shape"]
            if shapes[inner].get("sensitive") and is_wanted(service, operation, name, inner):
                yield name if depth == 1 else "+" + name
            yield from walk(inner, name, depth)

    yield from walk(model["operations"][operation]["input"]["shape"], "", 0)


def main(wheel):
    version = re.search(r"botocore-([0-9.]+)-", wheel).group(1)
    archive = zipfile.ZipFile(wheel)
    models = {}
    for path in archive.namelist():
        if found := re.fullmatch(r"botocore/data/([^/]+)/([^/]+)/service-2\.json\.gz", path):
            service, date = found.groups()
            models[service] = max(models.get(service, ("", "")), (date, path))
    # The CLI's own names of some services.
    commands = {"s3": ["s3api"], "deploy": ["deploy"], "codedeploy": ["deploy"],
                "config": ["configservice"], "runtime.sagemaker": ["sagemaker-runtime"]}  # fmt: skip
    groups = {}
    for service, (_, path) in models.items():
        model = json.loads(gzip.decompress(archive.read(path)))
        lines = []
        for operation, parts in sorted(model["operations"].items()):
            found = sorted(set(members(model, service, operation))) if "input" in parts else []
            if found:
                lines.append(" ".join([kebab(operation), *found]))
        for command in commands.get(service, [service]):
            if lines:
                groups[command] = lines
    rows = "".join(f'    ("{service}", "' + "\\n\\\n".join(["", *groups[service]]) + '"),\n'
                   for service in sorted(groups))  # fmt: skip
    endings = "".join(f'    "{ending}",\n' for ending in KNOWN)
    with open(TARGET, "w", encoding="ascii") as file:
        file.write(
            "//! Secret members of the AWS CLI's operations, made by `xtask/aws_members.py` from the models\n"
            f"//! of botocore {version}. Do not edit.\n\n"
            "/// Services in order, each with its operations, one a line, and their members that take a secret;\n"
            "/// `+` marks those inside of others.\n"
            f"pub(super) const SERVICES: &[(&str, &str)] = &[\n{rows}];\n\n"
            "/// Endings of names that are left out, because they are secrets whatever they belong to.\n"
            "#[cfg(test)]\n"
            f"pub(super) const KNOWN: &[&str] = &[\n{endings}];\n"
        )
    operations = sum(len(lines) for lines in groups.values())
    print(f"botocore {version}: {len(groups)} services, {operations} operations, {len(rows)} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
