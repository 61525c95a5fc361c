"""Attention rows recorded beside sdpa equal eager attention's, and early states are what the next layer reads."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from families import FAMILIES
from rushes import Pair, RushesError, choosing
from rushes.models.base import Features, Prompt
from rushes.models.registry import adapt
from rushes.recording import Recording, attention_rows
from rushes.signals import Signal
from tiny import tiny_qwen2_5_vl, tiny_text_inputs, tiny_video_inputs

HEADS = [(4, 4), (4, 2), (4, 1), (8, 2)]
WITHIN = 1e-5


def eager(model: Any, inputs: dict[str, Any]) -> list[Tensor]:
    """(heads, S, S) attention of every layer."""
    reference = deepcopy(model)
    reference.set_attn_implementation("eager")
    with torch.inference_mode():
        return [layer[0] for layer in reference(**inputs, output_attentions=True).attentions]


def read_by_layers(model: Any, inputs: dict[str, Any]) -> list[Tensor]:
    """(S, H) what each layer reads, and then the norm; with what some families add to a layer's output."""
    reference = deepcopy(model)
    language, read = reference.model.language_model, []
    for module in (*language.layers, language.norm):
        module.register_forward_pre_hook(lambda _, args: read.append(args[0][0]))
    with torch.inference_mode():
        reference(**inputs)
    return read


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("heads", "kv_heads"), HEADS)
@torch.inference_mode()
def test_recorded_attention_equals_eager_attention(family: str, heads: int, kv_heads: int) -> None:
    model = FAMILIES[family].make(2, heads=heads, kv_heads=kv_heads, layers=3)
    inputs = FAMILIES[family].inputs(model, seed=1)
    wanted = eager(model, inputs)
    target = adapt(model, "target")
    prompt = target.prompt(inputs, target.encode(inputs))
    count = prompt.text_rows_after_video
    columns = FAMILIES[family].cells(model, inputs).nonzero()[:, 0]
    assert count == len(prompt) - 1 - int(columns[-1])
    assert count in (7, 8)  # seven text tokens, and what ends the video
    seen: dict[int, Tensor] = {}
    mean = Recording(prompt, frozenset({Signal.TEXT_ATTENTION}))

    class Both:
        early_layer = 0

        def __call__(self, layer: int, query: Tensor, key: Tensor, scaling: float) -> None:
            seen[layer] = attention_rows(query[:, :, -count:], key, scaling)
            mean(layer, query, key, scaling)

        def states(self, hidden: Tensor) -> None:
            raise AssertionError("nobody asked for states")

    hidden = target.prefill(prompt, target.new_cache(len(prompt)), Both())
    for layer, attention in enumerate(wanted):
        torch.testing.assert_close(seen[layer], attention[:, -count:], atol=WITHIN, rtol=0)
    assert sorted(seen) == [0, 1, 2]
    assert mean.layers == 3
    by_hand = torch.stack([attention[:, -count:][:, :, columns].mean((0, 1)) for attention in wanted]).mean(0)
    recorded = mean.signals(Features()).text_attention
    assert recorded is not None
    torch.testing.assert_close(recorded, by_hand, atol=WITHIN, rtol=0)
    assert 0 < float(recorded.sum()) < 1  # over the whole key axis, text included
    # Recording changes nothing.
    alone = target.prefill(prompt, target.new_cache(len(prompt)))
    assert torch.equal(hidden, alone)


@pytest.mark.parametrize("early_layer", [1, 2, 3])
@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_signals_are_what_the_model_computes(family: str, image: bool, early_layer: int) -> None:
    model = FAMILIES[family].make(3, layers=3)
    inputs = FAMILIES[family].inputs(model, seed=2, image=image)
    read = read_by_layers(model, inputs)
    target = adapt(model, "target")
    features = target.encode(inputs)
    prompt = target.prompt(inputs, features)
    recording = Recording(prompt, frozenset({Signal.EARLY_STATES, Signal.FEATURES}), early_layer)
    hidden = target.prefill(prompt, target.new_cache(len(prompt)), recording)
    signals = recording.signals(features)
    cells = FAMILIES[family].cells(model, inputs)
    last = int(cells.nonzero()[-1])
    assert signals.early_states is not None
    at_the_start, early = signals.early_states
    for states, wanted in ((at_the_start, read[0]), (early, read[early_layer])):
        torch.testing.assert_close(states.video, wanted[cells], atol=WITHIN, rtol=0)
        torch.testing.assert_close(states.text, wanted[last + 1 :], atol=WITHIN, rtol=0)
    torch.testing.assert_close(hidden, target.language_model.norm(read[3]), atol=WITHIN, rtol=0)
    assert signals.features is not None
    torch.testing.assert_close(signals.features, read[0][cells], atol=WITHIN, rtol=0)
    assert sum(t * h * w for t, h, w in signals.grids) == int(cells.sum()) == signals.video_tokens


@torch.inference_mode()
def test_rows_are_causal_among_themselves() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(1, 4, 3, 8, generator=generator), torch.randn(1, 2, 7, 8, generator=generator)
    rows = attention_rows(query, key, 0.5)
    assert rows.shape == (4, 3, 7)
    torch.testing.assert_close(rows.sum(-1), torch.ones(4, 3))
    future = torch.ones(3, 7, dtype=torch.bool).triu(5)
    assert (rows[:, future] == 0).all()
    assert (rows[:, ~future] > 0).all()


@pytest.mark.parametrize("scorer", ["full", "none", "uniform", "random", "specvlm"])
def test_only_a_scorer_that_asks_gets_a_recorder(scorer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Recording] = []

    class Spy(Recording):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(choosing, "Recording", Spy)
    model = tiny_qwen2_5_vl()
    pair = Pair(model, model)
    handed: list[Any] = []
    forward = pair.target.forward

    def watched(*args: Any, **kwargs: Any) -> Tensor:
        handed.append(kwargs.get("recorder"))
        return forward(*args, **kwargs)

    monkeypatch.setattr(pair.target, "forward", watched)
    for inputs in (tiny_video_inputs(model), tiny_text_inputs(model)):
        pair.generate_inputs(inputs, method=f"{scorer}+chain+exact+sequential", max_new_tokens=4)
    # Once, in the prefill of the prompt that has a video.
    watching = [recorder for recorder in handed if recorder is not None]
    assert watching == (made[:1] if scorer == "specvlm" else [])
    assert all(recorder.layers == 2 for recorder in watching)


def test_plain_decoding_records_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "Recording", None)  # calling it would fail
    model = tiny_qwen2_5_vl()
    Pair(model).generate_inputs(tiny_video_inputs(model), method="ar", max_new_tokens=4)


def test_long_questions_are_scored_in_chunks_with_the_same_result() -> None:
    query, key = torch.randn(1, 4, 30, 16), torch.randn(1, 2, 30, 16)
    prompt = Prompt(torch.zeros(30, 64), torch.zeros(3, 30), torch.arange(3, 9), 30)
    means = []
    for rows_at_once in (1, 4, 64):
        recorder = Recording(prompt, frozenset({Signal.TEXT_ATTENTION}), rows_at_once=rows_at_once)
        recorder(0, query, key, 0.25)
        means.append(recorder.signals(Features()).text_attention)
    whole = attention_rows(query[:, :, -21:], key, 0.25).mean((0, 1))[3:9]
    for mean in means:
        torch.testing.assert_close(mean, whole)


def test_large_queries_in_half_precision_do_not_overflow() -> None:
    query, key = torch.full((1, 2, 3, 128), 24.0, dtype=torch.float16), torch.full((1, 1, 5, 128), 24.0).half()
    assert torch.isfinite(attention_rows(query, key, 128**-0.5)).all()


@pytest.mark.parametrize(
    ("scorer", "words"),
    [
        ("specvlm", "does not show the attention of the text behind the video, over all keys, mean of all layers"),
        ("hippo", "does not show the attention of the text behind the video, over the video's keys only"),
        ("uvprune", "does not show the hidden states before and behind the target's first layers"),
    ],
)
def test_a_model_that_hides_a_signal_is_refused(scorer: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_qwen2_5_vl()
    pair = Pair(model, model)
    forward = pair.target.forward
    monkeypatch.setattr(pair.target, "forward", lambda *a, recorder=None, **more: forward(*a, **more))
    with pytest.raises(RushesError, match=f"{words}.*use uniform or random"):
        pair.generate_inputs(tiny_video_inputs(model), method=f"{scorer}+chain+exact+sequential", max_new_tokens=4)
    pair.generate_inputs(tiny_video_inputs(model), method="uniform+chain+exact+sequential", max_new_tokens=4)
