"""UV-Prune's closed form equals the paper's double sum."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rushes import RushesError
from rushes.pruning import uvprune
from rushes.pruning.uvprune import UVPrune, likeness
from rushes.signals import Signal, Signals, States, When


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a.double() @ b.double() / (a.double().norm() * b.double().norm()))


@settings(max_examples=40, deadline=None)
@given(
    layers=st.integers(1, 5),
    video=st.integers(1, 9),
    text=st.integers(1, 5),
    rows_at_once=st.integers(1, 10),
    seed=st.integers(0, 99),
)
def test_the_sum_over_text_and_layers_telescopes(
    layers: int, video: int, text: int, rows_at_once: int, seed: int
) -> None:
    states = [
        States(rand(video, 7, seed=10 * seed + depth), rand(text, 7, seed=10 * seed + depth + 1000))
        for depth in range(layers + 1)
    ]
    wanted = [
        sum(
            cosine(states[depth].video[i], states[depth].text[j])
            - cosine(states[depth - 1].video[i], states[depth - 1].text[j])
            for j in range(text)
            for depth in range(1, layers + 1)
        )
        for i in range(video)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvprune, "ROWS_AT_ONCE", rows_at_once)
        scores = UVPrune().score(Signals(video, early_states=(states[0], states[-1])))
    torch.testing.assert_close(scores, torch.tensor(wanted), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_fp32(dtype: torch.dtype) -> None:
    states = States((rand(6, 64) * 1000).to(dtype), (rand(300, 64, seed=1) * 1000).to(dtype))
    wanted = [sum(cosine(row, word) for word in states.text) for row in states.video]
    torch.testing.assert_close(likeness(states), torch.tensor(wanted), atol=1e-4, rtol=0)


def test_what_grows_like_the_text_stays() -> None:
    text = rand(4, 32, seed=1) + 3 * rand(32, seed=2)  # words that share a direction
    before = States(rand(20, 32, seed=3), text)
    moved = before.video.clone()
    moved[[4, 11, 17]] += 2 * rand(32, seed=2)
    scores = UVPrune().score(Signals(20, early_states=(before, States(moved, text))))
    assert UVPrune().select(scores, 3).tolist() == [4, 11, 17]
    assert (scores[[0, 5, 19]] == 0).all()  # what was alike from the start has not grown


def test_the_length_of_a_state_does_not_matter() -> None:
    states = States(rand(9, 16), rand(3, 16, seed=1))
    longer = States(states.video * 2.0 ** torch.arange(9)[:, None], states.text * 8)
    torch.testing.assert_close(likeness(longer), likeness(states))


@pytest.mark.parametrize("tokens", [0, 5])
def test_without_video_or_text_behind_it_all_are_equal(tokens: int) -> None:
    scores = UVPrune().score(Signals(tokens))
    assert scores.tolist() == [0] * tokens
    assert UVPrune().select(scores, tokens // 2).tolist() == list(range(tokens // 2))


def test_no_rows_and_rows_of_zeros() -> None:
    assert likeness(States(torch.zeros(0, 4), rand(3, 4))).shape == (0,)
    assert likeness(States(rand(3, 4), torch.zeros(0, 4))).tolist() == [0, 0, 0]
    assert likeness(States(torch.zeros(2, 4), torch.zeros(1, 4))).tolist() == [0, 0]


@pytest.mark.parametrize(("depth", "wanted"), [(1, 1), (2, 1), (7, 1), (8, 2), (28, 7), (64, 16)])
def test_a_quarter_of_the_depth_is_the_default(depth: int, wanted: int) -> None:
    assert UVPrune().early_layer(depth) == wanted


def test_layers_can_be_named_up_to_the_depth() -> None:
    assert UVPrune(3).early_layer(28) == 3
    assert UVPrune(28).early_layer(28) == 28
    with pytest.raises(RushesError, match="layers 29 is more than the target has; give 1 to 28"):
        UVPrune(29).early_layer(28)
    for layers in (0, -1):
        with pytest.raises(RushesError, match=f"layers must be 1 or more, got {layers}"):
            UVPrune(layers)


def test_its_scores_exist_behind_the_early_layers() -> None:
    assert UVPrune.needs == {Signal.EARLY_STATES}
    assert UVPrune().ready == When.EARLY_LAYERS
