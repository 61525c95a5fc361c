"""Answers that replicas on Ray write, behind one queue."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ray.exceptions import ObjectLostError, RayActorError, TaskCancelledError, WorkerCrashedError
from ray.serve.exceptions import DeploymentUnavailableError

from rushes.serve.config import Config
from rushes.serve.engine import late
from rushes.serve.fetching import fetched
from rushes.serve.gate import Gate
from rushes.serve.job import Done, Job, Message
from rushes.serve.media import MediaSource, source_of
from rushes.serve.metrics import Metrics
from rushes.serve.ray_pair import Report
from rushes.serve.refusals import Refusal

_GONE = (RayActorError, DeploymentUnavailableError, ObjectLostError, TaskCancelledError, WorkerCrashedError)
_SUMMED = ("prefix_cache_bytes", "prefix_cache_entries", "prefix_cache_evictions", "video_cache_bytes")


def at_one_replica(queue: int, replicas: int) -> int:
    """Most requests at one replica: one that it answers, and few whose videos it decodes meanwhile.

    More would wait there in vain for whoever is asked about another video, and pass by the fair order.
    """
    return 1 + min(3, queue // replicas)


@dataclass(slots=True, eq=False)
class RayBackend:
    """A `Backend` whose pairs are the replicas of a deployment.

    Args:
        pairs: Ray's handle of it.
        replicas: How many it has.
        config: Limits, budgets.
        metrics: Filled in.
    """

    pairs: Any
    replicas: int
    config: Config
    metrics: Metrics
    _gate: Gate[int] = field(init=False)
    _media: MediaSource = field(init=False)
    _reports: dict[str, Report] = field(default_factory=dict)

    def __post_init__(self) -> None:
        places = self.replicas * at_one_replica(self.config.queue, self.replicas)
        self._gate = Gate(range(places), self.replicas + self.config.queue - places)
        self._media = source_of(self.config)
        self.metrics.watch(self)

    async def answer(self, job: Job) -> AsyncGenerator[Message]:
        deadline = asyncio.get_running_loop().time() + self.config.deadline_s
        ticket = self._gate.admit(job.client)
        response, ended = None, False
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._gate.turn(ticket)
                    job = await fetched(job, self._media)
            except TimeoutError:
                raise late() from None
            response = self.pairs.options(method_name="answer", stream=True).remote(job)
            while not ended:
                message = await self._next(response, deadline)
                ended = isinstance(message, Done | Refusal)
                if isinstance(message, Report):
                    self._note(message)
                    continue
                if isinstance(message, Refusal):
                    raise message
                if isinstance(message, Done):
                    self._gate.leave(ticket)
                    if job.reuse:
                        self.metrics.count_reuse(message)
                yield message
        finally:
            if response is not None and not ended:
                response.cancel()
            self._gate.leave(ticket)

    def drain(self) -> None:
        self._gate.close()

    async def close(self) -> None:
        self.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.grace_s):
                while self._gate.admitted:
                    await asyncio.sleep(0.05)

    def sizes(self) -> dict[str, float]:
        """What the replicas hold, as they said last, and who waits, for the metrics."""
        running = min(self._gate.running, self.replicas)
        held = {name: sum(report.sizes[name] for report in self._reports.values()) for name in _SUMMED}
        return {"num_requests_running": running, "num_requests_waiting": self._gate.admitted - running, **held}

    async def _next(self, response: Any, deadline: float) -> Message | Report | Refusal:
        try:
            async with asyncio.timeout_at(deadline):
                message: Message | Report | Refusal = await anext(response)
                return message
        except TimeoutError:
            raise late() from None
        except (*_GONE, StopAsyncIteration):
            self._reports.clear()  # nobody says whose is void; the others' come again with their next answers
            # Not asked again elsewhere: what it was may have been this request's own doing.
            raise Refusal(
                "the replica that was answering is gone; ask again in a moment",
                status=503,
                code="replica_gone",
                retry_after_s=5,
            ) from None

    def _note(self, report: Report) -> None:
        self._reports[report.replica] = report
        for known, count in ((True, report.known), (False, report.new)):
            for _ in range(count):
                self.metrics.count_video(known=known)
