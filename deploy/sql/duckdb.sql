-- Set the variable `events` to a file or a pattern: SET VARIABLE events = 'events/**/*.jsonl*';
CREATE OR REPLACE VIEW events AS
SELECT * FROM read_json(getvariable('events'), format = 'newline_delimited', union_by_name = true,
    ignore_errors = true, hive_partitioning = false, columns = {
        kind: 'VARCHAR',
        time: 'TIMESTAMP',
        host: 'STRUCT(name VARCHAR, id VARCHAR)',
        run: 'VARCHAR',
        labels: 'MAP(VARCHAR, VARCHAR)',
        "window": 'BIGINT',
        rehearsal: 'BOOLEAN',
        relay: 'VARCHAR',
        imds: 'STRUCT(class VARCHAR, outcome VARCHAR, resource VARCHAR)',
        caller: 'STRUCT(id VARCHAR, title VARCHAR, home VARCHAR)',
        client: 'STRUCT(name VARCHAR)',
        advice: 'STRUCT(cause VARCHAR, reason VARCHAR, text VARCHAR, command VARCHAR)',
        loss: 'STRUCT(reason VARCHAR, what VARCHAR, count BIGINT)',
        "from": 'TIMESTAMP',
        "to": 'TIMESTAMP',
        callers: 'STRUCT(caller STRUCT(id VARCHAR, title VARCHAR, home VARCHAR),
            classes MAP(VARCHAR, MAP(VARCHAR, BIGINT)), "first" TIMESTAMP, "last" TIMESTAMP,
            last_without_token TIMESTAMP, resources VARCHAR[],
            advice STRUCT(client STRUCT(name VARCHAR), cause VARCHAR, reason VARCHAR,
                text VARCHAR, command VARCHAR, requests BIGINT, "last" TIMESTAMP)[])[]',
        others: 'STRUCT(classes MAP(VARCHAR, MAP(VARCHAR, BIGINT)))',
        losses: 'STRUCT(reason VARCHAR, what VARCHAR, count BIGINT)[]'
    });

-- Requests, one row each. In a run with tallies these are examples: the default agent writes IMDSv1
-- requests whole, and counts all others only.
CREATE OR REPLACE VIEW requests AS
SELECT time, CAST(time AS DATE) AS day, coalesce(host.name, host.id, 'unknown') AS host,
    host.id AS instance, run, "window", labels, imds.class AS class, imds.outcome AS outcome,
    imds.resource AS resource, caller.id AS caller, caller.title AS title, caller.home AS home,
    client.name AS client, advice.cause AS cause, advice.reason AS reason, advice.text AS fix,
    advice.command AS command
FROM events
WHERE kind = 'request' AND NOT coalesce(rehearsal, false) AND coalesce(relay, '') <> 'repetition';

-- Tallies, one row for each window, however many files have it.
CREATE OR REPLACE VIEW tallies AS
SELECT "from" AS from_time, "to" AS to_time, CAST("from" AS DATE) AS day,
    coalesce(host.name, host.id, 'unknown') AS host, host.id AS instance, run, "window", callers,
    others, losses
FROM (
    SELECT *, row_number() OVER (
        PARTITION BY coalesce(host.id, host.name), run, "window" ORDER BY time) AS copy
    FROM events WHERE kind = 'tally' AND NOT coalesce(rehearsal, false)
) WHERE copy = 1;

-- Tallies by caller.
CREATE OR REPLACE VIEW tally_callers AS
SELECT day, host, instance, run, unnest(callers) AS c FROM tallies;

-- Requests by caller, class and outcome: those of tallies, and requests that no tally has.
CREATE OR REPLACE VIEW counts AS
SELECT r.day, r.host, r.instance, r.run, r.class, r.outcome, r.caller, r.title, r.home,
    coalesce(r.resource = 'credentials', false) AS credentials, r.time AS first, r.time AS last,
    CASE WHEN r.class IN ('v1', 'v2-empty-token') THEN r.time END AS last_without_token,
    1::BIGINT AS requests
FROM requests r ANTI JOIN tallies t
    ON coalesce(r.instance, r.host) = coalesce(t.instance, t.host) AND r.run = t.run
    AND r."window" = t."window"
UNION ALL
SELECT day, host, instance, run, class, o.key, c.caller.id, c.caller.title, c.caller.home,
    list_contains(c.resources, 'credentials'), c."first", c."last", c.last_without_token, o.value
FROM (
    SELECT * EXCLUDE entry, entry.key AS class, unnest(map_entries(entry.value)) AS o
    FROM (SELECT *, unnest(map_entries(c.classes)) AS entry FROM tally_callers)
)
UNION ALL
SELECT day, host, instance, run, class, o.key, NULL, NULL, NULL, false, from_time, to_time, NULL,
    o.value
FROM (
    SELECT * EXCLUDE entry, entry.key AS class, unnest(map_entries(entry.value)) AS o
    FROM (SELECT *, unnest(map_entries(others.classes)) AS entry FROM tallies)
);

-- Why does each caller use IMDSv1, and what is its fix? One row for each cause and client.
CREATE OR REPLACE VIEW causes AS
SELECT caller, cause, client, sum(requests)::BIGINT AS requests, max(last) AS last,
    arg_max(reason, last) AS reason, arg_max(fix, last) AS fix, arg_max(command, last) AS command
FROM (
    SELECT r.caller, r.cause, r.client, 1 AS requests, r.time AS last, r.reason, r.fix, r.command
    FROM requests r ANTI JOIN tallies t
        ON coalesce(r.instance, r.host) = coalesce(t.instance, t.host) AND r.run = t.run
        AND r."window" = t."window"
    WHERE r.cause IS NOT NULL
    UNION ALL
    SELECT c.caller.id, a.cause, a.client.name, a.requests, a."last", a.reason, a.text, a.command
    FROM (SELECT c, unnest(c.advice) AS a FROM tally_callers)
) GROUP BY caller, cause, client;

-- Who still uses IMDSv1?
CREATE OR REPLACE VIEW v1_callers AS
SELECT c.*, a.cause, a.fix, a.command
FROM (
    SELECT caller, arg_max(title, last) AS title, arg_max(home, last) AS home,
        (sum(requests) FILTER (class IN ('v1', 'v2-empty-token')))::BIGINT AS without_token,
        sum(requests)::BIGINT AS requests,
        count(DISTINCT coalesce(instance, host))
            FILTER (class IN ('v1', 'v2-empty-token')) AS hosts,
        min(first) AS first, max(last) AS last, max(last_without_token) AS last_without_token,
        bool_or(credentials) AS credentials
    FROM counts WHERE caller IS NOT NULL GROUP BY caller
) c LEFT JOIN (
    SELECT caller, arg_max(cause, (requests, last)) AS cause,
        arg_max(fix, (requests, last)) AS fix, arg_max(command, (requests, last)) AS command
    FROM causes GROUP BY caller
) a ON c.caller = a.caller
WHERE c.without_token > 0 ORDER BY credentials DESC, without_token DESC;

-- On which hosts?
CREATE OR REPLACE VIEW v1_hosts AS
SELECT max(host) AS host, max(instance) AS instance, sum(requests)::BIGINT AS requests,
    coalesce(sum(requests) FILTER (class IN ('v1', 'v2-empty-token')), 0)::BIGINT AS without_token
FROM counts GROUP BY coalesce(instance, host) ORDER BY without_token DESC, host;

-- Does it become less?
CREATE OR REPLACE VIEW v1_days AS
SELECT day, coalesce(sum(requests) FILTER (class IN ('v1', 'v2-empty-token')), 0)::BIGINT
    AS without_token, sum(requests)::BIGINT AS requests
FROM counts GROUP BY day ORDER BY day;

-- What was lost? Anything here makes a clean result unproven.
CREATE OR REPLACE VIEW losses AS
SELECT host, reason, what, sum(count)::BIGINT AS count
FROM (
    SELECT coalesce(l.host.name, l.host.id, 'unknown') AS host, l.loss.reason AS reason,
        l.loss.what AS what, l.loss.count AS count
    FROM events l ANTI JOIN tallies t
        ON coalesce(l.host.id, l.host.name) = coalesce(t.instance, t.host) AND l.run = t.run
        AND (l."window" = t."window" OR (l."window" IS NULL AND l.time <= t.to_time))
    WHERE l.kind = 'loss' AND NOT coalesce(l.rehearsal, false)
    UNION ALL
    SELECT host, l.reason, l.what, l.count FROM (SELECT host, unnest(losses) AS l FROM tallies)
) GROUP BY host, reason, what ORDER BY count DESC;

-- To Parquet: COPY counts TO 'imds_counts' (FORMAT parquet, PARTITION_BY (day, host), OVERWRITE_OR_IGNORE);
-- To Parquet: COPY requests TO 'imds_requests' (FORMAT parquet, PARTITION_BY (day, host), OVERWRITE_OR_IGNORE);
