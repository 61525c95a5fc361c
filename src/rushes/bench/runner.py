"""Runs trials side by side: sample by sample, A B C, A B C, so that a noisy machine is noisy to all alike."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rushes.bench.journal import Journal
from rushes.bench.trial import PLAIN, Question, Trial
from rushes.errors import RushesError


class Bench(Protocol):
    """What is measured; a fake one in tests."""

    def answer(self, trial: Trial, question: Question, *, short: bool = False) -> dict[str, Any]:
        """One answer and its figures; `short` is a warm-up.

        Raises:
            RushesError: The method does not apply to the pair, or the sample cannot be read.
        """
        ...

    def check(self, question: Question, plain: list[int], tokens: list[int]) -> dict[str, Any]:
        """An answer held against plain decoding's: identical, first_divergence, logit_gap."""
        ...


def run(
    bench: Bench,
    trials: Sequence[Trial],
    questions: Sequence[Question],
    journal: Journal,
    *,
    repeats: int,
    each: Callable[[str], None] = lambda name: None,
) -> None:
    """Answer every question with every trial, `repeats` times; what the journal holds already is not run again.

    A trial that fails on a sample, or a sample that cannot be read, is written down with its reason and is not fatal.

    Args:
        trials: Plain decoding must be the first; the others are compared with it.
        each: Called after every answer with the trial's name, to show progress.

    Raises:
        RushesError: No questions, or the journal cannot be written.
    """
    if not questions:
        raise RushesError("no samples: nothing to measure")
    assert trials[0].name == PLAIN, "everything is compared with plain decoding"
    warm: set[str] = set()
    for repeat in range(repeats):
        for question in questions:
            for trial in trials:
                if (trial.name, question.name, repeat) not in journal:
                    record = _record(bench, trial, question, warm)
                    if "error" not in record:
                        record |= _judged(bench, trial, question, record, journal, repeat)
                    journal.add(trial.name, question.name, repeat, record)
                each(trial.name)


def _record(bench: Bench, trial: Trial, question: Question, warm: set[str]) -> dict[str, Any]:
    try:
        if trial.name not in warm:
            bench.answer(trial, question, short=True)  # not counted: allocations, lazy imports, first measurements
            warm.add(trial.name)
        return bench.answer(trial, question)
    except RushesError as error:
        return {"error": str(error)}


def _judged(
    bench: Bench, trial: Trial, question: Question, record: dict[str, Any], journal: Journal, repeat: int
) -> dict[str, Any]:
    """What is known of an answer beside its speed."""
    made: dict[str, Any] = {}
    if question.score is not None:
        made["score"] = question.score(record["text"])
    plain = record if trial.name == PLAIN else journal[PLAIN, question.name, repeat]
    if "error" not in plain:  # in every repeat: what hangs on the clock may differ in one of them
        made["check"] = _check(bench, question, plain["token_ids"], record["token_ids"])
    return made


def _check(bench: Bench, question: Question, plain: list[int], tokens: list[int]) -> dict[str, Any]:
    if plain == tokens:
        return {"identical": True}
    try:
        return bench.check(question, plain, tokens)
    except RushesError:  # the answer was measured all the same
        same = min(len(plain), len(tokens))
        first = next((i for i in range(same) if plain[i] != tokens[i]), same)
        return {"identical": False, "first_divergence": first, "logit_gap": None}
