"""Methods side by side in one run: sample by sample, A B C, A B C, so that a noisy machine is noisy to all alike."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from rushes._transformers import transformers
from rushes.models.base import Inputs
from rushes.pair import Pair
from rushes.result import Check

PLAIN = "ar"
STOCK = "transformers"  # `transformers.generate` on the same target: the yardstick for plain decoding


@dataclass(frozen=True, slots=True)
class Question:
    """One sample: a video file and a prompt; `score` judges an answer, if the truth is known."""

    video: str
    prompt: str
    score: Callable[[str], float] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One method's run on one sample."""

    token_ids: list[int]
    text: str
    decode_s: float
    total_s: float
    accepted_per_round: float = 0.0
    kept_indices: tuple[int, ...] = ()
    video_tokens: int = 0
    overhead_share: float = 0.0
    cache_bytes: int = 0
    lossless: bool = True


@dataclass(slots=True)
class Runs:
    """All answers: `answers[method]` holds one for each sample and repeat, in the same order for every method."""

    methods: list[str]
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    checks: dict[str, list[Check]] = field(default_factory=dict)
    scores: dict[str, list[float]] = field(default_factory=dict)


def run_methods(
    pair: Pair,
    questions: Sequence[Question],
    methods: Sequence[str],
    *,
    keep: float = 0.1,
    max_new_tokens: int = 120,
    repeats: int = 3,
    each: Callable[[str, Answer], None] | None = None,
) -> Runs:
    """Answer every question with every method, `repeats` times, after one warm-up of each method that is not counted.

    Args:
        pair: The models.
        questions: The samples.
        methods: Names; `transformers` stands for the library's own `generate`. Plain decoding is always run.
        keep, max_new_tokens: As in `Pair.generate`.
        repeats: Of the whole round of methods.
        each: Called after every run, to show progress.
    """
    names = [PLAIN, *(m for m in methods if m != PLAIN)]
    runs = Runs(names, {m: [] for m in names}, {m: [] for m in names}, {m: [] for m in names})
    for name in names:
        _answer(pair, questions[0], name, keep, min(16, max_new_tokens))
    for repeat in range(repeats):
        for question in questions:
            for name in names:
                answer = _answer(pair, question, name, keep, max_new_tokens)
                runs.answers[name].append(answer)
                if each is not None:
                    each(name, answer)
                if repeat == 0:
                    plain = runs.answers[PLAIN][-1]
                    runs.checks[name].append(_check(pair, question, plain.token_ids, answer.token_ids))
                    if question.score is not None:
                        runs.scores[name].append(question.score(answer.text))
    return runs


def _answer(pair: Pair, question: Question, name: str, keep: float, max_new_tokens: int) -> Answer:
    if name == STOCK:
        return _stock_answer(pair, question, max_new_tokens)
    result = pair.generate(question.video, question.prompt, method=name, keep=keep, max_new_tokens=max_new_tokens)
    times = result.metrics["time_s"]
    return Answer(
        token_ids=result.token_ids,
        text=result.text,
        decode_s=times["decoding"],
        total_s=times["total"],
        accepted_per_round=result.metrics["accepted_per_round"],
        kept_indices=tuple(result.kept_indices),
        video_tokens=result.video_tokens,
        overhead_share=result.metrics["overhead_time_s"] / times["decoding"] if times["decoding"] else 0.0,
        cache_bytes=sum(result.metrics["cache_bytes"].values()),
        lossless=result.lossless,
    )


class _Clock(transformers.generation.streamers.BaseStreamer):
    """Notes when `generate` hands over tokens; the first call is the prompt."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: Any) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Nothing to flush."""


def _stock_answer(pair: Pair, question: Question, max_new_tokens: int) -> Answer:
    started = time.perf_counter()
    inputs, _ = pair.inputs(question.video, question.prompt)
    clock = _Clock()
    on_device = {k: v.to(pair.target.device) if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}
    with pair.stock_attention(), _without_padding(pair):
        out = pair.target.model.generate(**on_device, do_sample=False, max_new_tokens=max_new_tokens, streamer=clock)
    tokens = out[0, inputs["input_ids"].shape[1] :].tolist()
    text = pair.processor.tokenizer.decode(tokens, skip_special_tokens=True)
    return Answer(tokens, text, clock.times[-1] - clock.times[1], time.perf_counter() - started)


@contextmanager
def _without_padding(pair: Pair) -> Iterator[None]:
    """Cut off the vocabulary's padding rows, as our own loop does: a stand-in's are noise and must not be chosen."""
    size = pair.target.vocabulary
    hook = pair.target.model.lm_head.register_forward_hook(lambda _, __, logits: logits[..., :size])
    try:
        yield
    finally:
        hook.remove()


def _check(pair: Pair, question: Question, plain: list[int], tokens: list[int]) -> Check:
    if plain == tokens:
        return Check(True)
    inputs: Inputs = pair.inputs(question.video, question.prompt)[0]
    return pair.compare(inputs, plain, tokens)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `results.json` holds these fields (and `checks`, one for each differing sample)."""

    method: str
    speedup_decode: float
    speedup_end_to_end: float
    tokens_per_second: float
    accepted_per_round: float
    kept_tokens: int
    video_tokens: int
    lossless: bool
    identical: bool
    retention: float | None
    speedup_decode_range: tuple[float, float]
    speedup_end_to_end_range: tuple[float, float]
    overhead_share: float
    cache_bytes: int
    divergences: list[dict[str, Any]]


def table(runs: Runs) -> list[Row]:
    """Medians over samples and repeats of the ratios to plain decoding, pair by pair, with their quartiles."""
    plain = runs.answers[PLAIN]
    rows = []
    for name in runs.methods:
        answers = runs.answers[name]
        decode = [_per_token(p) / _per_token(a) for p, a in zip(plain, answers, strict=True)]
        total = [p.total_s / a.total_s for p, a in zip(plain, answers, strict=True)]
        scores, reference = runs.scores[name], runs.scores[PLAIN]
        rows.append(
            Row(
                method=name,
                speedup_decode=statistics.median(decode),
                speedup_end_to_end=statistics.median(total),
                tokens_per_second=statistics.median(1 / _per_token(a) for a in answers),
                accepted_per_round=statistics.mean(a.accepted_per_round for a in answers),
                kept_tokens=round(statistics.mean(len(a.kept_indices) for a in answers)),
                video_tokens=round(statistics.mean(a.video_tokens for a in plain)),
                lossless=all(a.lossless for a in answers),
                identical=all(check.identical for check in runs.checks[name]),
                retention=sum(scores) / sum(reference) if reference and sum(reference) else None,
                speedup_decode_range=_quartiles(decode),
                speedup_end_to_end_range=_quartiles(total),
                overhead_share=statistics.median(a.overhead_share for a in answers),
                cache_bytes=max(a.cache_bytes for a in answers),
                divergences=[
                    {"sample": i, "first_divergence": c.first_divergence, "logit_gap": c.logit_gap}
                    for i, c in enumerate(runs.checks[name])
                    if not c.identical
                ],
            )
        )
    return rows


def _per_token(answer: Answer) -> float:
    return answer.decode_s / max(1, len(answer.token_ids) - 1)


def _quartiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high
