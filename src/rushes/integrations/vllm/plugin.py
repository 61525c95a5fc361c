"""What vLLM loads in every process: the ties between its runner and the drafter.

vLLM gives a drafter its tokens and nothing else. Who asked, what the video was and when a request ends is known to the
runner, so the runner is wrapped; and an engine's configuration is checked where the user's own process makes it.
"""

from functools import wraps
from typing import Any
from weakref import WeakSet

MARK = "_tied_to_rushes"


def register() -> None:
    """Entry point of the group `vllm.general_plugins`; called in every process, and more than once.

    On a vLLM of another version nothing is touched: `VideoDrafter` refuses it, everything else goes its way.
    """
    from rushes.errors import RushesError
    from rushes.integrations.vllm.metrics import name_folder
    from rushes.integrations.vllm.start import check_version

    try:
        check_version()
    except RushesError:
        return
    name_folder()
    _tie_configuration()
    _tie_scheduler()
    _tie_runner()


def _tie_configuration() -> None:
    from vllm.engine.arg_utils import EngineArgs

    from rushes.integrations.vllm.metrics import publish
    from rushes.integrations.vllm.start import is_ours, plan, refuse_second_runner

    if getattr(EngineArgs, MARK, False):
        return
    create = EngineArgs.create_engine_config

    @wraps(create)
    def create_engine_config(self: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_second_runner(self.speculative_config)
        config = create(self, *args, **kwargs)
        if is_ours(config):
            plan(config)  # in the user's own process, before any other is started
            publish()
        return config

    EngineArgs.create_engine_config = create_engine_config
    setattr(EngineArgs, MARK, True)


def _tie_scheduler() -> None:
    """Let the pixels of a video come along where vLLM's prefix cache holds it: the draft may not have looked at it yet.

    vLLM leaves out what its own vision tower will not run on.
    """
    from vllm.v1.core.sched import output
    from vllm.v1.core.sched.scheduler import Scheduler

    from rushes.integrations.vllm.start import is_ours

    if getattr(Scheduler, MARK, False):
        return
    begin, strip = Scheduler.__init__, output.strip_covered_mm_data
    ours: WeakSet[Any] = WeakSet()

    @wraps(begin)
    def __init__(self: Any, vllm_config: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, vllm_config, *args, **kwargs)
        if is_ours(vllm_config):
            ours.add(self)

    @wraps(strip)
    def strip_covered_mm_data(mm_features: Any, *args: Any, **kwargs: Any) -> Any:
        return mm_features if ours else strip(mm_features, *args, **kwargs)

    Scheduler.__init__ = __init__
    output.strip_covered_mm_data = strip_covered_mm_data
    setattr(Scheduler, MARK, True)


def _tie_runner() -> None:
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    if getattr(GPUModelRunner, MARK, False):
        return
    update, propose, shutdown = (
        GPUModelRunner._update_states,
        GPUModelRunner.propose_draft_token_ids,
        GPUModelRunner.shutdown,
    )

    @wraps(update)
    def _update_states(self: Any, scheduler_output: Any) -> Any:
        drafter = _drafter(self)
        if drafter is not None:
            gone = set(scheduler_output.finished_req_ids) | set(scheduler_output.preempted_req_ids or ())
            drafter.forget(sorted(gone))
        return update(self, scheduler_output)

    @wraps(propose)
    def propose_draft_token_ids(self: Any, *args: Any, **kwargs: Any) -> Any:
        drafter = _drafter(self)
        if drafter is not None:
            drafter.attach(self)
        return propose(self, *args, **kwargs)

    @wraps(shutdown)
    def shut_down(self: Any) -> None:
        drafter = _drafter(self)
        if drafter is not None:
            drafter.close()
        shutdown(self)

    GPUModelRunner._update_states = _update_states
    GPUModelRunner.propose_draft_token_ids = propose_draft_token_ids
    GPUModelRunner.shutdown = shut_down
    setattr(GPUModelRunner, MARK, True)


def _drafter(runner: Any) -> Any:
    """The runner's drafter, if it is ours."""
    from rushes.integrations.vllm.drafter import VideoDrafter

    drafter = getattr(runner, "drafter", None)
    return drafter if isinstance(drafter, VideoDrafter) else None
