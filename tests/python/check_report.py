"""Checks what `imds-audit report` writes against other implementations.

Arguments: the program, the folder of events, the folder with the SQL files.
"""

import glob
import json
import os
import subprocess
import sys
import tempfile

import duckdb
import jsonschema
import ocsf_json_schema
import sqlglot

from sql_numbers import compare

program, events, sql = sys.argv[1:]


def report(kind):
    """Runs the report and returns what it writes."""
    done = subprocess.run(
        [program, "report", events, "--format", kind], capture_output=True, text=True, check=True
    )
    return done.stdout


document = json.loads(report("json"))

# DuckDB answers the same questions from the same files, and from Parquet.
text = open(f"{sql}/duckdb.sql", encoding="utf-8").read()
TO_PARQUET = "-- To Parquet: "
conversions = [line.removeprefix(TO_PARQUET) for line in text.splitlines() if line.startswith(TO_PARQUET)]
assert len(conversions) == 2, conversions
connection = duckdb.connect()
connection.execute(f"SET VARIABLE events = '{events}/**/*.jsonl*'")
connection.execute(text)


def ask(query):
    """Returns the rows of a query."""
    return connection.execute(query).fetchall()


compare(document, ask)
with tempfile.TemporaryDirectory() as folder:
    for conversion in conversions:
        ask(conversion.replace("'imds_", f"'{folder}/imds_"))
    counted = ask(f"SELECT sum(requests) FROM read_parquet('{folder}/imds_counts/*/*/*.parquet')")
    assert counted == [(document["requests"],)], counted
    assert glob.glob(f"{folder}/imds_requests/day=*/host=*/*.parquet"), os.listdir(folder)

# Spark's and Athena's texts are SQL of their dialects.
for dialect in ("spark", "athena"):
    text = open(f"{sql}/{dialect}.sql", encoding="utf-8").read()
    statements = sqlglot.parse(text, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
    assert len(statements) > 4, dialect

# Each finding is one to OCSF, in the versions that consumers take.
findings = [json.loads(line) for line in report("ocsf").splitlines()]
assert len(findings) == sum(caller["status"] != "v2" for caller in document["callers"])
for version in ("1.1.0", "1.6.0", "1.8.0"):
    embedded = ocsf_json_schema.OcsfJsonSchemaEmbedded(ocsf_json_schema.get_ocsf_schema(version))
    schema = embedded.get_class_schema("detection_finding", profiles=[])
    for finding in findings:
        jsonschema.validate(finding, schema, cls=jsonschema.Draft202012Validator)

# Embedded metrics name what they carry (CloudWatch User Guide, "Embedded metric format").
metrics = [json.loads(line) for line in report("emf").splitlines()]
assert len(metrics) == 1 + len(document["hosts"])
for document_ in metrics:
    for directive in document_["_aws"]["CloudWatchMetrics"]:
        assert len(directive["Metrics"]) <= 100
        for metric in directive["Metrics"]:
            assert isinstance(document_[metric["Name"]], int), metric
        for dimension in directive["Dimensions"][0]:
            assert isinstance(document_[dimension], str), dimension
assert metrics[0]["RequestsWithoutToken"] == document["without_token"]
print("ok")
