"""Checks that Spark answers from folders of events what `imds-audit report` does.

Arguments: the program, Spark's SQL file, a folder for tables, folders of events.
"""

import json
import os
import subprocess
import sys

import pyspark.sql

from sql_numbers import compare

program, sql, place, *folders = sys.argv[1:]
# Nothing that the virtual machine loads may ask the metadata service.
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

spark = (
    pyspark.sql.SparkSession.builder.master("local[2]")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.sql.shuffle.partitions", "1")
    # Days are UTC's, wherever a session is.
    .config("spark.sql.session.timeZone", "America/New_York")
    .config("spark.sql.warehouse.dir", place)
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
lines = open(sql, encoding="utf-8").read().splitlines()
TO_PARQUET = "-- To Parquet: "
views = "\n".join(line for line in lines if not line.startswith("--")).split(";\n")
conversions = [line.removeprefix(TO_PARQUET) for line in lines if line.startswith(TO_PARQUET)]
assert len(views) > 8 and len(conversions) == 2, (views, conversions)


def ask(query):
    """Returns the rows of a query."""
    return [tuple(row) for row in spark.sql(query.rstrip(";")).collect()]


for folder in folders:
    done = subprocess.run(
        [program, "report", folder, "--format", "json"], capture_output=True, check=True
    )
    document = json.loads(done.stdout)
    assert document["requests"] > 0, document
    ask(f"SET imds.events = {folder}")
    for view in filter(str.strip, views):
        ask(view)
    compare(document, ask)

    # The same from Parquet, and in the folders that engines prune.
    for conversion in conversions:
        table = conversion.split()[2]
        ask(f"DROP TABLE IF EXISTS {table}")
        ask(conversion)
        pruned = [
            path for path, _, files in os.walk(os.path.join(place, table))
            if "/day=" in path and "/host=" in path and any(name.endswith(".parquet") for name in files)
        ]  # fmt: skip
        assert len(pruned) >= len(document["hosts"]), pruned
    counts = "(SELECT * FROM imds_counts)"
    assert ask(f"SELECT sum(requests) FROM {counts}") == [(document["requests"],)]
    callers = ask(
        f"SELECT caller, sum(requests) FROM {counts} WHERE class IN ('v1', 'v2-empty-token') "
        "AND caller IS NOT NULL GROUP BY caller"
    )
    expected = {c["id"]: c["without_token"] for c in document["callers"] if c["without_token"]}
    assert dict(callers) == expected, (callers, expected)
    ((requests, parquet),) = ask(
        "SELECT (SELECT count(*) FROM requests), (SELECT count(*) FROM imds_requests)"
    )
    assert requests == parquet, (requests, parquet)
spark.stop()
print("ok")
