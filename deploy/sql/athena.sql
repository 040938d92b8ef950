-- Replace BUCKET. Athena reads one statement at a time.
CREATE EXTERNAL TABLE imds_events (
  kind string,
  time string,
  host struct<name: string, id: string>,
  run string,
  labels map<string, string>,
  `window` bigint,
  rehearsal boolean,
  relay string,
  imds struct<class: string, outcome: string, resource: string>,
  caller struct<id: string, title: string, home: string>,
  client struct<name: string>,
  advice struct<cause: string, reason: string, text: string, command: string>,
  loss struct<reason: string, what: string, count: bigint>,
  `from` string,
  `to` string,
  callers array<struct<caller: struct<id: string, title: string, home: string>,
    classes: map<string, map<string, bigint>>, first: string, last: string,
    last_without_token: string, resources: array<string>,
    advice: array<struct<client: struct<name: string>, cause: string, reason: string,
      text: string, command: string, requests: bigint, last: string>>>>,
  others struct<classes: map<string, map<string, bigint>>>,
  losses array<struct<reason: string, what: string, count: bigint>>
)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('ignore.malformed.json' = 'true')
LOCATION 's3://BUCKET/imds-audit/';

-- Requests, one row each. In a run with tallies these are examples.
CREATE OR REPLACE VIEW imds_requests AS
SELECT from_iso8601_timestamp(time) AS time, CAST(from_iso8601_timestamp(time) AS date) AS day,
  coalesce(host.name, host.id, 'unknown') AS host, host.id AS instance, run, "window", labels,
  imds.class AS class, imds.outcome AS outcome, imds.resource AS resource, caller.id AS caller,
  caller.title AS title, caller.home AS home, client.name AS client, advice.cause AS cause,
  advice.reason AS reason, advice.text AS fix, advice.command AS command
FROM imds_events
WHERE kind = 'request' AND NOT coalesce(rehearsal, false) AND coalesce(relay, '') <> 'repetition';

-- Tallies, one row for each window, however many files have it.
CREATE OR REPLACE VIEW imds_tallies AS
SELECT from_iso8601_timestamp("from") AS from_time, from_iso8601_timestamp("to") AS to_time,
  CAST(from_iso8601_timestamp("from") AS date) AS day,
  coalesce(host.name, host.id, 'unknown') AS host, host.id AS instance, run, "window", callers,
  others, losses
FROM (
  SELECT *, row_number() OVER (
    PARTITION BY coalesce(host.id, host.name), run, "window" ORDER BY time) AS copy
  FROM imds_events WHERE kind = 'tally' AND NOT coalesce(rehearsal, false)
) WHERE copy = 1;

-- Requests by caller, class and outcome: those of tallies, and requests that no tally has.
CREATE OR REPLACE VIEW imds_counts AS
SELECT r.day, r.host, r.instance, r.run, r.class, r.outcome, r.caller, r.title, r.home,
  coalesce(r.resource = 'credentials', false) AS credentials, r.time AS first_seen,
  r.time AS last_seen, CASE WHEN r.class IN ('v1', 'v2-empty-token') THEN r.time END
  AS last_without_token, CAST(1 AS bigint) AS requests
FROM imds_requests r
WHERE NOT EXISTS (
  SELECT 1 FROM imds_tallies t
  WHERE coalesce(r.instance, r.host) = coalesce(t.instance, t.host) AND r.run = t.run
    AND r."window" = t."window")
UNION ALL
SELECT t.day, t.host, t.instance, t.run, k.class, o.outcome, c.caller.id, c.caller.title,
  c.caller.home, contains(c.resources, 'credentials'), from_iso8601_timestamp(c.first),
  from_iso8601_timestamp(c.last), from_iso8601_timestamp(c.last_without_token), o.requests
FROM imds_tallies t CROSS JOIN UNNEST(t.callers)
    AS c (caller, classes, first, last, last_without_token, resources, advice)
  CROSS JOIN UNNEST(c.classes) AS k (class, outcomes)
  CROSS JOIN UNNEST(k.outcomes) AS o (outcome, requests)
UNION ALL
SELECT t.day, t.host, t.instance, t.run, k.class, o.outcome, NULL, NULL, NULL, false, t.from_time,
  t.to_time, NULL, o.requests
FROM imds_tallies t CROSS JOIN UNNEST(t.others.classes) AS k (class, outcomes)
  CROSS JOIN UNNEST(k.outcomes) AS o (outcome, requests);

-- Why does each caller use IMDSv1, and what is its fix? One row for each cause and client.
CREATE OR REPLACE VIEW imds_causes AS
SELECT caller, cause, client, sum(requests) AS requests, max(last_seen) AS last_seen,
  max_by(reason, last_seen) AS reason, max_by(fix, last_seen) AS fix,
  max_by(command, last_seen) AS command
FROM (
  SELECT r.caller, r.cause, r.client, CAST(1 AS bigint) AS requests, r.time AS last_seen,
    r.reason, r.fix, r.command
  FROM imds_requests r
  WHERE r.cause IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM imds_tallies t
    WHERE coalesce(r.instance, r.host) = coalesce(t.instance, t.host) AND r.run = t.run
      AND r."window" = t."window")
  UNION ALL
  SELECT c.caller.id, a.cause, a.client.name, a.requests, from_iso8601_timestamp(a.last), a.reason,
    a.text, a.command
  FROM imds_tallies t CROSS JOIN UNNEST(t.callers)
    AS c (caller, classes, first, last, last_without_token, resources, advice)
  CROSS JOIN UNNEST(c.advice) AS a (client, cause, reason, text, command, requests, last)
) GROUP BY caller, cause, client;

-- Who still uses IMDSv1?
SELECT c.*, a.cause, a.fix, a.command
FROM (
  SELECT caller, max_by(title, last_seen) AS title, max_by(home, last_seen) AS home,
    sum(requests) FILTER (WHERE class IN ('v1', 'v2-empty-token')) AS without_token,
    sum(requests) AS requests,
    count(DISTINCT coalesce(instance, host)) FILTER (WHERE class IN ('v1', 'v2-empty-token'))
      AS hosts,
    min(first_seen) AS first_seen, max(last_seen) AS last_seen,
    max(last_without_token) AS last_without_token, bool_or(credentials) AS credentials
  FROM imds_counts WHERE caller IS NOT NULL GROUP BY caller
) c LEFT JOIN (
  SELECT caller, max_by(cause, requests) AS cause, max_by(fix, requests) AS fix,
    max_by(command, requests) AS command
  FROM imds_causes GROUP BY caller
) a ON c.caller = a.caller
WHERE c.without_token > 0 ORDER BY credentials DESC, without_token DESC;

-- On which hosts?
SELECT max(host) AS host, max(instance) AS instance, sum(requests) AS requests,
  sum(CASE WHEN class IN ('v1', 'v2-empty-token') THEN requests ELSE 0 END) AS without_token
FROM imds_counts GROUP BY coalesce(instance, host) ORDER BY without_token DESC, host;

-- Does it become less?
SELECT day, sum(CASE WHEN class IN ('v1', 'v2-empty-token') THEN requests ELSE 0 END)
  AS without_token, sum(requests) AS requests
FROM imds_counts GROUP BY day ORDER BY day;

-- What was lost? Anything here makes a clean result unproven.
SELECT host, reason, what, sum(count) AS count
FROM (
  SELECT coalesce(l.host.name, l.host.id, 'unknown') AS host, l.loss.reason AS reason,
    l.loss.what AS what, l.loss.count AS count
  FROM imds_events l
  WHERE l.kind = 'loss' AND NOT coalesce(l.rehearsal, false) AND NOT EXISTS (
    SELECT 1 FROM imds_tallies t
    WHERE coalesce(l.host.id, l.host.name) = coalesce(t.instance, t.host) AND l.run = t.run
      AND (l."window" = t."window"
        OR (l."window" IS NULL AND from_iso8601_timestamp(l.time) <= t.to_time)))
  UNION ALL
  SELECT t.host, l.reason, l.what, l.count
  FROM imds_tallies t CROSS JOIN UNNEST(t.losses) AS l (reason, what, count)
) GROUP BY host, reason, what ORDER BY count DESC;

-- To Parquet, partitioned by day and host; the same for imds_requests.
CREATE TABLE imds_counts_parquet
WITH (format = 'PARQUET', partitioned_by = ARRAY['day', 'host'], external_location = 's3://BUCKET/imds-audit-counts/')
AS SELECT instance, run, class, outcome, caller, title, home, credentials, first_seen, last_seen,
  last_without_token, requests, day, host
FROM imds_counts;
