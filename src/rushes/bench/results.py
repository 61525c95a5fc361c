"""From the answers of a run to the rows of `results.json`: medians, intervals, ratios to plain decoding."""

import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rushes.bench.retention import retention
from rushes.bench.trial import PLAIN, Trial

SCHEMA = 1
ROUNDS = 1000

Record = dict[str, Any]


def rows_of(trials: Sequence[Trial], records: Iterable[Record]) -> list[dict[str, Any]]:
    """A row for each trial that gave an answer; ratios are taken answer by answer, within a round."""
    by_trial: dict[str, dict[tuple[str, int], Record]] = {trial.name: {} for trial in trials}
    for record in records:
        if "error" not in record and record["trial"] in by_trial:
            by_trial[record["trial"]][record["sample"], record["repeat"]] = record
    plain = by_trial.get(PLAIN, {})
    return [_row(trial, by_trial[trial.name], plain) for trial in trials if by_trial[trial.name]]


def skipped(records: Iterable[Record]) -> list[dict[str, str]]:
    """What could not be run, and why; each trial and sample once."""
    found: dict[tuple[str, str], str] = {}
    for record in records:
        if "error" in record:
            found.setdefault((record["trial"], record["sample"]), record["error"])
    return [{"trial": trial, "sample": sample, "reason": reason} for (trial, sample), reason in found.items()]


def _row(trial: Trial, mine: dict[tuple[str, int], Record], plain: dict[tuple[str, int], Record]) -> dict[str, Any]:
    both = [(one, plain[key]) for key, one in mine.items() if key in plain]
    answers = list(mine.values())
    checks = [one["check"] for one in answers if "check" in one]
    scored = _scores(both)
    row: dict[str, Any] = {
        "method": trial.name,
        "recipe": trial.method,
        "group": trial.group,
        "keep": trial.keep,
        "gamma": trial.gamma,
        "samples": len({one["sample"] for one in answers}),
        "answers": len(answers),
        "lossless": all(one["lossless"] for one in answers),
    }
    alone = [(one, one) for one in answers]
    decoded = [pair for pair in both if all(map(_decoded, pair))]
    long = [pair for pair in alone if _decoded(pair[0])]
    figures: dict[str, tuple[list[tuple[Record, Record]], Callable[[Record, Record], float]]] = {
        "speedup_decode": (decoded, lambda one, base: _per_token(base) / _per_token(one)),
        "speedup_end_to_end": (both, lambda one, base: _whole(base) / _whole(one)),
        "tokens_per_second": (long, lambda one, _: 1 / _per_token(one)),
        "time_to_first_token_s": (alone, lambda one, _: one["ttft_s"]),
        "per_token_s": (long, lambda one, _: _per_token(one)),
        "total_s": (alone, lambda one, _: one["total_s"]),
    }
    for name, (pairs, value) in figures.items():
        row[name], row[f"{name}_interval"] = _median(pairs, value)
    for name in ("accepted_per_round", "accepted_between_rejections", "mean_acceptance_length", "overhead_share"):
        row[name] = statistics.fmean(one[name] for one in answers)
    row["kept_tokens"] = round(statistics.fmean(one["kept_tokens"] for one in answers))
    row["video_tokens"] = round(statistics.fmean(one["video_tokens"] for one in answers))
    peaks = [one["peak_bytes"] for one in answers if one["peak_bytes"] is not None]
    row["peak_bytes"] = max(peaks, default=None)
    row["cache_bytes"] = max(one["cache_bytes"] for one in answers)
    row["identical"] = bool(checks) and all(check["identical"] for check in checks)
    row["identical_share"] = statistics.fmean(check["identical"] for check in checks) if checks else None
    row["divergences"] = [
        {"sample": one["sample"], **{k: one["check"][k] for k in ("first_divergence", "logit_gap")}}
        for one in answers
        if "check" in one and not one["check"]["identical"]
    ]
    row["quality"] = statistics.fmean(ours for ours, _ in scored) if scored else None
    kept = _retention(scored)
    row["retention"], row["retention_interval"] = (None, None) if kept is None else (kept[0], kept[1])
    return row


def _decoded(record: Record) -> bool:
    """Was there anything to decode behind the first tokens, which belong to the prefill?"""
    return bool(record["tokens"] > record.get("first_tokens", 1) and record["decode_s"] > 0)


def _per_token(record: Record) -> float:
    """Seconds for each token behind those that came with the prefill."""
    return float(record["decode_s"]) / (record["tokens"] - record.get("first_tokens", 1))


def _whole(record: Record) -> float:
    """Seconds for each token, end to end."""
    return float(record["total_s"]) / max(1, record["tokens"])


def _scores(pairs: Sequence[tuple[Record, Record]]) -> list[tuple[float, float]]:
    """The score of every sample and plain decoding's, means of its repeats: these are not videos of their own."""
    found: dict[str, list[tuple[float, float]]] = {}
    for one, base in pairs:
        if one.get("score") is not None and base.get("score") is not None:
            found.setdefault(one["sample"], []).append((one["score"], base["score"]))
    return [(statistics.fmean(a for a, _ in some), statistics.fmean(b for _, b in some)) for some in found.values()]


def _retention(scored: list[tuple[float, float]]) -> tuple[float, tuple[float, float]] | None:
    if not scored or not sum(base for _, base in scored):
        return None
    kept = retention([ours for ours, _ in scored], [base for _, base in scored], statistics.fmean)
    return kept.value, (kept.low, kept.high)


def _median(
    pairs: Sequence[tuple[Record, Record]], value: Callable[[Record, Record], float]
) -> tuple[float | None, tuple[float, float] | None]:
    """The median over all answers, and its 95 % bootstrap interval: samples are drawn again, with all their repeats."""
    if not pairs:
        return None, None
    by_sample: dict[str, list[float]] = {}
    for one, base in pairs:
        by_sample.setdefault(one["sample"], []).append(value(one, base))
    groups = list(by_sample.values())
    everything = [v for group in groups for v in group]
    # A single sample has only its repeats to be drawn from.
    drawn_from = groups if len(groups) > 1 else [[v] for v in everything]
    dice = random.Random(0)
    medians = sorted(
        statistics.median(v for group in dice.choices(drawn_from, k=len(drawn_from)) for v in group)
        for _ in range(ROUNDS)
    )
    return statistics.median(everything), (medians[int(0.025 * ROUNDS)], medians[int(0.975 * ROUNDS)])
