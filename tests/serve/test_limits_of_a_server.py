"""What a server does when there is too much of everything, and when it is told to stop."""

import json
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from rushes.demo.held_out import held_out_clip, write_clip
from serve.running import Running, asked, data_url, running

pytestmark = pytest.mark.xdist_group("serve")
KEY = "correct horse"
QUESTION = "Describe the video in detail."
CORS = ("--allow-origin", "https://tools.example")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return data_url(write_clip(held_out_clip(9, 3, 1.0), tmp_path_factory.mktemp("media") / "a.mp4"))


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A small one: two pairs, a queue of one, and a key."""
    options = ["--api-key", KEY.replace(" ", "-"), "--queue", "1", "--replicas", "2", "--deadline", "20"]
    with running(*options, "--max-body-mib", "1", "--max-prompt-tokens", "400", "--max-frames", "16", *CORS) as made:
        yield made


def create(server: Running, messages: Any, **more: Any) -> Any:
    return server.client(KEY.replace(" ", "-")).chat.completions.create(model="rushes-demo", messages=messages, **more)


def slow(server: Running, url: str) -> Any:
    """A stream at its first text; where repetition is rewarded, an answer about this video goes round in circles."""
    extra = {"method": "ar", "reuse": False, "repetition_penalty": 0.5}
    stream = create(server, asked(url, QUESTION), stream=True, max_tokens=2000, extra_body=extra)
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            return stream
    raise AssertionError("no text came")


def test_a_key_is_asked_for(server: Running) -> None:
    for key in ("wrong", "x" * 1000, "correct"):
        with pytest.raises(openai.AuthenticationError, match="the API key is missing or wrong"):
            server.client(key).models.list()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server.address}/v1/models", timeout=10)
    assert refused.value.code == 401
    assert refused.value.headers["WWW-Authenticate"] == "Bearer"
    for path in ("/health", "/metrics", "/"):
        assert urllib.request.urlopen(f"{server.address}{path}", timeout=10).status == 200


def test_a_page_elsewhere_may_ask_if_it_was_named(server: Running) -> None:
    for origin, allowed in (("https://tools.example", True), ("https://other.example", False)):
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        ask = urllib.request.Request(f"{server.address}/v1/chat/completions", headers=headers, method="OPTIONS")
        try:
            answer = urllib.request.urlopen(ask, timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        assert (answer.status == 200) is allowed
        assert (answer.headers["Access-Control-Allow-Origin"] == origin) is allowed


def test_a_full_queue_answers_429_at_once_and_later_takes_requests_again(server: Running, url: str) -> None:
    streams = [slow(server, url) for _ in range(2)]  # one on each pair
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(create, server, asked(None, "Hello"), max_tokens=2)
        until = time.monotonic() + 20
        while server.metrics()["rushes_num_requests_waiting"] < 1:
            assert time.monotonic() < until
            time.sleep(0.02)
        with pytest.raises(openai.RateLimitError) as refused:
            create(server, asked(None, "Hello"), max_tokens=2)
        assert int(refused.value.response.headers["retry-after"]) >= 1
        assert refused.value.body["code"] == "queue_full"  # type: ignore[index]
        for stream in streams:
            stream.close()
        assert waiting.result().usage.completion_tokens > 0


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ({"messages": [{"role": "user", "content": "word " * 500}]}, 400, "the limit is 400"),
        ({"messages": [{"role": "user", "content": "x" * 2**20}]}, 413, "larger than"),
        ({"extra_body": {"media_io_kwargs": {"video": {"num_frames": 17}}}}, 400, "the limit is 16"),
        ({"messages": [{"role": "assistant", "content": "Hello"}]}, 400, "the last message must be the user's"),
    ],
)
def test_limits(server: Running, url: str, options: dict[str, Any], status: int, words: str) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        create(server, options.pop("messages", asked(url, QUESTION)), **options)
    assert refused.value.status_code == status
    assert words in refused.value.body["message"]  # type: ignore[index]


def test_a_deadline_ends_what_runs_and_what_waits(url: str) -> None:
    with running("--deadline", "0.001") as server:
        with pytest.raises(openai.InternalServerError) as refused:
            server.client().chat.completions.create(model="rushes-demo", messages=asked(url, QUESTION))  # type: ignore[arg-type]
        assert refused.value.status_code == 503
        assert refused.value.body["code"] == "deadline_exceeded"  # type: ignore[index]
        assert refused.value.response.headers["retry-after"]
        assert server.metrics()["rushes_num_requests_running"] == 0


def test_a_server_that_stops_finishes_what_it_writes_and_sends_the_others_away(url: str) -> None:
    outcomes: dict[str, Any] = {}
    with running("--queue", "3") as server:
        client = server.client()

        def wait_in_the_queue() -> None:
            try:
                client.chat.completions.create(model="rushes-demo", messages=[{"role": "user", "content": "Hello"}])
            except openai.APIStatusError as error:
                outcomes["waiting"] = error

        stream = client.chat.completions.create(
            model="rushes-demo",
            messages=asked(url, QUESTION),  # type: ignore[arg-type]
            stream=True,
            max_tokens=200,
            extra_body={"method": "ar"},
        )
        first = next(iter(stream))
        assert first.choices
        waiting = threading.Thread(target=wait_in_the_queue)
        waiting.start()
        until = time.monotonic() + 20
        while server.metrics()["rushes_num_requests_waiting"] < 1:
            assert time.monotonic() < until
            time.sleep(0.02)
        server.process.send_signal(signal.SIGTERM)
        chunks = list(stream)
        assert chunks[-1].usage.completion_tokens > 10
        waiting.join(30)
        assert outcomes["waiting"].status_code == 503
        assert outcomes["waiting"].body["code"] == "stopping"
        assert server.process.wait(60) == 0
        assert [json.loads(line)["message"] for line in server.log if line.startswith("{")][-1] == "stopped"


def test_every_setting_that_cannot_be_is_refused_before_anything_is_loaded(
    rushes: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("rushes.cli_models.load_pair", lambda *_: pytest.fail("a model was loaded"))
    for options, words in (
        (["--method", "specvml"], "did you mean 'specvlm'"),
        (["--keep", "2"], "keep must be between 0"),
        (["--positions", "mine"], "positions must be"),
        (["--deadline", "0"], "deadline_s must be above 0"),
        (["--deadline", "nan"], "deadline_s must be above 0"),
        (["--media-dir", str(tmp_path / "none")], "is not a folder"),
        (["--api-key", ""], "the API key must be ASCII"),
        (["--draft", "x"], "--draft without --target"),
        (["--target", "x"], "--target without --draft"),
        (["--target", "x", "--standin"], "--standin is the bundled pair"),
        (["--max-seconds", "0"], "the limit duration_s must be"),
        (["--host", "256.1.1.1"], "cannot listen on 256.1.1.1"),
        (["--queue", "-1"], "queue"),
        (["--port", "70000"], "port"),
    ):
        done = rushes("serve", *options)
        assert (done.code, done.out) == (2, ""), options
        assert words in done.err
        assert done.err.count("\n") == 1
