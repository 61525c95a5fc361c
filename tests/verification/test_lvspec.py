"""Loose verification in whole requests: exact at one end, the draft's answer at the other, and marks that are true.

The reference for the marks is one plain forward of transformers' own model over the prompt and the whole answer: it
says what the target would have written in the place of every token, given all the tokens before it.
"""

from collections import Counter
from copy import deepcopy
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from families import FAMILIES
from rushes import Pair
from rushes.methods import SCORERS
from rushes.models.registry import adapt
from rushes.models.watching import Watch
from rushes.result import Result
from rushes.sampling import Sampling
from rushes.settings import Settings
from rushes.verification.base import Hearing, Lossless
from rushes.verification.counting import LooseJudge
from rushes.verification.lvspec import LVSpec
from rushes.window import Guess, Verdict, Window, behind, chain_parents, tree_mask
from tiny import contrary, noisy, tiny_qwen2_5_vl, tiny_text_inputs, tiny_video_inputs

LENGTH = 16
SCHEDULES = ("sequential", "pipelined", "adaptive", "pipelined:overlap=always")
LOCKSTEP = ("sequential", "pipelined:overlap=always")  # nothing hangs on the clock
CHAIN_SCORERS = [name for name in SCORERS if not SCORERS[name]().per_layer]
DRAFTS: dict[str, Any] = {
    "itself": lambda target: target,
    "same": deepcopy,
    "close": lambda target: noisy(target, 0.05),
    "far": lambda target: noisy(target, 0.2),
    "contrary": contrary,
}


@cache
def reference() -> Any:
    return tiny_qwen2_5_vl(layers=3)


@cache
def pair(draft: str) -> Pair:
    target = deepcopy(reference())
    return Pair(target, DRAFTS[draft](target))


@cache
def prompt(seed: int = 0) -> dict[str, Any]:
    return tiny_video_inputs(reference(), seed=seed)


@cache
def wanted(seed: int = 0) -> tuple[int, ...]:
    made = reference().generate(**prompt(seed), do_sample=False, max_new_tokens=LENGTH)
    return tuple(made[0, prompt(seed)["input_ids"].shape[1] :].tolist())


def ask(method: str, draft: str = "close", seed: int = 0, **how: Any) -> Result:
    how = {"gamma": 4, "keep": 0.5, "max_new_tokens": LENGTH, **how}
    return pair(draft).generate_inputs(prompt(seed), method=method, **how)


def continued(inputs: dict[str, Any], tokens: list[int]) -> dict[str, Any]:
    """The inputs of a prompt with text behind it."""
    more = torch.tensor([tokens], dtype=torch.long)
    made = {**inputs, "input_ids": torch.cat([inputs["input_ids"], more], 1)}
    made["attention_mask"] = torch.ones_like(made["input_ids"])
    if "mm_token_type_ids" in inputs:
        kinds = inputs["mm_token_type_ids"]
        made["mm_token_type_ids"] = torch.cat([kinds, kinds.new_zeros(1, len(tokens))], 1)
    return made


@torch.inference_mode()
def choices(answer: list[int], seed: int = 0) -> list[int]:
    """What the target would write in the place of each token of an answer, given those before it."""
    logits = reference()(**continued(prompt(seed), answer)).logits[0]
    return logits[-len(answer) - 1 : -1].argmax(-1).tolist()


# --- Nothing relaxed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("draft", ["same", "close", "contrary"])
def test_lambda_zero_is_plain_decoding(draft: str, schedule: str) -> None:
    for scorer, verifier in product(CHAIN_SCORERS, ("lvspec", "random")):
        method = f"{scorer}+chain+{verifier}:lambda=0:guards=eos+{schedule}"
        result = ask(method, draft)
        assert tuple(result.token_ids) == wanted(), method
        assert {word.mark.how for word in result.words} <= {"exact", "correction", "target"}, method
        verification = result.metrics["verification"]
        assert verification["relaxed"] == verification["shifted"] == verification["exempt_share"] == 0


def test_lambda_zero_of_a_target_that_drafts_for_itself() -> None:
    result = ask("std+self+lvspec:lambda=0:guards=eos+sequential")
    assert tuple(result.token_ids) == wanted()
    assert result.metrics["speculative_decoding"]["num_accepted_draft_tokens"] > 0


def test_fly_that_never_hesitates_is_plain_decoding() -> None:
    for schedule in SCHEDULES:
        result = ask(f"uniform+chain+fly:nats=9:strict=0:ahead=0:guards=eos+{schedule}")
        assert tuple(result.token_ids) == wanted()
        assert not result.lossless


# --- Everything relaxed -----------------------------------------------------------------------------------------------

ALL_PASS = ("lvspec:lambda=1:guards=none", "random:lambda=1:guards=none", "fly:nats=0:ahead=0:strict=0:guards=none")


@cache
def drafts_answer(draft: str, first: int, seed: int) -> list[int]:
    """What the draft alone writes behind the prompt and the target's first token, by transformers' own `generate`."""
    model = DRAFTS[draft](deepcopy(reference()))
    inputs = continued(prompt(seed), [first])
    made = model.generate(**inputs, do_sample=False, max_new_tokens=LENGTH - 1)
    return made[0, inputs["input_ids"].shape[1] :].tolist()


@pytest.mark.parametrize("verifier", ALL_PASS)
@pytest.mark.parametrize("draft", ["close", "far", "contrary"])
def test_everything_relaxed_is_what_the_draft_would_write(draft: str, verifier: str) -> None:
    for seed in range(3):
        result = ask(f"full+chain+{verifier}+sequential", draft, seed, gamma=LENGTH, keep=1.0)
        alone = drafts_answer(draft, result.token_ids[0], seed)
        assert result.token_ids[0] == wanted(seed)[0]
        assert result.token_ids[1:-1] == alone[:-1], "one window, and the target's token behind it"
        assert result.token_ids[-1] == choices(result.token_ids, seed)[-1]
        assert tuple(result.token_ids) != wanted(seed)
        assert result.metrics["speculative_decoding"]["draft_acceptance_rate"] == 1
        assert result.words[-1].mark.how == result.words[0].mark.how == "target"


@pytest.mark.parametrize("verifier", ALL_PASS)
@pytest.mark.parametrize("draft", ["same", "close", "contrary"])
def test_everything_relaxed_passes_in_short_windows(draft: str, verifier: str) -> None:
    for scorer in ("full", "uniform", "none"):
        result = ask(f"{scorer}+chain+{verifier}+sequential", draft)
        made = result.metrics["speculative_decoding"]
        assert made["draft_acceptance_rate"] == 1
        assert made["acceptance_histogram"] == [0, 0, 0, 0, 3], "1 + 3 windows of 4 and the target's token behind each"
        hows = [word.mark.how for word in result.words]
        assert [i for i, how in enumerate(hows) if how == "target"] == [0, 5, 10, 15]
        assert set(hows) <= {"exact", "relaxed", "target"}
        assert not result.lossless


def test_everything_relaxed_takes_the_guesses_too() -> None:
    """Draft and target at once: no token but the first and the last is the target's, as every guess is the next one."""
    for draft, verifier in product(("close", "contrary"), ALL_PASS[:2]):
        result = ask(f"full+chain+{verifier}+pipelined:overlap=always", draft, keep=1.0)
        alone = drafts_answer(draft, result.token_ids[0], 0)
        assert result.token_ids[1:-1] == alone[:-1]
        assert result.metrics["speculative_decoding"]["draft_acceptance_rate"] == 1
        assert {word.mark.how for word in result.words[1:-1]} <= {"exact", "relaxed"}
    # The state at a guess is not there yet: it is strict, and the target's own choice stands where it was wrong.
    result = ask("full+chain+lvspec:lambda=1:at=token:guards=none+pipelined:overlap=always", "far", keep=1.0)
    hows = Counter(word.mark.how for word in result.words)
    assert hows["correction"] > 0
    assert hows["relaxed"] > 0
    result = ask("full+chain+lvspec:lambda=1:at=token:guards=none+pipelined:overlap=always", "contrary", keep=1.0)
    assert tuple(result.token_ids) == wanted(), "each guess is wrong, and nothing is written behind a wrong guess"


# --- The marks are true -----------------------------------------------------------------------------------------------

VERIFIERS = (
    "lvspec:lambda=0.7:guards=eos",
    "lvspec:lambda=0.4:n=1:guards=eos",
    "lvspec:lambda=0.7:layer=1:at=token:guards=eos",
    "lvspec:lambda=0.7:layer=-2:reference=answer:guards=eos",
    "lvspec:lambda=1:guards=none",
    "random:lambda=0.7:guards=eos",
    "fly:nats=0.1:ahead=1:strict=1:guards=eos",
)


def check_marks(result: Result, seed: int, branches: bool = False) -> Counter[str]:
    """Every mark against the target's own choices; of several candidates none is "the other"."""
    assert len(result.words) == len(result.token_ids)
    hows: Counter[str] = Counter()
    for word, token, choice in zip(result.words, result.token_ids, choices(result.token_ids, seed), strict=True):
        mark = word.mark
        hows[mark.how] += 1
        assert word.token_id == token
        if mark.how in ("relaxed", "shifted"):
            assert mark.other == choice != token, mark
        else:
            assert token == choice, mark
        if mark.how == "correction":
            assert mark.other != token
            assert mark.other is not None or branches
        if mark.how in ("exact", "target"):
            assert mark.other is None
        assert mark.strict == (mark.how != "relaxed") or mark.how == "exact"
    accepted = result.metrics["speculative_decoding"]["num_accepted_draft_tokens"]
    assert sum(word.mark.drafted for word in result.words) == accepted
    assert hows["relaxed"] == result.metrics["verification"]["relaxed"]
    assert hows["shifted"] == result.metrics["verification"]["shifted"]
    return hows


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("verifier", VERIFIERS)
def test_what_the_target_would_have_said_is_true(verifier: str, schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hows: Counter[str] = Counter()
    guesses: Counter[str] = Counter()
    with_guess = LooseJudge._with_guess

    def spy(*args: Any) -> Verdict:
        verdict = with_guess(*args)
        guesses[verdict.marks[-1].how] += 1
        return verdict

    monkeypatch.setattr(LooseJudge, "_with_guess", spy)
    for scorer, (draft, seed) in product(("uniform", "uvprune"), (("close", 1), ("far", 2))):
        result = ask(f"{scorer}+chain+{verifier}+{schedule}", draft, seed)
        assert result.words[0].mark.how == "target", "no window stands before the first token"
        hows += check_marks(result, seed)
        assert not result.lossless
        assert result.notes[0] == "verified loosely: the answer may differ from the target's own (lossless: false)"
        assert sum("loose" in note for note in result.notes) == 1
    if schedule in LOCKSTEP:  # otherwise the draft may be left to rest
        assert hows["relaxed"] > 0
        assert hows["exact"] > 0
        assert hows["correction"] > 0 or "lambda=1" in verifier
    if schedule == "sequential":
        assert not guesses
    if schedule == "pipelined:overlap=always":
        assert guesses["exact"] + guesses["relaxed"] > 0
        assert guesses["relaxed"] > 0 or verifier not in ("lvspec:lambda=1:guards=none", "random:lambda=0.7:guards=eos")


def test_shifted_words_and_those_of_lossless_methods() -> None:
    hows: Counter[str] = Counter()
    for schedule, seed in product(LOCKSTEP, range(5)):
        method = f"uniform+chain+lvspec:lambda=0.3:w=3:n=1:guards=eos+{schedule}"
        hows += check_marks(ask(method, "far", seed), seed)
    assert hows["shifted"] > 0
    for method in ("ar", "sd", "specvlm", "std", "sage", "parallelvlm", "full+chain+exact+pipelined:overlap=always"):
        result = ask(method, gamma=None)
        assert result.lossless
        assert check_marks(result, 0, branches=True)["relaxed"] == 0


def test_the_self_drafter_is_judged_loosely_too() -> None:
    hows = Counter[str]()
    for seed in range(3):
        hows += check_marks(ask("std+self+lvspec:lambda=0.7:guards=eos+sequential", keep=0.1, seed=seed), seed)
    assert hows["relaxed"] > 0


def test_a_repetition_penalty_counts_what_was_accepted() -> None:
    """With everything relaxed the target's token behind a window knows the draft's words, and does not repeat them."""
    how = {"gamma": LENGTH, "keep": 1.0, "repetition_penalty": 1e6}
    for verifier in ("lvspec:lambda=1:guards=none", "lvspec:lambda=0.5:guards=eos"):
        result = ask(f"full+chain+{verifier}+sequential", "close", **how)
        said = [*prompt()["input_ids"][0].tolist(), *result.token_ids]
        assert result.token_ids[-1] not in said[:-1]
        assert len(set(result.token_ids)) == LENGTH


@pytest.mark.parametrize("schedule", LOCKSTEP)
def test_a_request_repeats_itself(schedule: str) -> None:
    answers = [ask(f"uniform+chain+random:lambda=0.5:seed={s}:guards=eos+{schedule}", "far") for s in (0, 0, 1, 2)]
    assert answers[0].words == answers[1].words
    assert len({tuple(answer.token_ids) for answer in answers}) > 1
    one, other = (ask(f"uniform+chain+lvspec:lambda=0.7:guards=eos+{schedule}", "far") for _ in range(2))
    assert one.words == other.words


@pytest.mark.parametrize("draft", ["close", "contrary"])
def test_the_end_of_sequence_in_a_relaxed_window(draft: str) -> None:
    """With the guard, the answer ends where the target says so; the draft's own end is not taken."""
    for schedule in LOCKSTEP:
        free = ask(f"full+chain+lvspec:lambda=1:guards=none+{schedule}", draft, keep=1.0)
        for token in sorted(set(free.token_ids))[::2]:
            settings = Settings(
                method=f"full+chain+lvspec:lambda=1:guards=none+{schedule}", gamma=4, keep=1.0, max_new_tokens=LENGTH
            )
            made = [t for step in pair(draft).tokens(prompt(), settings, (token,)) for t in step]
            assert made == free.token_ids[: free.token_ids.index(token) + 1]
            guarded = Settings(
                method=f"full+chain+lvspec:lambda=1:guards=eos+{schedule}", gamma=4, keep=1.0, max_new_tokens=LENGTH
            )
            made = [t for step in pair(draft).tokens(prompt(), guarded, (token,)) for t in step]
            said = choices(made)
            assert [t == token for t in made] == [t == token for t in said], "it ends where it would, and nowhere else"
            assert token not in made[:-1]


def test_without_a_video_it_is_exact() -> None:
    inputs = tiny_text_inputs(reference())
    length = inputs["input_ids"].shape[1]
    plain = reference().generate(**inputs, do_sample=False, max_new_tokens=LENGTH)[0, length:].tolist()
    for schedule in SCHEDULES:
        result = pair("far").generate_inputs(
            inputs, method=f"uniform+chain+lvspec:lambda=1:guards=eos+{schedule}", gamma=4, max_new_tokens=LENGTH
        )
        assert result.token_ids == plain
        assert result.lossless
        assert result.notes == ("lvspec: no video in the prompt to be strict about; verified exactly, and lossless",)
        assert {word.mark.how for word in result.words} <= {"exact", "correction", "target"}
        assert len(result.words) == LENGTH
    result = pair("far").generate_inputs(
        inputs, method="uniform+chain+random:lambda=1:guards=none+sequential", gamma=4, max_new_tokens=LENGTH
    )
    assert not result.lossless
    assert result.token_ids != plain


# --- The judge by hand ------------------------------------------------------------------------------------------------


def facing(*cosines: float) -> Tensor:
    """States of which each has such a cosine with the only direction of the video."""
    c = torch.tensor(cosines)
    return 7 * torch.stack([c, (1 - c * c).sqrt()], dim=1)


VIDEO_STATES = torch.tensor([[1.0, 0.0]])


def judge_of(**how: Any) -> Any:
    made = LVSpec(n=1, w=0, guards=("none",), **how).begin(Hearing(VIDEO_STATES))
    made.verify(Window([], ()), logits(1), Sampling(), torch.Generator())  # the first token
    return made


def logits(rows: int) -> Tensor:
    """(rows, 9): the target wants 8 everywhere."""
    return torch.nn.functional.one_hot(torch.full((rows,), 8), 9).float()


def hear(judge: Any, states: Tensor, tokens: int, guess: bool = False) -> Any:
    window = Window(list(range(tokens)), chain_parents(tokens))
    asked = (lambda: Guess(7)) if guess else None
    return judge.verify(window, logits(tokens + 1), Sampling(), torch.Generator(), asked, states)


def test_which_state_stands_for_a_candidate() -> None:
    """Row 0 is the last emitted token's, the one before the first candidate."""
    states = facing(0.1, 0.2, 0.9, 0.3)
    before = hear(judge_of(lambda_=0.67), states, 3)
    assert before.path == [0, 1]
    assert [mark.relevance for mark in before.marks] == pytest.approx([0.1, 0.2, 0.9])
    at = hear(judge_of(lambda_=0.67, at="token"), states, 3)
    assert at.path == [0]
    assert [mark.relevance for mark in at.marks] == pytest.approx([0.2, 0.9])


@pytest.mark.parametrize(("share", "path"), [(0.0, []), (0.25, []), (0.5, []), (0.75, [0, 1, 2]), (1.0, [0, 1, 2, 3])])
def test_the_share_decides_how_far_it_goes(share: float, path: list[int]) -> None:
    judge = judge_of(lambda_=share)
    assert hear(judge, facing(0.6, 0.2, 0.1, 0.9, 0.0), 4).path == path
    metrics = judge.metrics()
    assert metrics["exempt_share"] == share
    assert metrics["relaxed"] == len(path)
    assert metrics["relevance_bytes"] == 8
    assert metrics["relevance_time_s"] > 0


def test_the_answer_as_reference_remembers_every_candidate_once() -> None:
    window, answer = judge_of(lambda_=0.5), judge_of(lambda_=0.5, reference="answer")
    for judge in (window, answer):
        assert hear(judge, facing(0.8, 0.9, 0.0), 2).path == [0]
    # Against 0.8 and 0.9, 0.3 and 0.4 are the lower half of four.
    assert hear(window, facing(0.3, 0.4, 0.0), 2).path == [0]
    assert hear(answer, facing(0.3, 0.4, 0.0), 2).path == [0, 1]
    # 0.85 is the second of five, 0.35 the fourth.
    assert hear(answer, facing(0.85, 0.0), 1).path == []
    assert hear(answer, facing(0.35, 0.0), 1).path == [0]


@pytest.mark.parametrize("reference", ["window", "answer"])
def test_a_guess_is_one_more_candidate(reference: str) -> None:
    """Of two, 0.4 relaxes none; were the first counted twice, it would relax one of three."""
    made = hear(judge_of(lambda_=0.49, reference=reference), facing(0.3, 0.2), 1, guess=True)
    assert made.path == []
    judge = judge_of(lambda_=0.4, reference=reference)
    passed = judge.verify(
        Window([8], (-1,)), logits(2), Sampling(), torch.Generator(), lambda: Guess(7), facing(0.3, 0.2)
    )
    assert (passed.path, passed.next_token, passed.marks[-1].how) == ([0], 8, "correction")
    assert passed.marks[-1].relevance == pytest.approx(0.2)
    judge = judge_of(lambda_=0.5, reference=reference)
    passed = judge.verify(
        Window([8], (-1,)), logits(2), Sampling(), torch.Generator(), lambda: Guess(7), facing(0.3, 0.2)
    )
    assert (passed.path, passed.next_token, passed.marks[-1].how) == ([0], 7, "relaxed")
    judge = judge_of(lambda_=0.5, reference=reference)
    passed = judge.verify(
        Window([8], (-1,)), logits(2), Sampling(), torch.Generator(), lambda: Guess(7), facing(0.2, 0.3)
    )
    assert (passed.next_token, passed.marks[-1].strict) == (8, True)


def test_the_answer_as_reference_remembers_guesses() -> None:
    judge = judge_of(lambda_=0.5, reference="answer")
    assert hear(judge, facing(0.9), 0, guess=True).next_token == 8, "strict: the only one of one"
    assert hear(judge, facing(0.5, 0.0), 1).path == [0], "the lower one of two"


def test_without_states_of_a_video_there_is_nothing_to_compare() -> None:
    hearing = Hearing(None)
    assert isinstance(LVSpec().begin(hearing), Lossless)
    assert len(hearing.notes) == 1
    assert isinstance(LVSpec().begin(Hearing(torch.zeros(0, 4))), Lossless)


@pytest.mark.parametrize(("layer", "watched"), [(-1, 28), (28, 28), (1, 1), (-28, 1), (-2, 27), (14, 14)])
def test_layers_are_counted_from_both_ends(layer: int, watched: int) -> None:
    rule = LVSpec(layer=layer)
    rule.check(28, 100)
    assert rule.watches(28) == watched


# --- The states -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava_onevision", "llava_next_video"])
@torch.inference_mode()
def test_the_watched_states_are_transformers_own(family: str) -> None:
    """Behind every layer, of the prompt and of a window behind it; behind the last one after the final norm."""
    model = FAMILIES[family].make(layers=3)
    inputs = FAMILIES[family].inputs(model)
    window = [11, 12, 13, 14]
    stock, read = deepcopy(model), []
    for layer in stock.model.language_model.layers:
        layer.register_forward_pre_hook(
            lambda _, args, kwargs: read.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
        )
    whole = stock(**continued(inputs, window), output_hidden_states=True).hidden_states
    if family == "qwen3_vl":  # what its first layers write is not what the next ones read: more of the video is added
        whole = (*read, whole[-1])
    target = adapt(model, "target")
    prompt = target.prompt(inputs, target.encode(inputs))
    for layer in (1, 2, 3):
        watch = Watch(layer, 3)
        cache = target.new_cache(len(prompt) + len(window))
        target.prefill(prompt, cache, None, watch)
        assert watch.states is not None
        states = whole[layer][0]
        assert torch.allclose(watch.states, states[: len(prompt)], atol=2e-4), layer
        mask = behind(cache.length, tree_mask(chain_parents(len(window) - 1), target.device))
        places = target.rows_at(prompt.next_position, [0, 1, 2, 3], prompt.positions.shape[0])
        target.forward_watched(target.embed(window), places, cache, mask, watch)
        assert torch.allclose(watch.states, states[len(prompt) :], atol=2e-4), layer
        assert not torch.allclose(watch.states, whole[layer - 1][0, len(prompt) :], atol=0.1)


@pytest.mark.parametrize("schedule", LOCKSTEP)
@pytest.mark.parametrize("layer", [1, 2, -2, -1])
def test_a_draft_that_is_the_target_runs_through_the_same_layers_unseen(layer: int, schedule: str) -> None:
    method = f"uvprune+chain+lvspec:lambda=0.7:layer={layer}:guards=eos+{schedule}"
    one, other = (ask(method, draft, keep=0.1) for draft in ("itself", "same"))
    assert one.token_ids == other.token_ids
    assert [word.mark for word in one.words] == [word.mark for word in other.words]
    found = [word.mark.relevance for word in one.words if word.mark.relevance is not None]
    assert len(set(found)) > 3


def test_relevance_is_that_of_the_watched_layer() -> None:
    """Recomputed from transformers' own states of the prompt and the answer."""
    for layer, at in product((1, -2, -1), ("before", "token")):
        result = ask(f"uniform+chain+lvspec:lambda=0.7:layer={layer}:at={at}:n=3:guards=eos+sequential", "far")
        with torch.inference_mode():
            whole = reference()(**continued(prompt(), result.token_ids), output_hidden_states=True).hidden_states
        states = whole[layer][0]
        video = states[FAMILIES["qwen2_5_vl"].cells(reference(), prompt()).nonzero()[:, 0]]
        answer = states[-LENGTH - (at == "before") :][:LENGTH]
        cosines = torch.cosine_similarity(answer[:, None], video[None], dim=-1)
        expected = cosines.topk(3, dim=-1).values.mean(-1).tolist()
        checked = 0
        for word, relevance in zip(result.words, expected, strict=True):
            # The state at a rejected token went with it.
            if word.mark.relevance is not None and (at == "before" or word.mark.drafted):
                assert word.mark.relevance == pytest.approx(relevance, abs=1e-4)
                checked += 1
        assert checked > 3
