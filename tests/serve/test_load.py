"""Under many clients, some of whom go away or send nonsense, everything is answered, cancelled or refused."""

import pytest

from rushes.bench import load
from rushes.bench.exchange import Exchange, loopback
from rushes.bench.load_client import Tally, refusal_faults
from rushes.errors import RushesError

pytestmark = pytest.mark.xdist_group("serve")


def test_a_short_load() -> None:
    report = load.run(clients=8, seconds=8, warm_s=1, idle_s=0.1)
    conditions = report["conditions"]
    del conditions["memory_within_5_percent"]  # ten seconds fill no cache
    assert [name for name, holds in conditions.items() if not holds] == [], report
    assert report["requests"]["answered"] > 0


@pytest.mark.parametrize(
    "address", ["http://example.com:80", "http://10.0.0.1:8000", "http://127.0.0.1", "x", "http://[::2]:1"]
)
def test_only_this_machine_is_put_under_load(address: str) -> None:
    with pytest.raises(RushesError, match="is not a loopback address with a port"):
        loopback(address)


def test_loopback_addresses() -> None:
    assert loopback("http://127.0.0.1:81") == ("127.0.0.1", 81)
    assert loopback("http://[::1]:81") == ("::1", 81)


@pytest.mark.parametrize(
    ("body", "status", "headers", "words"),
    [
        (b"oops", 400, {}, "not OpenAI's error object"),
        (b'{"error": {"message": "no"}}', 400, {}, "not OpenAI's error object"),
        (b'{"error": {"message": "no", "type": "t", "param": null, "code": null}}', 429, {}, "without Retry-After"),
        (b'{"error": {"message": "in /tmp/a", "type": "t", "param": null, "code": null}}', 400, {}, "says too much"),
        (b'{"error": {"message": "Traceback", "type": "t", "param": null, "code": null}}', 400, {}, "says too much"),
    ],
)
def test_faults_of_refusals_are_found(body: bytes, status: int, headers: dict[str, str], words: str) -> None:
    faults = refusal_faults(Exchange(status=status, headers=headers, body=body))
    assert len(faults) == 1
    assert words in faults[0]


def test_a_server_that_loses_requests_or_answers_wrongly_is_noticed() -> None:
    tally = Tally(sent=3)
    for _ in range(2):
        tally.take(Exchange(status=200, whole=True), (200,), "a question")
    tally.take(Exchange(status=500, whole=True, body=b"{}"), (200,), "a question")
    assert "status 500" in tally.wrong[0]
    report = {
        "counted_by_the_server": {"succeeded": 2, "cancelled": 0, "refused": 0},
        "requests": {"answered": 2},
        "memory_mib": {"growth": {"rss": 1.06}},
    }
    conditions = load._conditions(report, tally)
    assert {name for name, holds in conditions.items() if not holds} == {
        "every_request_answered_cancelled_or_refused",
        "refusals_as_counted",
        "nothing_wrong",
        "memory_within_5_percent",
    }
