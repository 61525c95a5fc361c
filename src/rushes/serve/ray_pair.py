"""What one replica on Ray is: a pair with a device of its own, behind the same sandbox and reuse as elsewhere."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from rushes.pair import Pair
from rushes.serve.backend import LocalBackend
from rushes.serve.config import Config
from rushes.serve.job import Done, Job, Message
from rushes.serve.logs import set_up
from rushes.serve.metrics import Metrics
from rushes.serve.refusals import Refusal


@dataclass(frozen=True, slots=True)
class PairSpec:
    """Which pair every replica loads, from its own node's disk.

    Args:
        target, draft: Checkpoint folders or hub ids; no draft for methods without one.
        device: "cpu" or "cuda", which is the replica's own.
        dtype: As in `rushes.load`.
        standin: The bundled pair at its padded size instead.
    """

    target: str
    draft: str | None
    device: str
    dtype: str = "auto"
    standin: bool = False

    def load(self) -> Pair:
        """The pair.

        Raises:
            RushesError: As `rushes.load`.
        """
        from rushes.checkpoints import load
        from rushes.demo import bundled
        from rushes.progress import quiet_libraries

        quiet_libraries()
        if self.standin:
            return bundled.standins(self.device)
        return load(self.target, self.draft, device=self.device, dtype=self.dtype)


@dataclass(frozen=True, slots=True)
class Report:
    """What a replica tells those who serve the metrics, before the end of each answer.

    Attributes:
        replica: Tells it from the others.
        sizes: What it holds.
        known, new: Videos since its last report that had to be decoded, and that had not.
    """

    replica: str
    sizes: dict[str, float]
    known: int
    new: int


class Tally(Metrics):
    """Counts videos for the next report; the rest of a replica's metrics is counted where HTTP is."""

    known = new = 0

    def count_video(self, known: bool) -> None:
        self.known += known
        self.new += not known


class PairReplica:
    """A deployment's class.

    Args:
        spec: What to load.
        config: The server's.
    """

    def __init__(self, spec: PairSpec, config: Config) -> None:
        from ray import serve

        set_up()
        self._name = serve.get_replica_context().replica_id.unique_id
        self._tally = Tally()
        self._backend = LocalBackend([spec.load()], config, self._tally)

    async def answer(self, job: Job) -> AsyncGenerator[Message | Report | Refusal]:
        """As `Backend.answer`, but a refusal is a message, which crosses processes without a traceback."""
        try:
            async with aclosing(self._backend.answer(job)) as messages:
                async for message in messages:
                    if isinstance(message, Done):
                        yield self._report()
                    yield message
        except Refusal as refusal:
            yield self._report()
            yield refusal

    def _report(self) -> Report:
        tally = self._tally
        made = Report(self._name, self._backend.sizes(), tally.known, tally.new)
        tally.known = tally.new = 0
        return made

    async def __del__(self) -> Any:
        """Ray's way to end a replica."""
        if hasattr(self, "_backend"):
            await self._backend.close()


def for_replicas(config: Config) -> Config:
    """A server's configuration without what only the process that speaks HTTP needs."""
    return replace(config, api_key=None, media_dir=None)
