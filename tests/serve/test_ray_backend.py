"""What the process that speaks HTTP makes of its replicas: refusals come whole, a deadline holds, nothing hangs."""

import asyncio
import pickle
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("ray.serve")

from ray.exceptions import ActorDiedError, ActorUnavailableError

from rushes.serve.config import Config
from rushes.serve.job import Done, Job, Piece, Said
from rushes.serve.media import Medium
from rushes.serve.metrics import Metrics
from rushes.serve.ray_backend import RayBackend, at_one_replica
from rushes.serve.ray_pair import Report
from rushes.serve.refusals import Refusal
from rushes.settings import Settings

DONE = Done("stop", 10, 8, 2, {"speculative_decoding": {}}, {"method": "ar"})
SIZES = {"prefix_cache_bytes": 5.0, "prefix_cache_entries": 1, "prefix_cache_evictions": 0, "video_cache_bytes": 2}


def job(text: str = "Hello") -> Job:
    return Job("id", (Said("user", (Medium("video", b"data", "digest"), text)),), Settings(method="ar"))


class Handle:
    """Ray's handle of a deployment, as far as it is used: its answers are made by a function."""

    def __init__(self, answer: Callable[[Job], AsyncGenerator[Any]]) -> None:
        self._answer = answer
        self.cancelled = 0

    def options(self, *, method_name: str, stream: bool) -> "Handle":
        assert (method_name, stream) == ("answer", True)
        return self

    def remote(self, asked: Job) -> "Response":
        return Response(self, self._answer(pickle.loads(pickle.dumps(asked))))


class Response:
    def __init__(self, handle: Handle, messages: AsyncGenerator[Any]) -> None:
        self._handle, self._messages = handle, messages

    async def __anext__(self) -> Any:
        return pickle.loads(pickle.dumps(await anext(self._messages)))

    def cancel(self) -> None:
        self._handle.cancelled += 1


def backend(answer: Callable[[Job], AsyncGenerator[Any]], replicas: int = 1, **config: Any) -> RayBackend:
    return RayBackend(Handle(answer), replicas, Config(**config), Metrics())


async def collect(made: RayBackend, asked: Job | None = None) -> list[Any]:
    async with aclosing(made.answer(asked or job())) as messages:
        return [message async for message in messages]


async def hangs(_: Job) -> AsyncGenerator[Any]:
    yield Piece("a")
    await asyncio.sleep(1000)


def test_an_answer_and_what_replicas_report() -> None:
    async def answer(_: Job) -> AsyncGenerator[Any]:
        yield Piece("a")
        yield Report("one", SIZES, known=1, new=2)
        yield DONE

    made = backend(answer)
    assert asyncio.run(collect(made)) == [Piece("a"), DONE]
    text = made.metrics.text().decode()
    for line in ("prefix_cache_hits_total 1.0", "video_cache_hits_total 1.0", "video_cache_misses_total 2.0"):
        assert f"rushes_{line}" in text
    assert made.sizes() == {"num_requests_running": 0, "num_requests_waiting": 0, **SIZES}
    assert made.pairs.cancelled == 0


def test_a_refusal_comes_whole() -> None:
    refusal = Refusal("too long", status=413, param="messages", code="too_large", retry_after_s=3)

    async def answer(_: Job) -> AsyncGenerator[Any]:
        yield refusal

    with pytest.raises(Refusal) as raised:
        asyncio.run(collect(backend(answer)))
    assert vars(raised.value) == vars(refusal)


@pytest.mark.parametrize("error", [ActorDiedError(), ActorUnavailableError("away", None), None], ids=repr)
def test_a_replica_that_is_gone_is_said(error: Exception | None) -> None:
    async def answer(_: Job) -> AsyncGenerator[Any]:
        yield Report("one", SIZES, 0, 0)
        if error is not None:
            raise error

    made = backend(answer)
    with pytest.raises(Refusal) as raised:
        asyncio.run(collect(made))
    assert (raised.value.status, raised.value.code, raised.value.retry_after_s) == (503, "replica_gone", 5)
    assert made.sizes()["prefix_cache_bytes"] == 0
    assert made.sizes()["num_requests_running"] == 0


def test_nothing_hangs_beyond_the_deadline() -> None:
    async def never(_: Job) -> AsyncGenerator[Any]:
        await asyncio.sleep(1000)
        yield

    async def check(made: RayBackend) -> None:
        both = await asyncio.gather(*(collect(made) for _ in range(2)), return_exceptions=True)
        assert [(one.status, one.code) for one in both] == [(503, "deadline_exceeded")] * 2  # type: ignore[union-attr]

    for queue in (0, 1):  # the second one is refused, waits there, or waits here
        made = backend(never, queue=queue, replicas=2 - queue, deadline_s=0.05)
        asyncio.run(check(made))
        assert made.pairs.cancelled == 2
        assert made.sizes()["num_requests_running"] == 0


def test_closing_cancels() -> None:
    async def check() -> None:
        made = backend(hangs)
        messages = made.answer(job())
        assert await anext(messages) == Piece("a")
        assert made.sizes()["num_requests_running"] == 1
        await messages.aclose()
        assert made.pairs.cancelled == 1
        assert made.sizes()["num_requests_running"] == 0

    asyncio.run(check())


@pytest.mark.parametrize(("replicas", "queue"), [(1, 0), (2, 1), (2, 5), (3, 64), (4, 4)])
def test_as_many_are_let_in_as_without_ray(replicas: int, queue: int) -> None:
    async def check() -> None:
        made = backend(hangs, replicas, queue=queue)
        running = [asyncio.ensure_future(collect(made)) for _ in range(replicas + queue)]
        await asyncio.sleep(0.01)
        with pytest.raises(Refusal) as full:
            await collect(made)
        assert (full.value.status, full.value.code) == (429, "queue_full")
        assert made.sizes()["num_requests_running"] == replicas
        assert made.sizes()["num_requests_waiting"] == queue
        made.drain()
        with pytest.raises(Refusal) as stopping:
            await collect(made)
        assert stopping.value.status == 503
        await asyncio.sleep(0.01)
        for one in running:
            one.cancel()
        ends = await asyncio.gather(*running, return_exceptions=True)
        sent = min(replicas + queue, replicas * at_one_replica(queue, replicas))
        assert made.pairs.cancelled == sent, "the others were sent away before"
        assert sum(isinstance(end, Refusal) for end in ends) == replicas + queue - sent

    asyncio.run(check())


def test_jobs_about_one_video_are_known() -> None:
    from rushes.serve.ray_router import video_of

    assert video_of(job("Who?")) == video_of(job("Where?")) == "digest"
    assert video_of(replace(job(), turns=(Said("user", ("Hello",)),))) == ""
