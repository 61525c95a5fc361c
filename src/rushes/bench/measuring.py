"""One answer of a pair and its figures: by `rushes`, by transformers alone, or by its assisted generation."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from rushes._transformers import transformers
from rushes.bench.memory import peak_of
from rushes.bench.trial import ASSISTED, Question, Trial
from rushes.errors import RushesError
from rushes.pair import Pair
from rushes.result import Result

WARM_UP = 16  # tokens


class PairBench:
    """Measures a pair.

    Args:
        pair: The models.
        max_new_tokens: Of every answer.
        frames, fps: As in `Pair.generate`.

    Attributes:
        last: Trial -> its last result, of methods of `rushes`.
        found: Answers that an earlier run had left.
    """

    def __init__(self, pair: Pair, max_new_tokens: int, *, frames: int | None = None, fps: float | None = None) -> None:
        self.pair = pair
        self.last: dict[str, Result] = {}
        self.found = 0
        self._length = max_new_tokens
        self._frames, self._fps = frames, fps

    def answer(self, trial: Trial, question: Question, *, short: bool = False) -> dict[str, Any]:
        """One answer and its figures; a `short` one is a warm-up."""
        length = min(WARM_UP, self._length) if short else self._length
        models = [model for model in (self.pair.target, self.pair.draft) if model is not None]
        with peak_of({model.device for model in models}) as peak:
            if trial.ours:
                made = self._ours(trial, question, length)
            else:
                made = self._stock(question, length, assisted=trial.method == ASSISTED)
        return {**made, "peak_bytes": peak.bytes}

    def check(self, question: Question, plain: list[int], tokens: list[int]) -> dict[str, Any]:
        """An answer held against plain decoding's."""
        inputs, _ = self._inputs(question)
        try:
            found = self.pair.compare(inputs, plain, tokens)
        except torch.OutOfMemoryError as error:
            raise RushesError("out of GPU memory for the comparison") from error
        return {
            "identical": found.identical,
            "first_divergence": found.first_divergence,
            "logit_gap": found.logit_gap,
        }

    def _inputs(self, question: Question) -> Any:
        return self.pair.inputs(question.video, question.prompt, frames=self._frames, fps=self._fps)

    def _ours(self, trial: Trial, question: Question, length: int) -> dict[str, Any]:
        result: Result = self.pair.generate(
            question.video,
            question.prompt,
            frames=self._frames,
            fps=self._fps,
            method=trial.method,
            keep=trial.keep,
            gamma=trial.gamma,
            max_new_tokens=length,
        )
        metrics = result.metrics
        self.last[trial.name] = result
        decoding = metrics["time_s"]["decoding"]
        return {
            "token_ids": result.token_ids,
            "text": result.text,
            "tokens": len(result.token_ids),
            "decode_s": decoding,
            "total_s": metrics["time_s"]["total"],
            "ttft_s": metrics["time_to_first_token_s"],
            "time_s": metrics["time_s"],
            "accepted_per_round": metrics["accepted_per_round"],
            "accepted_between_rejections": metrics["accepted_between_rejections"],
            "mean_acceptance_length": metrics["speculative_decoding"]["mean_acceptance_length"],
            "overhead_share": metrics["overhead_time_s"] / decoding if decoding else 0.0,
            "kept_tokens": len(result.kept_indices),
            "video_tokens": result.video_tokens,
            "cache_bytes": sum(metrics["cache_bytes"].values()),
            "lossless": result.lossless,
        }

    def _stock(self, question: Question, length: int, *, assisted: bool) -> dict[str, Any]:
        pair = self.pair
        started = time.perf_counter()
        inputs, _ = self._inputs(question)
        clock = Clock()
        on_device = {k: v.to(pair.target.device) if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}
        more: dict[str, Any] = {"streamer": clock}
        passes = 0
        if assisted:
            if pair.draft is None or pair.draft is pair.target:
                raise RushesError("assisted generation needs a draft")
            # A streamer is refused here, as is any cache but a dynamic one.
            more = {"assistant_model": pair.draft.model, "stopping_criteria": [clock.stopping]}
        with pair.stock_attention(), _without_padding(pair), _counted(pair) as counted:
            try:
                out = pair.target.model.generate(**on_device, do_sample=False, max_new_tokens=length, **more)
            except (ValueError, TypeError, RuntimeError, AttributeError, IndexError, KeyError) as error:
                what = "assisted generation" if assisted else "generate"
                raise RushesError(f"transformers' {what} fails on this pair: {error}") from error
            passes = counted.calls
        ended = time.perf_counter()
        tokens = out[0, inputs["input_ids"].shape[1] :].tolist()
        # Assisted, the first pass gives the tokens of a whole window.
        first_tokens = clock.first_length - inputs["input_ids"].shape[1] if assisted else 1
        first = clock.times[1] if not assisted and len(clock.times) > 1 else clock.times[0]
        accepted = len(tokens) / max(1, passes) - 1 if assisted else 0.0
        return {
            "token_ids": tokens,
            "text": pair.processor.tokenizer.decode(tokens, skip_special_tokens=True),
            "tokens": len(tokens),
            "first_tokens": first_tokens,
            "decode_s": (ended if assisted else clock.times[-1]) - first,
            "total_s": ended - started,
            "ttft_s": first - started,
            "accepted_per_round": max(0.0, accepted),
            "accepted_between_rejections": 0.0,
            "mean_acceptance_length": 1 + max(0.0, accepted),
            "overhead_share": 0.0,
            "kept_tokens": 0,  # alone there is no draft, and assisted it is blind
            "video_tokens": pair.target.count(inputs)[1],
            "cache_bytes": 0,
            "lossless": True,
        }


class Clock(transformers.generation.streamers.BaseStreamer):
    """Notes when `generate` hands over tokens; the first call is the prompt."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.first_length = 0  # of prompt and answer, when a stopping criterion is first asked

    def put(self, value: Any) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Nothing to flush."""

    def stopping(self, input_ids: torch.Tensor, scores: Any, **more: Any) -> torch.Tensor:
        """A stopping criterion that never stops: it is asked whenever tokens are there."""
        self.times.append(time.perf_counter())
        self.first_length = self.first_length or input_ids.shape[1]
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


class _Count:
    calls = 0


@contextmanager
def _counted(pair: Pair) -> Iterator[_Count]:
    """How often the target runs."""
    count = _Count()

    def note(*_: Any) -> None:
        count.calls += 1

    hook = pair.target.language_model.register_forward_hook(note)
    try:
        yield count
    finally:
        hook.remove()


@contextmanager
def _without_padding(pair: Pair) -> Iterator[None]:
    """Cut off the vocabulary's padding rows, as our own loop does: a stand-in's are noise and must not be chosen."""
    size = pair.target.vocabulary
    models = [model for model in (pair.target, pair.draft) if model is not None]
    hooks = [model.model.lm_head.register_forward_hook(lambda _, __, logits: logits[..., :size]) for model in models]
    configs = [model.text_config for model in models]
    rows = [config.vocab_size for config in configs]
    try:
        for config in configs:
            config.vocab_size = size  # assisted generation takes different paddings for different tokenizers
        yield
    finally:
        for config, was in zip(configs, rows, strict=True):
            config.vocab_size = was
        for hook in hooks:
            hook.remove()
