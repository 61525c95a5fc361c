"""The engine gives way: to who goes away, and with what it keeps where memory is short."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rushes import Pair
from rushes.demo import bundled
from rushes.errors import OutOfMemory
from rushes.models.base import VideoLM
from rushes.recall import Prefix
from rushes.serve.backend import LocalBackend
from rushes.serve.config import Config
from rushes.serve.engine import Engine
from rushes.serve.job import Done, Job, Link, Piece, Said
from rushes.serve.media import Medium
from rushes.serve.metrics import Metrics
from rushes.serve.refusals import Refusal
from rushes.settings import Settings


@pytest.fixture(scope="module")
def pair() -> Pair:
    return bundled.pair()


def run(pair: Pair, work: Callable[[LocalBackend], Coroutine[Any, Any, None]]) -> None:
    """Everything on one event loop, as in a server."""

    async def inside() -> None:
        backend = LocalBackend([pair], Config(), Metrics())
        try:
            async with asyncio.timeout(60):
                await work(backend)
        finally:
            await backend.close()

    asyncio.run(inside())


def job(video: Path | None = None, **more: Any) -> Job:
    parts: tuple[Any, ...] = ("Describe the video.",)
    if video is not None:
        data = video.read_bytes()
        parts = (Medium("video", data, "a"), *parts)
    return Job("test", (Said("user", parts),), Settings(max_new_tokens=12, **more), num_frames=4)


async def answered(backend: LocalBackend, asked: Job) -> tuple[str, Done]:
    text = ""
    async for message in backend.answer(asked):
        if isinstance(message, Piece):
            text += message.text
        else:
            return text, message
    raise AssertionError("no end")


def short_of_memory(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """Let the next `times` caches find no memory; what has failed so far."""
    failed: list[int] = []
    make = VideoLM.new_cache

    def new_cache(self: VideoLM, capacity: int) -> Any:
        if len(failed) < times:
            failed.append(capacity)
            raise OutOfMemory("no memory for the cache")
        return make(self, capacity)

    monkeypatch.setattr(VideoLM, "new_cache", new_cache)
    return failed


def test_what_is_kept_for_later_gives_way(pair: Pair, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(backend: LocalBackend) -> None:
        first = await answered(backend, job(video))
        store = backend.gate.places[0].store
        failed = short_of_memory(monkeypatch, 1)
        again = await answered(backend, job(video))
        assert failed
        assert again[0] == first[0]
        assert again[1].cached_tokens == 0
        assert len(list(store.of(Prefix))) == 2  # the target's and the draft's, read anew

    run(pair, work)


def test_no_memory_at_all_is_a_503_and_the_next_request_is_answered(
    pair: Pair, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(backend: LocalBackend) -> None:
        await answered(backend, job(video))
        short_of_memory(monkeypatch, 2)
        with pytest.raises(Refusal) as refused:
            await answered(backend, job(video))
        assert (refused.value.status, refused.value.code) == (503, "out_of_memory")
        assert refused.value.retry_after_s
        assert (await answered(backend, job(video)))[0]

    run(pair, work)


def slowed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every pass of the target take a while; one entry for each."""
    passes: list[int] = []
    forward = pair.target.forward

    def counted(*args: Any, **more: Any) -> Any:
        passes.append(1)
        time.sleep(0.05)
        return forward(*args, **more)

    monkeypatch.setattr(pair.target, "forward", counted)
    return passes


def test_the_place_is_free_when_the_last_word_is_out(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a server without a queue would refuse whoever asks again at once."""
    work_on = Engine._work

    def dawdling(self: Engine, writing: Any) -> None:
        work_on(self, writing)
        time.sleep(0.3)

    monkeypatch.setattr(Engine, "_work", dawdling)

    async def work(backend: LocalBackend) -> None:
        assert (await answered(backend, job()))[0]
        assert backend.gate.admitted == 0
        backend.gate.places[0].prompt_tokens = 1
        with pytest.raises(Refusal, match="the limit is 1"):
            await answered(backend, job())
        assert backend.gate.admitted == 0

    run(pair, work)


def test_an_answer_that_nobody_reads_any_more_ends_within_a_round(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = slowed(pair, monkeypatch)

    async def work(backend: LocalBackend) -> None:
        endless = Settings(method="ar", max_new_tokens=500, temperature=2.0, seed=0)
        messages = backend.answer(Job("test", (Said("user", ("Hello",)),), endless))
        await anext(messages)
        before = len(passes)
        await messages.aclose()
        while backend.gate.running:
            await asyncio.sleep(0.01)
        assert len(passes) <= before + 2

    run(pair, work)


def test_who_waits_holds_no_decoded_video(pair: Pair, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slowed(pair, monkeypatch)

    async def work(backend: LocalBackend) -> None:
        endless = Settings(method="ar", max_new_tokens=500, temperature=2.0, seed=0)
        running = backend.answer(Job("test", (Said("user", ("Hello",)),), endless))
        await anext(running)
        decoded: list[str] = []
        decode = backend._sandbox.read_video

        async def counted(data: bytes, *more: Any) -> Any:
            decoded.append(str(len(data)))
            return await decode(data, *more)

        backend._sandbox.read_video = counted  # type: ignore[method-assign]
        data = video.read_bytes()
        waiting = []
        for i in range(6):
            parts = (Medium("video", data + bytes(i), f"video {i}"), "Describe the video.")
            asked = Job("test", (Said("user", parts),), Settings(max_new_tokens=4), num_frames=4, client=f"client {i}")
            waiting.append(asyncio.ensure_future(answered(backend, asked)))
        while len(backend.clips) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert len(decoded) == 2
        assert backend._desks.running == 2
        await running.aclose()
        assert all(text for text, _ in await asyncio.gather(*waiting))
        assert len(decoded) == 6

    run(pair, work)


def test_text_does_not_wait_for_videos(pair: Pair, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(backend: LocalBackend) -> None:
        never = asyncio.Event()

        async def decode(*_: Any) -> Any:
            await never.wait()

        monkeypatch.setattr(backend._sandbox, "read_video", decode)
        stuck = [asyncio.ensure_future(answered(backend, job(video))) for _ in range(4)]
        await asyncio.sleep(0.1)
        assert (await answered(backend, job()))[0]
        for one in stuck:
            one.cancel()
        await asyncio.wait(stuck)
        assert backend.gate.admitted == 0

    run(pair, work)


def test_a_deadline_covers_what_is_fetched_and_decoded(pair: Pair, tmp_path: Path) -> None:
    async def work(backend: LocalBackend) -> None:
        async def fetch(*_: Any) -> Any:
            await asyncio.sleep(30)

        backend.config = replace(backend.config, deadline_s=0.2)
        backend._media.fetch = fetch  # type: ignore[method-assign]
        asked = replace(job(), turns=(Said("user", (Link("video", "https://example.com/a.mp4"), "Hello")),))
        with pytest.raises(Refusal) as refused:
            await answered(backend, asked)
        assert (refused.value.status, refused.value.code) == (503, "deadline_exceeded")
        assert backend.gate.admitted == 0

    run(pair, work)


def test_a_failure_of_ours_is_a_500_without_its_reason_and_the_next_request_is_answered(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("a secret path")

    async def work(backend: LocalBackend) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(pair.target, "logits", fails)
            with pytest.raises(Refusal) as refused:
                await answered(backend, job())
        assert refused.value.status == 500
        assert "secret" not in refused.value.message
        assert "secret" in caplog.text
        assert (await answered(backend, job()))[0]

    run(pair, work)
