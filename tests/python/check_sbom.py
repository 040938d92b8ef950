"""Validates a list of parts against CycloneDX's own schema, strictly. Usage: check_sbom.py FILE"""

import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(file.read())
    if fault is not None:
        sys.exit(f"{sys.argv[1]}: {fault}")


main()
