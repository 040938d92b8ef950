"""Compares what SQL answers with the JSON form of `imds-audit report`."""

CAUSES = "SELECT caller, cause, client, requests FROM causes"
CALLERS = "SELECT caller, without_token, requests, hosts, credentials, cause FROM v1_callers"
HOSTS = "SELECT host, requests, without_token FROM v1_hosts"
DAYS = "SELECT sum(requests), sum(without_token) FROM v1_days"
LOSSES = "SELECT reason, what, sum(count) FROM losses GROUP BY reason, what"


def folded(causes):
    """Joins causes as the report does: a client that adapts each time is not said never to ask."""
    joined = {}
    for (caller, cause, client), requests in causes.items():
        never = causes.get((caller, "never-asks", client), 0)
        adapted = causes.get((caller, "prefers-v1", client), 0)
        if adapted and adapted >= never and cause in ("never-asks", "prefers-v1"):
            joined[caller, "prefers-v1", client] = adapted + never
        else:
            joined[caller, cause, client] = requests
    return joined


def compare(document, ask):
    """Asserts that `ask`, which returns the rows of a query, has the numbers of a report."""
    causes = {(caller, cause, client): requests for caller, cause, client, requests in ask(CAUSES)}
    expected = {
        (caller["id"], advice["cause"], (advice["client"] or {}).get("name")): advice["requests"]
        for caller in document["callers"]
        for advice in caller["advice"]
    }
    assert folded(causes) == expected, (causes, expected)

    callers = ask(CALLERS)
    expected = sorted(
        (
            caller["id"], caller["without_token"], caller["requests"], caller["hosts"],
            "credentials" in caller["resources"],
        )
        for caller in document["callers"]
        if caller["without_token"]
    )  # fmt: skip
    assert sorted(tuple(row[:5]) for row in callers) == expected, (callers, expected)
    for caller, *_, cause in callers:
        counts = {key[1]: count for key, count in causes.items() if key[0] == caller}
        assert cause is None or counts[cause] == max(counts.values()), (caller, cause, counts)

    hosts = sorted(tuple(row) for row in ask(HOSTS))
    expected = sorted(
        (host["name"], host["requests"], host["without_token"]) for host in document["hosts"]
    )
    assert hosts == expected, (hosts, expected)
    (days,) = ask(DAYS)
    assert tuple(days) == (document["requests"], document["without_token"]), days
    losses = sorted(tuple(row) for row in ask(LOSSES))
    expected = sorted((loss["reason"], loss["what"], loss["count"]) for loss in document["losses"])
    assert losses == expected, (losses, expected)
