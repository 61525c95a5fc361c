"""For every family: greedy answers equal transformers' own generate, with pictures, several videos and none."""

from copy import deepcopy
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch

from families import FAMILIES
from ran import note
from rushes import Pair
from rushes.models.registry import adapt
from tiny import contrary, noisy, tiny_text_inputs

pytestmark = pytest.mark.xdist_group("support")  # one process notes what ran
METHODS = ("ar", "sd", "specvlm", "full+tree+exact+sequential")
LENGTH = 20
DRAFTS = {
    "same": lambda family, target: deepcopy(target),
    "close": lambda family, target: noisy(target, 0.05),
    "stranger": lambda family, target: FAMILIES[family].make(9, hidden=32, layers=1),
    "contrary": lambda family, target: contrary(target),
}


@cache
def model(family: str, seed: int = 0) -> Any:
    """Never wrapped in a Pair: the reference runs transformers' stock attention."""
    return FAMILIES[family].make(seed)


@cache
def pair(family: str, draft: str) -> Pair:
    return Pair(deepcopy(model(family)), DRAFTS[draft](family, model(family)))


@cache
def prompt(family: str, kind: str) -> dict[str, Any]:
    reference, make = model(family), FAMILIES[family].inputs
    if kind == "text":
        return tiny_text_inputs(reference)
    options = {
        "a video": {},
        "another video": {"seed": 1},
        "an image beside a video": {"seed": 2, "image": True},
        "two videos": {"seed": 3, "videos": 2},
        "two videos and an image": {"seed": 4, "videos": 2, "image": True},
        "an image alone": {"videos": 0, "image": True},
        "no text before": {"seed": 5, "text_before": 0},
        "one token behind": {"seed": 6, "text_after": 1},
    }
    return make(reference, **options[kind])


KINDS = (
    "a video",
    "another video",
    "an image beside a video",
    "two videos",
    "two videos and an image",
    "no text before",
    "one token behind",
    "an image alone",
    "text",
)
CASES = [("a video", draft) for draft in DRAFTS] + [(kind, "close") for kind in KINDS if kind != "a video"]


@cache
def expected(family: str, kind: str) -> tuple[int, ...]:
    inputs = prompt(family, kind)
    made = model(family).generate(**inputs, do_sample=False, max_new_tokens=LENGTH)
    return tuple(made[0, inputs["input_ids"].shape[1] :].tolist())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("kind", "draft"), CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_prompt_equals_generate(family: str, kind: str, draft: str, name: str) -> None:
    wanted = expected(family, kind)
    for gamma, keep in product((1, 5), (0.0, 0.3, 1.0)) if name == "specvlm" else ((5, 0.1),):
        result = pair(family, draft).generate_inputs(
            prompt(family, kind), method=name, gamma=gamma, keep=keep, max_new_tokens=LENGTH
        )
        assert tuple(result.token_ids) == wanted, (gamma, keep)
        note(family, prompts=kind)
        if name == "specvlm":
            assert len(result.kept_indices) == int(keep * result.video_tokens)
        if draft == "same" and name == "sd":
            assert result.metrics["speculative_decoding"]["draft_acceptance_rate"] == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_vary_and_hang_on_the_video(family: str) -> None:
    """Or equality would prove little."""
    wanted = expected(family, "a video")
    assert len(set(wanted)) > LENGTH // 4
    others = [FAMILIES[family].inputs(model(family), seed=0) for _ in range(3)]
    for seed, inputs in enumerate(others):
        generator = torch.Generator().manual_seed(seed)
        inputs["pixel_values_videos"] = torch.randn(inputs["pixel_values_videos"].shape, generator=generator)
    made = [model(family).generate(**i, do_sample=False, max_new_tokens=LENGTH)[0, -LENGTH:].tolist() for i in others]
    assert any(tuple(answer) != wanted for answer in made)


@pytest.mark.parametrize("family", FAMILIES)
def test_less_of_the_video_is_accepted_less_often(family: str) -> None:
    """If pruning did nothing to the draft, its acceptance would not move."""
    accepted = dict.fromkeys((0.0, 1.0), 0)
    for keep, kind in product(accepted, ("a video", "another video", "two videos")):
        result = pair(family, "same").generate_inputs(
            prompt(family, kind), method="uniform+chain+exact+sequential", keep=keep, max_new_tokens=LENGTH
        )
        accepted[keep] += result.metrics["speculative_decoding"]["num_accepted_draft_tokens"]
    assert accepted[0.0] < accepted[1.0]


@pytest.mark.parametrize("kind", ["a video", "two videos", "two videos and an image", "text"])
@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_a_prompt_holds_what_the_model_embeds(family: str, kind: str) -> None:
    inputs = prompt(family, kind)
    target = adapt(deepcopy(model(family)), "target")
    made = target.prompt(inputs, target.encode(inputs))
    cells = FAMILIES[family].cells(model(family), inputs)
    assert made.video_columns.tolist() == cells.nonzero()[:, 0].tolist()
    assert target.count(inputs) == (len(cells), int(cells.sum()))
    assert sum(t * h * w for t, h, w in made.grids) == int(cells.sum())
    assert len(made.grids) == (0 if kind == "text" else 2 if "two" in kind else 1)
    assert made.positions.shape == (made.positions.shape[0], len(cells))
    embeds = model(family)(**inputs, output_hidden_states=True).hidden_states[0][0]
    torch.testing.assert_close(made.embeds, embeds)
    # Pruning takes cells only: text, pictures and what ends a video stay where they are.
    kept = torch.arange(0, int(cells.sum()), 4)
    pruned = made.prune(kept)
    stays = ~cells
    stays[made.video_columns[kept]] = True
    assert torch.equal(pruned.embeds, made.embeds[stays])
    assert torch.equal(pruned.positions, made.positions[:, stays])
    assert pruned.next_position == made.next_position


@pytest.mark.parametrize("family", FAMILIES)
def test_both_models_still_generate_after_being_wrapped(family: str) -> None:
    wrapped = deepcopy(model(family))
    Pair(wrapped, noisy(wrapped, 0.05)).generate_inputs(prompt(family, "a video"), method="specvlm", max_new_tokens=8)
    for kind in ("a video", "text"):
        inputs = prompt(family, kind)
        made = wrapped.generate(**inputs, do_sample=False, max_new_tokens=LENGTH)
        assert tuple(made[0, inputs["input_ids"].shape[1] :].tolist()) == expected(family, kind)
    rows = [tiny_text_inputs(wrapped, length, seed=length)["input_ids"][0] for length in (4, 9)]
    ids = torch.stack([torch.cat([row.new_zeros(9 - len(row)), row]) for row in rows])  # padded on the left
    batch = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    for beams in (1, 2):
        made = [
            m.generate(**batch, do_sample=False, num_beams=beams, max_new_tokens=8) for m in (wrapped, model(family))
        ]
        assert torch.equal(*made)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_draft_with_a_padded_vocabulary(family: str) -> None:
    """Rows behind the last token are padding, of which the two models may have different numbers."""
    draft = FAMILIES[family].make(9, hidden=32, vocab=128)
    for target, small in ((deepcopy(model(family)), draft), (draft, deepcopy(model(family)))):
        mixed = Pair(target, small)
        assert mixed.target.vocabulary == mixed.draft.vocabulary == 96
        for name in ("ar", "sd", "specvlm"):
            made = mixed.generate_inputs(prompt(family, "a video"), method=name, max_new_tokens=LENGTH)
            assert max(made.token_ids) < 96
            if small is draft:
                assert tuple(made.token_ids) == expected(family, "a video")
