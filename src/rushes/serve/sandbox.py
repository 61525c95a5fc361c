"""Decodes what strangers sent in processes of their own, so that a hostile file takes down no more than one of them."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

import rushes
from rushes.serve.decoded import HEADER_BYTES, Answer
from rushes.serve.limits import MIB, Limits
from rushes.serve.refusals import Refusal
from rushes.serve.scratch import Scratch
from rushes.video import Sampling, Video

log = logging.getLogger(__name__)

# Isolated from the environment and the user's folders, yet with this process's places to import from.
_START = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from {} import main; main()"
_OWN_FOLDER = str(Path(rushes.__file__).parents[1])
# One arena and one thread for BLAS: what they reserve for more counts as memory.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Task(Generic[T]):
    """One file to be decoded: what it is, whose fault it is, how much may come of it and how that is read."""

    kind: str
    param: str | None
    most_bytes: int
    read: Callable[[Answer], T]

    def refusal(self, message: str, status: int) -> Refusal:
        code = {400: f"invalid_{self.kind}", 413: "too_large"}.get(status, "decoder_failed")
        return Refusal(message, status=status, param=self.param, code=code)

    def too_large(self, what: str) -> Refusal:
        return self.refusal(f"decoding the {self.kind} {what}; send a shorter or smaller {self.kind}", 413)


class Sandbox:
    """Starts a fresh process for each file and stops it when it takes too much, or when nobody waits for it any more.

    Args:
        limits: Of time, memory, pixels, duration and frames.
        workers: Processes at once; further files wait for their turn.
        child: The module that decodes.
    """

    def __init__(self, limits: Limits, *, workers: int = 2, child: str = "rushes.serve.decoding_child") -> None:
        self._limits = limits
        self._turn = asyncio.Semaphore(workers)
        self._start = _START.format(child)

    async def read_video(self, data: bytes, sampling: Sampling, param: str | None = None) -> Video:
        """The sampled frames of a video.

        Args:
            data: The file.
            sampling: Which frames, and how large at most.
            param: The field of the request that is to blame if it cannot be read.

        Raises:
            Refusal: 413 for what is over a limit, 400 for what cannot be decoded.
        """
        frame_bytes = 3 * min(sampling.max_pixels, self._limits.pixels)
        task = _Task("video", param, self._limits.frames * (frame_bytes + 16), Answer.video)
        return await self._decoded(task, {"kind": "video", "sampling": asdict(sampling)}, data)

    async def read_image(self, data: bytes, param: str | None = None) -> np.ndarray:
        """The picture as (H, W, 3) uint8 RGB, upright.

        Raises:
            Refusal: As `read_video`.
        """
        task = _Task("image", param, 3 * self._limits.image_pixels, Answer.image)
        return await self._decoded(task, {"kind": "image"}, data)

    async def _decoded(self, task: _Task[T], request: dict[str, Any], data: bytes) -> T:
        async with self._turn:
            file, result = await asyncio.to_thread(Scratch, data), Scratch()
            request |= {"file": file.path, "result": result.fd, "result_bytes": task.most_bytes + HEADER_BYTES}
            try:
                code = await self._code(request, (file.fd, result.fd))
                self._check(code, task)
                answer = Answer(result, task.most_bytes)
                self._check_status(answer, task)
                return await asyncio.to_thread(task.read, answer)
            except ValueError as error:
                log.warning("a %s could not be decoded: %s", task.kind, error)
                what = (
                    f"the {task.kind} cannot be decoded; it is damaged, or of a kind that is not read here: convert it"
                )
                raise task.refusal(what, 400) from None
            finally:
                file.close()
                result.close()

    def _check(self, code: int | None, task: _Task[T]) -> None:
        """Refuse what the child's end shows."""
        if code is None or code == -signal.SIGXCPU:
            raise task.too_large(f"takes more than {self._limits.decoding_s:g} s")
        if code == -signal.SIGKILL:
            raise task.too_large("took more memory than there is")
        if code == 1:
            log.error("the process that decodes cannot start")
            raise task.refusal("the server cannot start its decoder; tell those who run it", 500)
        if code != 0:
            raise ValueError(f"its process ended with {code}")

    def _check_status(self, answer: Answer, task: _Task[T]) -> None:
        """Refuse what the child refused."""
        if answer.status == "memory":
            raise task.too_large(f"takes more than {self._limits.decoding_bytes // MIB:,} MiB of memory")
        if answer.status != "done":
            raise task.refusal(answer.message, 413 if answer.status == "over" else 400)

    async def _code(self, request: dict[str, Any], fds: tuple[int, ...]) -> int | None:
        """How the child ended: its exit status, minus the signal that ended it, or None when its time was up."""
        limits = self._limits
        request |= {
            "parent": os.getpid(),
            "pixels": limits.pixels,
            "image_pixels": limits.image_pixels,
            "duration_s": limits.duration_s,
            "frames": limits.frames,
            "decoding_s": limits.decoding_s,
            "decoding_bytes": limits.decoding_bytes,
        }
        places = [*(place for place in sys.path if os.path.isabs(place)), _OWN_FOLDER]
        arguments = ("-I", "-B", "-c", self._start, json.dumps(places), json.dumps(request, default=_plain))
        async with _child(arguments, fds) as child:
            try:
                async with asyncio.timeout(limits.decoding_s):
                    return await child.wait()
            except TimeoutError:
                return None


@asynccontextmanager
async def _child(arguments: tuple[str, ...], fds: tuple[int, ...]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process in a session of its own, which is over when the context is left, however that happens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=_ENVIRONMENT | {name: os.environ[name] for name in _INHERITED if name in os.environ},
        pass_fds=fds,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _plain(number: Any) -> int | float:
    """A number of numpy's as one of Python's."""
    return number.item()
