"""The model class for lmms-eval.

Written after lmms-eval 0.7.3: api/model.py (`lmms`, what a class provides), api/task.py `construct_requests` of
`ConfigurableTask` (what a request holds), api/instance.py (what an answer is), evaluator.py (who calls what, and when).
Of its two interfaces this is the simple one, a question and its visuals: a pair answers one question about one video.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.model_utils.gen_metrics import log_metrics
from tqdm import tqdm

from rushes.checkpoints import load
from rushes.demo import bundled
from rushes.errors import RushesError, unknown_name
from rushes.integrations.lmms_asked import Question, read
from rushes.integrations.lmms_tally import Tally
from rushes.pair import Pair
from rushes.settings import Settings
from rushes.video import Sampling

DEMO = "demo"
ARGUMENTS = ["target", "draft", "method", "keep", "gamma", "device", "draft_device", "dtype", "max_new_tokens"]
ARGUMENTS += ["frames", "fps", "positions", "batch_size"]


class Rushes(lmms):
    """A pair, as lmms-eval wants its models.

    Args:
        target, draft: As for `rushes.load`; the target "demo" is the bundled pair.
        method, keep, gamma, positions: As in `Settings`.
        device: By default a GPU if there is one; of several processes each takes its own.
        draft_device, dtype: As for `rushes.load`.
        max_new_tokens: For tasks that do not say.
        frames, fps: As for `Pair.generate`.
        batch_size: 1.
        max_batch_size: lmms-eval passes it beside `batch_size`.

    Raises:
        RushesError: In one line what to give instead; nothing is loaded before all of it is checked.
    """

    is_simple = True

    def __init__(
        self,
        target: str | None = None,
        draft: str | None = None,
        method: str = "specvlm",
        keep: float | str = 0.1,
        gamma: int | str | None = None,
        device: str | None = None,
        draft_device: str | None = None,
        dtype: str = "auto",
        max_new_tokens: int | str = 256,
        frames: int | str | None = None,
        fps: float | str | None = None,
        positions: str = "stock",
        batch_size: int | str | None = 1,
        max_batch_size: int | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        for name in unknown:
            raise unknown_name("model argument", name, ARGUMENTS)
        if batch_size is not None and str(batch_size) != "1":
            raise RushesError(f"rushes answers one question at a time; pass --batch_size 1, not {batch_size}")
        numbers = {"keep": number(keep), "gamma": number(gamma), "max_new_tokens": number(max_new_tokens)}
        self._settings: dict[str, Any] = {"method": method, "positions": positions, **numbers}
        self._shown = {"frames": number(frames), "fps": number(fps)}
        Sampling(num_frames=self._shown["frames"], fps=self._shown["fps"])
        needs_draft = Settings(**self._settings).recipe().needs_draft
        if target is None:
            raise RushesError(
                "no target given; pass --model_args target=CHECKPOINT,draft=SMALLER_CHECKPOINT, "
                f"or target={DEMO} to try the bundled pair"
            )
        if target == DEMO and draft is not None:
            raise RushesError(f"target={DEMO} brings its own draft; leave draft out, or name a target of yours")
        if target != DEMO and draft is None and needs_draft:
            raise RushesError(f"method {method!r} needs a draft; pass draft=CHECKPOINT, or method=ar to go without one")
        self._pair = load_pair(target, draft, own_device(device), draft_device, dtype)

    @property
    def device(self) -> torch.device:
        """Where lmms-eval gathers its counts when there are several processes."""
        return self._pair.target.device

    def generate_until(self, requests: Sequence[Instance]) -> list[GenerationResult]:
        """Answers, in the order of the requests.

        lmms-eval hands over the requests of all tasks at once; a task that asks for what there is not is refused by its
        first document, before anything is answered.

        Raises:
            RushesError: A question that cannot be answered, by task and document.
        """
        for request in {request.args[4]: request for request in reversed(requests)}.values():
            self._read(request)
        tally = Tally()
        answers = [self._answer(request, tally) for request in tqdm(requests, disable=self.rank != 0, desc="rushes")]
        print(tally.line(self._settings["method"]), file=sys.stderr, flush=True)
        speed = tally.tokens / tally.total_s if tally.total_s > 0 else 0.0
        log_metrics(tally.total_s, tally.tokens, speed, tally.metrics())  # into "throughput" of the results
        return answers

    def _answer(self, request: Instance, tally: Tally) -> GenerationResult:
        asked = self._read(request)
        try:
            result = self._pair.generate(asked.video, asked.prompt, **self._shown, **asked.settings)
        except RushesError as error:
            raise _located(error, request) from error
        tally.add(result)
        return GenerationResult(asked.cut(result.text), TokenCounts(output_tokens=len(result.token_ids)))

    def _read(self, request: Instance) -> Question:
        prompt, options, doc_to_visual, doc_id, task, split = request.args
        try:
            asked = read(prompt, options, doc_to_visual(self.task_dict[task][split][doc_id]), self._settings)
            Settings(**asked.settings)
        except RushesError as error:
            raise _located(error, request) from error
        return asked

    def loglikelihood(self, requests: Sequence[Instance]) -> NoReturn:
        raise NotImplementedError(
            "rushes writes answers and does not score given ones: where all tokens are known a draft saves nothing; "
            "choose tasks whose output_type is generate_until"
        )

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> NoReturn:
        raise NotImplementedError(
            "rushes answers one question about one video, without earlier turns; "
            "choose tasks whose output_type is generate_until"
        )

    def clean(self) -> None:
        """lmms-eval calls this before it starts judges, which want the memory."""
        del self._pair
        super().clean()


def load_pair(target: str, draft: str | None, device: str, draft_device: str | None, dtype: str) -> Pair:
    """The pair that is asked for, or the bundled one in the precision that it was trained in.

    Raises:
        RushesError: As `rushes.load`.
    """
    if target == DEMO:
        bundled.refuse_without_weights()
        target, draft = bundled.TARGET, bundled.DRAFT
        dtype = "float32" if dtype == "auto" else dtype
    return load(target, draft, device=device, draft_device=draft_device, dtype=dtype)


def own_device(device: str | None) -> str:
    """This process's device; lmms-eval is started once for every GPU (`accelerate launch`, `torchrun`)."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if device == "cuda" else str(device)


def number(value: Any) -> Any:
    """A number that came as text; lmms-eval reads the numbers in its --model_args, other callers may not."""
    for kind in (int, float):
        try:
            return kind(value) if isinstance(value, str) else value
        except ValueError:
            continue
    return value


def _located(error: RushesError, request: Instance) -> RushesError:
    _, _, _, doc_id, task, _ = request.args
    return RushesError(f"{task}, document {doc_id}: {error}")
