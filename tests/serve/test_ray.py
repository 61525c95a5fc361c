"""`rushes serve --ray` on a local Ray of two nodes: the library's answers, and every video at the one that holds it."""

import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from rushes import Pair
from rushes.demo import bundled
from rushes.demo.held_out import held_out_clip, write_clip
from serve.running import Running, asked, data_url, running

cluster_utils = pytest.importorskip("ray.cluster_utils")
pytestmark = pytest.mark.xdist_group("ray")
QUESTION, NEXT = "Describe the video in detail.", "How many scenes are there?"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("media")
    numbers = (0, 9, 11, 32)  # see `slow`
    return [write_clip(held_out_clip(number, 3, 1.0), folder / f"{number}.mp4") for number in numbers]


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[int]]:
    """A cluster of two nodes with room for one replica each: the processes that rule them."""
    node = {"num_cpus": 1, "object_store_memory": 128 * 2**20, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_worker_niceness", "0")  # of 15 by default: other tests, run beside, would leave them little
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=node)
        try:
            both = [cluster.head_node, cluster.add_node(**node)]
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield [one.all_processes["raylet"][0].process.pid for one in both]
        finally:
            cluster.shutdown()


@pytest.fixture(scope="module")
def server(nodes: list[int]) -> Iterator[Running]:
    with running("--ray", "--replicas", "2", "--queue", "4", "--grace", "60") as made:
        yield made
        assert made.stop() == 0


@pytest.fixture(scope="module")
def pair() -> Pair:
    return bundled.pair()


def complete(server: Running, messages: Any, **more: Any) -> Any:
    extra = {name: more.pop(name) for name in ("method", "reuse", "repetition_penalty") if name in more}
    return server.client().chat.completions.create(
        model="rushes-demo", messages=messages, extra_body=extra, **{"max_tokens": 32, **more}
    )


def text_of(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def slow(server: Running, clip: Path, max_tokens: int = 1500) -> Any:
    """A stream at its first text; where repetition is rewarded, answers about these videos go round in circles."""
    how: dict[str, Any] = {"method": "ar", "max_tokens": max_tokens, "repetition_penalty": 0.5}
    stream = complete(server, asked(data_url(clip), QUESTION), stream=True, **how)
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            return stream
    raise AssertionError("no text came")


def replicas(nodes: list[int]) -> list[psutil.Process]:
    """The process of the replica on each node."""
    children = [one for node in nodes for one in psutil.Process(node).children()]
    return [one for one in children if "ServeReplica:rushes:Pair" in " ".join(one.cmdline())]


def busiest(nodes: list[int], work: Callable[[], Any]) -> tuple[int, Any]:
    """Which replica worked most meanwhile, and what came of the work."""

    def seconds() -> dict[int, float]:
        return {one.pid: sum(one.cpu_times()[:2]) for one in replicas(nodes)}

    before = seconds()
    made, after = work(), seconds()
    return max(before, key=lambda pid: after[pid] - before[pid]), made


def eventually(holds: Callable[[], bool], within_s: float = 20) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_without_a_cluster_there_is_one_for_as_long_as_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first test here: no other cluster runs yet."""
    monkeypatch.setenv("RAY_ADDRESS", "local")
    with running("--ray") as server:
        started = psutil.Process(server.process.pid).children(recursive=True)
        assert text_of(complete(server, asked(None, "Hello")))
        assert server.stop() == 0
    assert server.log[0] == "no Ray cluster was found; starting one on this machine"
    assert server.log[-1].startswith("rushes serves rushes-demo on 1 replica at http://127.0.0.1:"), "and no noise"
    eventually(lambda: not psutil.wait_procs(started, 0)[1])


def test_a_replica_is_on_each_node(server: Running, nodes: list[int]) -> None:
    assert [one.ppid() for one in replicas(nodes)] == nodes


@pytest.mark.parametrize("method", ["ar", "specvlm", "hippo"])
def test_an_answer_is_the_librarys(server: Running, pair: Pair, clips: list[Path], method: str) -> None:
    wanted = pair.generate(clips[0], QUESTION, method=method, max_new_tokens=32)
    answer = complete(server, asked(data_url(clips[0]), QUESTION), method=method)
    assert text_of(answer) == wanted.text
    assert answer.usage.completion_tokens == len(wanted.token_ids)
    streamed = complete(
        server,
        asked(data_url(clips[0]), QUESTION),
        method=method,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(streamed)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == wanted.text
    assert chunks[-1].usage.completion_tokens == len(wanted.token_ids)


def test_every_video_has_its_replica(server: Running, nodes: list[int], pair: Pair, clips: list[Path]) -> None:
    urls, before = [data_url(clip) for clip in clips], server.metrics()
    first = [busiest(nodes, lambda url=url: complete(server, asked(url, QUESTION))) for url in urls]
    places = [pid for pid, _ in first]
    assert sorted(places.count(pid) for pid in set(places)) == [2, 2], "a new video goes where there are fewest"
    for clip, url, (pid, answer) in zip(clips, urls, first, strict=True):
        again, other = busiest(nodes, lambda url=url: complete(server, asked(url, NEXT)))
        assert again == pid
        assert text_of(other) == pair.generate(clip, NEXT, method="specvlm", max_new_tokens=32).text
        assert other.usage.prompt_tokens_details.cached_tokens > other.usage.prompt_tokens / 2
        turns = [*asked(url, QUESTION), {"role": "assistant", "content": text_of(answer)}, *asked(None, NEXT)]
        follow, hit = busiest(nodes, lambda turns=turns: complete(server, turns))
        assert follow == pid
        assert hit.usage.prompt_tokens_details.cached_tokens > hit.usage.prompt_tokens / 2
        assert text_of(hit) == text_of(complete(server, turns, reuse=False))
    after = server.metrics()
    assert after["rushes_prefix_cache_hits_total"] >= before["rushes_prefix_cache_hits_total"] + 8
    assert after["rushes_video_cache_misses_total"] == 4, "each was decoded once"
    assert after["rushes_prefix_cache_entries"] >= 4


def test_refusals_cross_processes_whole(server: Running, clips: list[Path]) -> None:
    damaged = "data:video/mp4;base64,AAAAIGZ0eXBpc29t"
    for messages, more, status, code, words in (
        (asked(damaged, QUESTION), {}, 400, "invalid_video", "truncated or damaged"),
        (asked(None, "word " * 20_000), {}, 400, "context_length_exceeded", "tokens, the limit is"),
        (asked(None, "Hello"), {"max_tokens": 5000}, 400, None, "the limit is 4096"),
        (asked(None, "Hello"), {"n": 2}, 400, "unsupported_parameter", "one answer for each request"),
    ):
        with pytest.raises(openai.APIStatusError) as refused:
            complete(server, messages, **more)  # type: ignore[arg-type]
        assert refused.value.status_code == status
        assert refused.value.body["code"] == code  # type: ignore[index]
        assert words in refused.value.body["message"]  # type: ignore[index]


def test_an_answer_has_one_number(server: Running) -> None:
    with urllib.request.urlopen(f"{server.address}/health", timeout=10) as answer:
        assert len(answer.headers.get_all("x-request-id")) == 1
    raw = server.client().chat.completions.with_raw_response.create(
        model="rushes-demo", messages=[{"role": "user", "content": "Hello"}], extra_headers={"X-Request-ID": "mine-1"}
    )
    assert (raw.headers["x-request-id"], raw.parse().id) == ("mine-1", "chatcmpl-mine-1")


def test_a_client_that_goes_away_frees_its_replica(server: Running, nodes: list[int], clips: list[Path]) -> None:
    cancelled = server.metrics()["rushes_requests_cancelled_total"]
    stream = slow(server, clips[0])
    assert server.metrics()["rushes_num_requests_running"] == 1
    stream.close()
    eventually(lambda: server.metrics()["rushes_requests_cancelled_total"] == cancelled + 1, 5)
    assert server.metrics()["rushes_num_requests_running"] == 0
    holder, _ = busiest(nodes, lambda: complete(server, asked(data_url(clips[0]), QUESTION)))
    idle = psutil.Process(holder)
    before = sum(idle.cpu_times()[:2])
    time.sleep(1)
    assert sum(idle.cpu_times()[:2]) - before < 0.5, "nobody writes what nobody reads"


def test_a_full_queue_answers_429(server: Running, nodes: list[int], clips: list[Path]) -> None:
    """Two are being answered and four wait; whoever holds their video, all find a replica."""
    holders = {}
    for clip in clips:
        pid, _ = busiest(nodes, lambda clip=clip: complete(server, asked(data_url(clip), QUESTION)))
        holders[pid] = clip
    assert len(holders) == 2
    with ThreadPoolExecutor(4) as clients:
        streams = [slow(server, clip) for clip in holders.values()]
        waiting = [clients.submit(complete, server, asked(data_url(clips[0]), QUESTION)) for _ in range(4)]
        eventually(lambda: server.metrics()["rushes_num_requests_waiting"] == 4)
        with pytest.raises(openai.RateLimitError) as refused:
            complete(server, asked(None, "Hello"))
        assert refused.value.body["code"] == "queue_full"  # type: ignore[index]
        assert int(refused.value.response.headers["retry-after"]) >= 1
        for stream in streams:
            stream.close()
        assert len({text_of(one.result()) for one in waiting}) == 1


def test_a_replica_that_dies(server: Running, nodes: list[int], pair: Pair, clips: list[Path]) -> None:
    """Whoever it answers is told at once; the next question about its video is answered by the other one."""
    url = data_url(clips[1])
    wanted = pair.generate(clips[1], QUESTION, method="specvlm", max_new_tokens=32)
    holder, _ = busiest(nodes, lambda: complete(server, asked(url, QUESTION)))
    stream = slow(server, clips[1])
    psutil.Process(holder).kill()
    with pytest.raises(openai.APIError, match="is gone"):
        list(stream)
    assert text_of(complete(server, asked(url, QUESTION))) == wanted.text
    again = complete(server, asked(url, NEXT))
    assert again.usage.prompt_tokens_details.cached_tokens > again.usage.prompt_tokens / 2, "the other one holds it"
    assert text_of(complete(server, asked(data_url(clips[2]), QUESTION)))


def refusal(server: Running) -> openai.APIStatusError | None:
    """None where it is let in: an answer may take long, because the other replica may still be coming back."""
    try:
        complete(server, asked(None, "Hello"), max_tokens=1, timeout=0.5)
    except openai.APIStatusError as error:
        return error
    except openai.APITimeoutError:
        return None
    return None


def test_a_server_that_stops_finishes_what_it_writes(server: Running, clips: list[Path]) -> None:
    """The last test here: the server is gone after it."""
    stream = slow(server, clips[1], max_tokens=600)
    server.process.terminate()
    said: list[Any] = []

    def refused() -> bool:
        said.append(refusal(server))
        return said[-1] is not None

    eventually(refused)
    assert (said[-1].status_code, said[-1].body["code"]) == (503, "stopping")
    assert list(stream)[-1].choices[0].finish_reason == "length"
    assert server.stop() == 0
