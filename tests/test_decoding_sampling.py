"""Sampled answers of a real pair follow the target's own probabilities, from request to tokens."""

from collections import Counter
from copy import deepcopy
from itertools import product
from typing import Any

import pytest
import torch

from goodness import ALPHA, p_value
from rushes import Pair
from rushes.models.base import VideoLM
from rushes.models.registry import adapt
from rushes.sampling import Sampling
from tiny import contrary, noisy, tiny_qwen2_5_vl, tiny_video_inputs

VOCABULARY = 11  # the seven special tokens and four more
DRAWS = 1500
SIZES: dict[str, Any] = {"hidden": 32, "layers": 1, "vocab": VOCABULARY, "vision_layers": 1, "fullatt": (0,)}
METHODS = ("full+chain+sampling+sequential", "uniform+tree+sampling+sequential", "uniform+sage+sampling+sequential")

OVERLAPPING = (
    "uniform+chain+sampling+pipelined:overlap=always",
    "uniform+tree+sampling+pipelined:overlap=always",
    "specvlm+chain+sampling+adaptive:overlap=always",
)


def exact_pairs(target: VideoLM, inputs: dict[str, Any], sampling: Sampling) -> dict[tuple[int, int], float]:
    """Probability of the first two tokens, each from one pass over everything, without a cache that is reused."""
    prompt = target.prompt(inputs, target.encode(inputs))

    def after(tokens: list[int]) -> torch.Tensor:
        written = target.rows_at(prompt.next_position, list(range(len(tokens))), 3)
        embeds = torch.cat([prompt.embeds, *(target.embed([token]) for token in tokens)])
        positions = torch.cat([prompt.positions, written], dim=1)
        hidden = target.forward(embeds, positions, target.new_cache(len(embeds)))
        return sampling.probabilities(target.logits(hidden[-1:]))[0]

    first = after([])
    following = {a: after([a]) for a in range(VOCABULARY) if first[a] > 0}
    chances = {(a, b): float(first[a] * following[a][b]) for a in following for b in range(VOCABULARY)}
    return {outcome: chance for outcome, chance in chances.items() if chance > 0}


def seen_pairs(pair: Pair, inputs: dict[str, Any], method: str, **how: Any) -> tuple[Counter[Any], int]:
    """Counts of the first two tokens over many seeds, and how many candidates were accepted."""
    counts: Counter[Any] = Counter()
    accepted = 0
    for seed in range(DRAWS):
        result = pair.generate_inputs(inputs, method=method, gamma=2, max_new_tokens=3, keep=0.5, seed=seed, **how)
        counts[tuple(result.token_ids[:2])] += 1
        accepted += result.metrics["speculative_decoding"]["num_accepted_draft_tokens"]
    return counts, accepted


@pytest.mark.parametrize(
    ("draft", "method"),
    [*product(["same", "noisy", "contrary"], METHODS + OVERLAPPING), ("itself", "uniform+self+sampling+sequential")],
)
def test_the_first_two_tokens_follow_the_target(draft: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_qwen2_5_vl(seed=1, **SIZES)
    model.generation_config.eos_token_id = []
    other = {"itself": lambda _: None, "same": deepcopy, "noisy": lambda m: noisy(m, 0.5), "contrary": contrary}[draft](
        model
    )
    inputs = tiny_video_inputs(model, grid=(1, 4, 4), text_before=2, text_after=3)
    how = {"temperature": 2.0} if draft != "noisy" else {"temperature": 4.0, "top_k": 7, "top_p": 0.9}
    expected = exact_pairs(adapt(deepcopy(model), "target"), inputs, Sampling(**how))
    pair = Pair(model, other)
    features = pair.target.encode(inputs)  # the tower's part is the same in every request
    for one in filter(None, (pair.target, pair.draft)):
        monkeypatch.setattr(one, "encode", lambda _: features)
    counts, accepted = seen_pairs(pair, inputs, method, **how)
    assert accepted > 0.05 * DRAWS
    assert sum(chance * DRAWS >= 5 for chance in expected.values()) > 12  # cells enough to tell distributions apart
    assert p_value(counts, expected) > ALPHA


def test_a_seed_repeats_the_answer_and_another_one_changes_it() -> None:
    model = tiny_qwen2_5_vl(seed=1)
    inputs = tiny_video_inputs(model)
    pair = Pair(model, noisy(model, 0.1))
    for method in ("ar", *METHODS):
        answers = [
            tuple(pair.generate_inputs(inputs, method=method, temperature=1.0, seed=seed, max_new_tokens=12).token_ids)
            for seed in (0, 0, 1, None, None)
        ]
        assert answers[0] == answers[1]
        assert len(set(answers)) == 4


@pytest.mark.parametrize(("seed", "method"), product((0, 5, 2**40, None), METHODS))
def test_the_draft_throws_its_own_dice(seed: int | None, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the target's acceptance used the draft's random numbers, it would depend on what was proposed."""
    made: list[torch.Generator] = []
    original = Sampling.generator

    def spy(self: Sampling, *args: Any, **kwargs: Any) -> torch.Generator:
        made.append(original(self, *args, **kwargs))
        return made[-1]

    monkeypatch.setattr(Sampling, "generator", spy)
    model = tiny_qwen2_5_vl(seed=1, **SIZES)
    model.generation_config.eos_token_id = []  # an answer that ends at once needs no second stream
    Pair(model, deepcopy(model)).generate_inputs(
        tiny_video_inputs(model), method=method, temperature=1.0, seed=seed, max_new_tokens=3
    )
    streams = [torch.rand(8, generator=generator.manual_seed(generator.initial_seed())) for generator in made]
    assert len(streams) == 2
    assert not torch.equal(*streams)
