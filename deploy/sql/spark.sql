-- Set `imds.events` to a folder of JSON lines, gzip among them, at any depth:
-- SET imds.events = /Volumes/main/imds/events;
CREATE OR REPLACE TEMPORARY VIEW lines
USING text OPTIONS (path '${imds.events}', recursiveFileLookup 'true', pathGlobFilter '*.jsonl*');

-- Events. A collector may have put a time in front of a line.
CREATE OR REPLACE TEMPORARY VIEW events AS
SELECT from_json(substring(value, greatest(locate('{"schema":', value), 1)),
    'kind STRING, time TIMESTAMP, host STRUCT<name: STRING, id: STRING>, run STRING,
    labels MAP<STRING, STRING>, `window` BIGINT, rehearsal BOOLEAN, relay STRING,
    imds STRUCT<class: STRING, outcome: STRING, resource: STRING>,
    caller STRUCT<id: STRING, title: STRING, home: STRING>, client STRUCT<name: STRING>,
    advice STRUCT<cause: STRING, reason: STRING, text: STRING, command: STRING>,
    loss STRUCT<reason: STRING, what: STRING, count: BIGINT>,
    `from` TIMESTAMP, `to` TIMESTAMP,
    callers ARRAY<STRUCT<caller: STRUCT<id: STRING, title: STRING, home: STRING>,
        classes: MAP<STRING, MAP<STRING, BIGINT>>, first: TIMESTAMP, last: TIMESTAMP,
        last_without_token: TIMESTAMP, resources: ARRAY<STRING>,
        advice: ARRAY<STRUCT<client: STRUCT<name: STRING>, cause: STRING, reason: STRING,
            text: STRING, command: STRING, requests: BIGINT, last: TIMESTAMP>>>>,
    others STRUCT<classes: MAP<STRING, MAP<STRING, BIGINT>>>,
    losses ARRAY<STRUCT<reason: STRING, what: STRING, count: BIGINT>>') AS e
FROM lines;

-- Requests, one row each. In a run with tallies these are examples: the default agent writes IMDSv1
-- requests whole, and counts all others only.
CREATE OR REPLACE TEMPORARY VIEW requests AS
SELECT e.time AS time, to_date(to_utc_timestamp(e.time, current_timezone())) AS day,
    coalesce(e.host.name, e.host.id, 'unknown') AS host, e.host.id AS instance, e.run AS run,
    e.`window` AS window, e.labels AS labels, e.imds.class AS class, e.imds.outcome AS outcome,
    e.imds.resource AS resource, e.caller.id AS caller, e.caller.title AS title,
    e.caller.home AS home, e.client.name AS client, e.advice.cause AS cause,
    e.advice.reason AS reason, e.advice.text AS fix, e.advice.command AS command
FROM events
WHERE e.kind = 'request' AND NOT coalesce(e.rehearsal, false)
    AND coalesce(e.relay, '') <> 'repetition';

-- Tallies, one row for each window, however many files have it.
CREATE OR REPLACE TEMPORARY VIEW tallies AS
SELECT e.`from` AS from_time, e.`to` AS to_time,
    to_date(to_utc_timestamp(e.`from`, current_timezone())) AS day,
    coalesce(e.host.name, e.host.id, 'unknown') AS host, e.host.id AS instance, e.run AS run,
    e.`window` AS window, e.callers AS callers, e.others AS others, e.losses AS losses
FROM (
    SELECT e, row_number() OVER (
        PARTITION BY coalesce(e.host.id, e.host.name), e.run, e.`window` ORDER BY e.time) AS copy
    FROM events WHERE e.kind = 'tally' AND NOT coalesce(e.rehearsal, false)
) WHERE copy = 1;

-- Requests by caller, class and outcome: those of tallies, and requests that no tally has.
CREATE OR REPLACE TEMPORARY VIEW counts AS
SELECT r.day, r.host, r.instance, r.run, r.class, r.outcome, r.caller, r.title, r.home,
    coalesce(r.resource = 'credentials', false) AS credentials, r.time AS first, r.time AS last,
    CASE WHEN r.class IN ('v1', 'v2-empty-token') THEN r.time END AS last_without_token,
    CAST(1 AS BIGINT) AS requests
FROM requests r LEFT ANTI JOIN tallies t
    ON coalesce(r.instance, r.host) = coalesce(t.instance, t.host) AND r.run = t.run
    AND r.window = t.window
UNION ALL
SELECT day, host, instance, run, class, outcome, caller, title, home, credentials, first, last,
    last_without_token, requests
-- Columns and not a structure: writing members of an exploded one to partitions fails in Spark 4.0.
FROM tallies LATERAL VIEW inline(transform(callers, c -> named_struct(
        'caller', c.caller.id, 'title', c.caller.title, 'home', c.caller.home,
        'credentials', coalesce(array_contains(c.resources, 'credentials'), false),
        'first', c.first, 'last', c.last, 'last_without_token', c.last_without_token,
        'classes', c.classes))) AS caller, title, home, credentials, first, last,
        last_without_token, classes
    LATERAL VIEW explode(classes) AS class, outcomes
    LATERAL VIEW explode(outcomes) AS outcome, requests
UNION ALL
SELECT day, host, instance, run, class, outcome, NULL, NULL, NULL, false, from_time, to_time,
    NULL, requests
FROM tallies LATERAL VIEW explode(others.classes) AS class, outcomes
    LATERAL VIEW explode(outcomes) AS outcome, requests;

-- Why does each caller use IMDSv1, and what is its fix? One row for each cause and client.
CREATE OR REPLACE TEMPORARY VIEW causes AS
SELECT caller, cause, client, sum(requests) AS requests, max(last) AS last,
    max_by(reason, last) AS reason, max_by(fix, last) AS fix, max_by(command, last) AS command
FROM (
    SELECT r.caller, r.cause, r.client, CAST(1 AS BIGINT) AS requests, r.time AS last, r.reason,
        r.fix, r.command
    FROM requests r LEFT ANTI JOIN tallies t
        ON coalesce(r.instance, r.host) = coalesce(t.instance, t.host) AND r.run = t.run
        AND r.window = t.window
    WHERE r.cause IS NOT NULL
    UNION ALL
    SELECT c.caller.id, a.cause, a.client.name, a.requests, a.last, a.reason, a.text, a.command
    FROM tallies LATERAL VIEW explode(callers) AS c LATERAL VIEW explode(c.advice) AS a
) GROUP BY caller, cause, client;

-- Who still uses IMDSv1?
CREATE OR REPLACE TEMPORARY VIEW v1_callers AS
SELECT c.*, a.cause, a.fix, a.command
FROM (
    SELECT caller, max_by(title, last) AS title, max_by(home, last) AS home,
        sum(requests) FILTER (WHERE class IN ('v1', 'v2-empty-token')) AS without_token,
        sum(requests) AS requests,
        count(DISTINCT coalesce(instance, host))
            FILTER (WHERE class IN ('v1', 'v2-empty-token')) AS hosts,
        min(first) AS first, max(last) AS last, max(last_without_token) AS last_without_token,
        bool_or(credentials) AS credentials
    FROM counts WHERE caller IS NOT NULL GROUP BY caller
) c LEFT JOIN (
    SELECT caller, max_by(cause, struct(requests, last)) AS cause,
        max_by(fix, struct(requests, last)) AS fix,
        max_by(command, struct(requests, last)) AS command
    FROM causes GROUP BY caller
) a ON c.caller = a.caller
WHERE c.without_token > 0 ORDER BY credentials DESC, without_token DESC;

-- On which hosts?
CREATE OR REPLACE TEMPORARY VIEW v1_hosts AS
SELECT max(host) AS host, max(instance) AS instance, sum(requests) AS requests,
    coalesce(sum(requests) FILTER (WHERE class IN ('v1', 'v2-empty-token')), 0) AS without_token
FROM counts GROUP BY coalesce(instance, host) ORDER BY without_token DESC, host;

-- Does it become less?
CREATE OR REPLACE TEMPORARY VIEW v1_days AS
SELECT day, coalesce(sum(requests) FILTER (WHERE class IN ('v1', 'v2-empty-token')), 0)
    AS without_token, sum(requests) AS requests
FROM counts GROUP BY day ORDER BY day;

-- What was lost? Anything here makes a clean result unproven.
CREATE OR REPLACE TEMPORARY VIEW losses AS
SELECT host, reason, what, sum(count) AS count
FROM (
    SELECT coalesce(l.e.host.name, l.e.host.id, 'unknown') AS host, l.e.loss.reason AS reason,
        l.e.loss.what AS what, l.e.loss.count AS count
    FROM events l LEFT ANTI JOIN tallies t
        ON coalesce(l.e.host.id, l.e.host.name) = coalesce(t.instance, t.host) AND l.e.run = t.run
        AND (l.e.`window` = t.window OR (l.e.`window` IS NULL AND l.e.time <= t.to_time))
    WHERE l.e.kind = 'loss' AND NOT coalesce(l.e.rehearsal, false)
    UNION ALL
    SELECT host, l.reason, l.what, l.count FROM tallies LATERAL VIEW explode(losses) AS l
) GROUP BY host, reason, what ORDER BY count DESC;

-- To Parquet: CREATE TABLE imds_counts USING parquet PARTITIONED BY (day, host) AS SELECT * FROM counts;
-- To Parquet: CREATE TABLE imds_requests USING parquet PARTITIONED BY (day, host) AS SELECT * FROM requests;
