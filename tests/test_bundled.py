"""The bundled pair: what it says is what `transformers.generate` says, at its own size and as a stand-in."""

import pytest
import torch

from rushes._transformers import transformers
from rushes.checkpoints import load
from rushes.demo import bundled
from rushes.demo.held_out import DEMO_SCENES, DEMO_SECONDS, held_out_clip, write_clip
from rushes.models.base import Inputs
from rushes.pair import Pair

LENGTH = 110
METHODS = ("sd", "specvlm", "uniform+chain+exact+sequential", "none+tree+exact+sequential")


@pytest.fixture(scope="module")
def pair() -> Pair:
    return load(bundled.TARGET, bundled.DRAFT, dtype="float32")


@pytest.fixture(scope="module")
def inputs(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    # So long that the prompt's text lies inside the video's time range: where answers begin is then no small matter.
    video = write_clip(held_out_clip(0, DEMO_SCENES, DEMO_SECONDS), tmp_path_factory.mktemp("video") / "clip.mp4")
    return pair.inputs(str(video), "Describe the video in detail.")[0]


@pytest.fixture(scope="module")
def stock(inputs: Inputs) -> list[int]:
    """`generate` on a copy that rushes has never touched."""
    model = transformers.AutoModelForImageTextToText.from_pretrained(bundled.TARGET, dtype=torch.float32)
    out = model.generate(**inputs, do_sample=False, max_new_tokens=LENGTH)
    return out[0, inputs["input_ids"].shape[1] :].tolist()


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("gamma", [1, 5])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_what_generate_says(
    pair: Pair, inputs: Inputs, stock: list[int], method: str, gamma: int, keep: float
) -> None:
    result = pair.generate_inputs(inputs, method=method, gamma=gamma, keep=keep, max_new_tokens=LENGTH)
    assert result.token_ids == stock


def test_the_draft_is_worth_more_the_more_it_sees(pair: Pair, inputs: Inputs) -> None:
    def accepted(scorer: str) -> float:
        result = pair.generate_inputs(inputs, method=f"{scorer}+chain+exact+sequential", max_new_tokens=LENGTH)
        return result.metrics["accepted_per_round"]

    assert accepted("none") < accepted("uniform")
    assert accepted("none") < accepted("full")


def test_the_stand_ins_are_bigger_and_choose_the_same_tokens(pair: Pair, inputs: Inputs, stock: list[int]) -> None:
    """Teacher-forced over prompt and answer: hundreds of positions, in one pass of each model."""
    big = bundled.standins(dtype=torch.float32)
    assert big.draft is not None
    assert pair.draft is not None
    for wide, small in ((big.target, pair.target), (big.draft, pair.draft)):
        assert sum(p.numel() for p in wide.model.parameters()) > 20 * sum(p.numel() for p in small.model.parameters())
        choices = []
        for model in (wide, small):
            prompt = model.prompt(inputs, model.encode(inputs))
            answer = model.rows_at(prompt.next_position, list(range(len(stock))), 3)
            embeds = torch.cat([prompt.embeds, model.embed(stock)])
            with torch.inference_mode():
                hidden = model.forward(embeds, torch.cat([prompt.positions, answer], 1), model.new_cache(len(embeds)))
                choices.append(model.logits(hidden).argmax(-1))
        assert len(choices[0]) > 200
        assert torch.equal(*choices)
