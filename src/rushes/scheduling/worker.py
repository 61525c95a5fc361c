"""The draft's worker: a thread that runs the draft's jobs, one after the other, beside the target.

Threads and not processes, by measurement. On 2 cores, with the stand-in pair in bf16, a pass of the target over 6 rows
beside a draft that never stops takes 58.0 ms in threads and 57.3 ms in processes, and a step of that draft 5.11 ms and
5.03 ms: torch lets go of the GIL in every operation. Where either side has both cores, processes fall apart (192 ms:
each OpenMP runtime spins for its own cores, where threads of one process share one that knows of all), and a target
that reads a prompt wants them all. A thread also costs nothing to start, holds no weight twice, takes any model as it
is (quantised, hooked, not to be pickled), and is what two streams of one GPU need. It dies with its process.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

import torch

from rushes.stats import wait_for

T = TypeVar("T")


class Worker:
    """Runs jobs of one model on a thread of its own, on its device, in a stream of its own on a GPU.

    The thread starts with the first job and serves all requests of a pair, in the order in which they come. On a CPU
    the draft gets a quarter of the cores, at least one, and the target keeps all of its threads: a pass of 60.5 ms
    instead of 58.0 ms while the draft writes, and both cores as soon as it does not.

    Args:
        device: Of the model.

    Attributes:
        contention: What one draft step beside a pass of the target adds to that pass, in draft steps; None before it
            was measured. It is a property of the machine, and outlives a request.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.contention: float | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._stream: Any = None
        self._lock = Lock()

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Run a job when all before it are done. What it returns is ready to be used on any stream."""
        event = None
        if self.device.type == "cuda":  # what the caller has queued so far comes first
            event = torch.cuda.Event()
            event.record()
        with self._lock:
            if self._threads is None:
                self._threads = self._start()
            return self._threads.submit(self._run, job, event)

    def replace(self) -> None:
        """Give up the thread after a failure; the next job gets a new one. Other requests' jobs are still done."""
        with self._lock:
            if self._threads is not None:
                self._threads.shutdown(wait=False)
            self._threads = None

    def _start(self) -> ThreadPoolExecutor:
        threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rushes-draft")
        if self.device.type == "cuda":
            self._stream = torch.cuda.Stream(self.device, priority=-1)  # its kernels are small and others wait for them
        elif self.device.type == "cpu":
            cores = torch.get_num_threads()
            threads.submit(torch.set_num_threads, max(1, cores // 4)).result()
            torch.set_num_threads(cores)  # the number is a thread's own, but what new threads start with is everybody's
        return threads

    def _run(self, job: Callable[[], T], event: Any) -> T:
        with torch.inference_mode(), self._place(event):
            made = job()
            wait_for(self.device)
        return made

    @contextmanager
    def _place(self, event: Any) -> Iterator[None]:
        if self._stream is None:
            yield
            return
        with torch.cuda.device(self.device), torch.cuda.stream(self._stream):
            self._stream.wait_event(event)
            yield
