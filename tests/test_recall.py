"""A follow-up question starts behind what was read before, and its answer is the one that it would be anyway."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from families import FAMILIES
from rushes import Pair
from rushes.models.base import VideoLM
from rushes.recall import Prefix, Recall, shared
from rushes.result import Result
from rushes.settings import Settings
from rushes.store import Store
from tiny import noisy

LENGTH = 12
LVSPEC = "lvspec:guards=eos"  # the other guards read words, and these pairs have none
RUSH = "hippo+chain:gamma=5+lvspec:guards=eos+adaptive:overlap=always"  # by the clock a loose answer differs anyway
EVERY = ("ar", "sd", "specvlm", "hippo", "parallelvlm", LVSPEC, RUSH, "std", "random+chain+exact+sequential")


@cache
def pair(family: str = "qwen2_5_vl", noise: float = 0.05) -> Pair:
    target = FAMILIES[family].make(0, layers=3)
    return Pair(target, noisy(target, noise))


def identity(model: VideoLM, inputs: dict[str, Any], salt: int = 0) -> Tensor:
    """What a server makes from the digests of its media."""
    ids: Tensor = inputs["input_ids"][0].clone()
    for i, token in enumerate((model.config.video_token_id, model.config.image_token_id)):
        columns = (ids == token).nonzero().squeeze(1)
        ids[columns] = -1 - torch.arange(len(columns)) - 10_000 * (i + 1) - 1_000_000 * salt
    return ids


def follow_up(inputs: dict[str, Any], answer: list[int], seed: int = 1, length: int = 6) -> dict[str, Any]:
    """The same prompt, its answer, and a new question."""
    question = torch.randint(20, 90, (length,), generator=torch.Generator().manual_seed(seed))
    more = torch.cat([torch.tensor(answer), question])[None]
    made = {**inputs, "input_ids": torch.cat([inputs["input_ids"], more], dim=1)}
    for name, value in (("attention_mask", 1), ("mm_token_type_ids", 0)):
        if name in inputs:
            made[name] = torch.cat([inputs[name], torch.full_like(more, value)], dim=1)
    return made


def ask(
    models: Pair, inputs: dict[str, Any], method: str, store: Store | None, question: int | None = None, salt: int = 0
) -> tuple[Result, Recall | None]:
    recall = None if store is None else Recall(store, identity(models.target, inputs, salt), f"video {salt}")
    settings = Settings(method=method, keep=0.3, max_new_tokens=LENGTH)
    *_, last = models.events(inputs, settings, recall=recall, question_tokens=question)
    assert last.result is not None
    return last.result, recall


def same(one: Result, other: Result) -> None:
    assert one.token_ids == other.token_ids
    assert one.kept_indices == other.kept_indices


@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_follow_up_reads_only_its_question_and_answers_as_without_a_store(family: str, method: str) -> None:
    models, store = pair(family), Store(2**30)
    inputs = FAMILIES[family].inputs(models.target.model)
    first, recall = ask(models, inputs, method, store)
    assert recall is not None
    assert recall.reused == 0
    same(first, ask(models, inputs, method, None)[0])
    second = follow_up(inputs, first.token_ids)
    found, recall = ask(models, second, method, store, question=6)
    assert recall is not None
    assert recall.seen >= 1
    # All but the question and the answer's last token, which was never run; `std` moves the slots of its cache about.
    assert recall.reused == (0 if method == "std" else second["input_ids"].shape[1] - 7)
    same(found, ask(models, second, method, None, question=6)[0])
    assert found.metrics["reused_prompt_tokens"] == recall.reused


@pytest.mark.parametrize("method", ["specvlm", "hippo", "parallelvlm", RUSH])
def test_another_question_without_the_first_one_starts_behind_the_video(method: str) -> None:
    models, store = pair(), Store(2**30)
    inputs = FAMILIES["qwen2_5_vl"].inputs(models.target.model)
    ask(models, inputs, method, store)
    other = {**inputs, "input_ids": inputs["input_ids"].clone()}
    other["input_ids"][0, -5:] = torch.tensor([33, 34, 35, 36, 37])
    found, recall = ask(models, other, method, store)
    last = int((inputs["input_ids"][0] == models.target.config.video_token_id).nonzero()[-1])
    assert recall is not None
    assert recall.reused == last + 1
    same(found, ask(models, other, method, None)[0])
    again, recall = ask(models, other, method, store)
    assert recall is not None
    assert recall.reused == last + 1  # the rows that the scorer looks at are read again
    same(again, found)


def test_text_behind_a_video_that_the_draft_does_not_see_is_told_apart_by_its_positions() -> None:
    models, store = pair(), Store(2**30)
    make = FAMILIES["qwen2_5_vl"].inputs
    method = "none+chain+sampling+sequential"
    reused = []
    for salt, frames in enumerate((2, 9)):
        inputs = make(models.target.model, frames=frames)
        recall = Recall(store, identity(models.target, inputs, salt), f"video {salt}")
        settings = Settings(method=method, max_new_tokens=LENGTH, positions="reference")
        *_, last = models.events(inputs, settings, recall=recall)
        assert last.result is not None
        reused.append(recall.draft_reused)
    before = int((inputs["input_ids"][0] == models.target.config.video_token_id).nonzero()[0])
    assert reused == [0, before]  # the text in front of the video, and nothing behind it


def test_the_drafts_cache_is_used_again_when_it_keeps_the_same_tokens() -> None:
    models, store = pair(), Store(2**30)
    inputs = FAMILIES["qwen2_5_vl"].inputs(models.target.model)
    method = "uniform+chain+exact+sequential"
    first, _ = ask(models, inputs, method, store)
    second = follow_up(inputs, first.token_ids)
    found, recall = ask(models, second, method, store, question=6)
    assert recall is not None
    dropped = found.video_tokens - len(found.kept_indices)
    assert recall.draft_reused >= inputs["input_ids"].shape[1] - dropped
    same(found, ask(models, second, method, None, question=6)[0])


def test_a_question_that_moves_on_through_several_turns_and_methods_stays_exact() -> None:
    models, store = pair(), Store(2**30)
    inputs = FAMILIES["qwen2_5_vl"].inputs(models.target.model)
    for turn, method in enumerate(("ar", "parallelvlm", LVSPEC, "parallelvlm", "hippo", RUSH)):
        found, _ = ask(models, inputs, method, store, question=6 if turn else None)
        same(found, ask(models, inputs, method, None, question=6 if turn else None)[0])
        inputs = follow_up(inputs, found.token_ids, seed=turn)


def test_states_that_nobody_has_looked_at_are_a_miss_and_are_kept_from_then_on() -> None:
    models, store = pair(), Store(2**30)
    inputs = FAMILIES["qwen2_5_vl"].inputs(models.target.model)
    reused = []
    for method in ("ar", "parallelvlm", "parallelvlm", "ar", "parallelvlm"):
        found, recall = ask(models, inputs, method, store)
        assert recall is not None
        reused.append(recall.reused > 0)
        same(found, ask(models, inputs, method, None)[0])
    assert reused == [False, False, True, True, True]


def test_another_video_is_a_miss() -> None:
    models, store = pair(), Store(2**30)
    make = FAMILIES["qwen2_5_vl"].inputs
    inputs, other = make(models.target.model), make(models.target.model, seed=5)
    other["input_ids"] = inputs["input_ids"]  # the very same words
    ask(models, inputs, "specvlm", store, salt=1)
    found, recall = ask(models, other, "specvlm", store, salt=2)
    assert recall is not None
    before = int((inputs["input_ids"][0] == models.target.config.video_token_id).nonzero()[0])
    assert recall.reused == before  # the text in front of it is the same
    assert recall.seen == 0
    same(found, ask(models, other, "specvlm", None)[0])


@pytest.mark.parametrize("method", ["specvlm", RUSH, "parallelvlm"])
@pytest.mark.parametrize("after", [1, 2, 4])
def test_an_answer_that_was_broken_off_leaves_what_it_has_read(method: str, after: int) -> None:
    models, store = pair(), Store(2**30)
    inputs = FAMILIES["qwen2_5_vl"].inputs(models.target.model)
    recall = Recall(store, identity(models.target, inputs), "video")
    events = models.events(inputs, Settings(method=method, keep=0.3, max_new_tokens=LENGTH), recall=recall)
    for _ in range(after):
        next(events)
    events.close()  # type: ignore[attr-defined]
    found, again = ask(models, inputs, method, store)
    assert again is not None
    assert again.reused > 0
    same(found, ask(models, inputs, method, None)[0])


def test_a_request_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    models, store = pair(), Store(2**30)
    inputs = FAMILIES["qwen2_5_vl"].inputs(models.target.model)

    def fails(*_: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(models.target, "logits", fails)
    with pytest.raises(RuntimeError):
        ask(models, inputs, "ar", store)
    assert not list(store.of(Prefix))


def test_a_budget_keeps_what_was_used_last() -> None:
    models = pair()
    make = FAMILIES["qwen2_5_vl"].inputs
    whole = Store(2**30)
    ask(models, make(models.target.model), "ar", whole)
    store = Store(int(whole.bytes * 2.5))
    for salt in (1, 2, 1, 3):
        ask(models, make(models.target.model, seed=salt), "ar", store, salt=salt)
        assert store.bytes <= store.budget_bytes
    assert store.evicted > 0
    hits = {}
    for salt in (1, 3, 2):
        _, recall = ask(models, make(models.target.model, seed=salt), "ar", store, salt=salt)
        assert recall is not None
        hits[salt] = recall.reused
    assert hits[1] > hits[2]
    assert hits[3] > hits[2]


def test_a_store_forgets_the_least_recently_used_and_takes_nothing_too_large() -> None:
    store = Store(10)
    assert store.put("a", 1, 4)
    assert store.put("b", 2, 4)
    assert store.get("a") == 1
    assert store.put("c", 3, 4)
    assert (store.get("a"), store.get("b"), store.get("c")) == (1, None, 3)
    assert store.bytes == 8
    assert not store.put("d", 4, 11)
    assert store.get("a") == 1
    assert store.put("a", 5, 10)
    assert (store.get("a"), store.get("c"), store.bytes) == (5, None, 10)
    store.clear()
    assert (len(store), store.bytes) == (0, 0)


@pytest.mark.parametrize(("one", "other", "common"), [([1, 2], [1, 2, 3], 2), ([1, 2], [1, 3], 1), ([], [1], 0)])
def test_what_two_prompts_share(one: list[int], other: list[int], common: int) -> None:
    assert shared(torch.tensor(one), torch.tensor(other)) == common
