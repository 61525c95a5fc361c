"""HIPPO's three scores and its budget on signals made by hand."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rushes import RushesError
from rushes.models.base import Grid
from rushes.pruning import locality
from rushes.pruning.frames import frame_sizes
from rushes.pruning.hippo import Hippo
from rushes.pruning.locality import novelty_and_complexity
from rushes.signals import Signal, Signals

RELEVANCE, NOVELTY, COMPLEXITY = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
SIDES = st.integers(1, 6)
GRIDS = st.lists(st.tuples(SIDES, SIDES, SIDES), min_size=1, max_size=2)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def signals(*grids: Grid, features: Tensor | None = None, attention: Tensor | None = None, seed: int = 0) -> Signals:
    tokens = sum(t * h * w for t, h, w in grids)
    return Signals(
        tokens,
        grids,
        visual_attention=rand(tokens, seed=seed).softmax(0) if attention is None else attention,
        features=rand(tokens, 5, seed=seed) if features is None else features.reshape(tokens, -1),
    )


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a.double() @ b.double() / (a.double().norm() * b.double().norm()))


def naive_novelty(cells: Tensor, neighbour: str) -> Tensor:
    t, h, w, _ = cells.shape
    out = torch.zeros(t, h, w)
    for f in range(t if t > 1 else 0):
        other = f - 1 if neighbour == "previous" else f + 1
        other = 1 if other < 0 else t - 2 if other == t else other
        for y in range(h):
            for x in range(w):
                out[f, y, x] = 1 - cosine(cells[f, y, x], cells[other, y, x])
    return out


def naive_complexity(cells: Tensor, crop: int) -> Tensor:
    t, h, w, _ = cells.shape
    out = torch.zeros(t, h, w)
    for f in range(t):
        for y in range(h):
            for x in range(w):
                crop_of_cell = [
                    cells[f, v, u]
                    for v in range(h)
                    for u in range(w)
                    if (v // crop, u // crop) == (y // crop, x // crop) and (v, u) != (y, x)
                ]
                cosines = [cosine(cells[f, y, x], other) for other in crop_of_cell]
                mean = sum(cosines) / max(1, len(cosines))
                out[f, y, x] = sum((c - mean) ** 2 for c in cosines) / max(1, len(cosines))
    return out


@settings(max_examples=40, deadline=None)
@given(
    grid=st.tuples(SIDES, SIDES, SIDES), crop=st.integers(1, 7), seed=st.integers(0, 99), at_once=st.integers(1, 600)
)
@pytest.mark.parametrize("neighbour", ["previous", "next"])
def test_local_scores_equal_naive_loops(neighbour: str, grid: Grid, crop: int, seed: int, at_once: int) -> None:
    cells = rand(*grid, 5, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locality, "NUMBERS_AT_ONCE", at_once)  # in blocks of one frame and of many alike
        novelty, complexity = novelty_and_complexity(cells, crop, to_next=neighbour == "next")
    torch.testing.assert_close(novelty, naive_novelty(cells, neighbour), atol=2e-6, rtol=0)
    torch.testing.assert_close(complexity, naive_complexity(cells, crop), atol=2e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_fp32(dtype: torch.dtype) -> None:
    cells = (rand(3, 4, 4, 64) * 1000).to(dtype)  # its squares would overflow in fp16
    novelty, complexity = novelty_and_complexity(cells, 4)
    assert novelty.dtype == complexity.dtype == torch.float32
    torch.testing.assert_close(novelty, naive_novelty(cells, "previous"), atol=2e-6, rtol=0)
    torch.testing.assert_close(complexity, naive_complexity(cells, 4), atol=2e-6, rtol=0)


@pytest.mark.parametrize("neighbour", ["previous", "next"])
def test_a_moving_patch_beats_a_static_background(neighbour: str) -> None:
    cells = rand(4, 5, 5, 16)
    cells[:] = cells[0].clone()  # a rich but static background
    for f in range(4):
        cells[f, 2, f] = rand(16, seed=7)
    scores = Hippo(NOVELTY, neighbour=neighbour).score(signals((4, 5, 5), features=cells)).view(4, 5, 5)
    for f in range(4):
        other = f - 1 if neighbour == "previous" else f + 1
        other = 1 if other < 0 else 2 if other == 4 else other
        changed = torch.zeros(5, 5, dtype=torch.bool)
        changed[2, [f, other]] = True  # where the patch came, and what it uncovered
        assert ((scores[f] > 0) == changed).all()
    kept = Hippo(NOVELTY, neighbour=neighbour, floor=1).select(scores.flatten(), 8, ((4, 5, 5),)).tolist()
    assert {25 * f + 10 + f for f in range(4)} <= set(kept)


def test_a_relevant_region_is_found_by_relevance() -> None:
    attention = torch.full((3, 4, 6), 1e-4)
    attention[1, 1:3, 2:4] = 0.2
    planted = attention.flatten().topk(4).indices.sort().values.tolist()
    found = signals((3, 4, 6), attention=attention.flatten(), features=rand(72, 8))
    scorer = Hippo(RELEVANCE, floor=0)
    assert scorer.select(scorer.score(found), 4, found.grids).tolist() == planted
    # The frame that holds it gets the larger share even with a floor.
    kept = torch.tensor(Hippo(RELEVANCE).select(scorer.score(found), 12, found.grids).tolist())
    assert set(planted) <= set(kept.tolist())
    assert torch.bincount(kept // 24, minlength=3).tolist() == [2, 8, 2]


def test_detail_is_found_by_complexity() -> None:
    cells = torch.ones(1, 4, 8, 32)
    cells[0, :, 4:] = rand(4, 4, 32, seed=3)  # the left crop is a plain wall, the right one is not
    scores = Hippo(COMPLEXITY).score(signals((1, 4, 8), features=cells)).view(4, 8)
    assert (scores[:, :4] == 0).all()
    assert (scores[:, 4:] > 0).float().mean() > 0.9


@given(grids=GRIDS, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_score_is_the_weighted_sum_of_what_each_frame_normalises(grids: list[Grid], seed: int) -> None:
    given_signals = signals(*grids, seed=seed)
    assert given_signals.features is not None
    assert given_signals.visual_attention is not None
    weights, wanted, start = (0.5, 0.3, 0.2), [], 0
    for t, h, w in grids:
        end = start + t * h * w
        cells = given_signals.features[start:end].view(t, h, w, -1)
        attention = given_signals.visual_attention[start:end].view(t, h, w)
        novelty, complexity = novelty_and_complexity(cells, 4)
        for f in range(t):
            kinds = (attention[f], novelty[f], complexity[f])
            fused = torch.zeros(h * w)
            for weight, kind in zip(weights, kinds, strict=True):
                values = kind.flatten()
                low, high = values.min(), values.max()
                if high > low:
                    fused += weight * (values - low) / (high - low)
            wanted.append(fused)
        start = end
    torch.testing.assert_close(Hippo(weights).score(given_signals), torch.cat(wanted), atol=1e-5, rtol=0)


@pytest.mark.parametrize("normaliser", ["minmax", "zscore", "rank"])
def test_a_constant_frame_gives_0(normaliser: str) -> None:
    cells = torch.ones(3, 2, 5, 7) * 0.1
    given_signals = signals((3, 2, 5), features=cells, attention=torch.full((30,), 1 / 30))
    assert (Hippo(normaliser=normaliser).score(given_signals) == 0).all()
    # No frame has a claim to more.
    kept = Hippo(normaliser=normaliser).select(torch.zeros(30), 7, given_signals.grids).tolist()
    assert kept == [0, 1, 2, 10, 11, 20, 21]


@pytest.mark.parametrize(
    ("normaliser", "wanted"),
    [
        ("minmax", [0, 0.25, 0.25, 1]),
        ("zscore", [-1, -1 / 3, -1 / 3, 5 / 3]),
        ("rank", [0, 1 / 3, 1 / 3, 1]),
        ("none", [0, 1, 1, 4]),
    ],
)
def test_normalisers(normaliser: str, wanted: list[float]) -> None:
    attention = torch.tensor([0.0, 1, 1, 4, 7, 7, 7, 7])
    scores = Hippo(RELEVANCE, normaliser=normaliser).score(signals((2, 2, 2), attention=attention))
    torch.testing.assert_close(scores[:4], torch.tensor(wanted, dtype=torch.float32))
    assert scores[4:].tolist() == ([7] * 4 if normaliser == "none" else [0] * 4)


def test_zscores_share_the_budget_evenly() -> None:
    given_signals = signals((8, 3, 5))
    scorer = Hippo(normaliser="zscore")
    kept = scorer.select(scorer.score(given_signals), 40, given_signals.grids)
    assert torch.bincount(kept // 15).tolist() == [5] * 8


def test_two_videos_never_compare_across_their_border() -> None:
    first, second = signals((2, 2, 3), seed=1), signals((3, 4, 5), seed=2)
    other = signals((3, 4, 5), seed=3)

    def behind(video: Signals) -> Tensor:
        attention = torch.cat([first.visual_attention, video.visual_attention])  # type: ignore[list-item]
        features = torch.cat([first.features, video.features])  # type: ignore[list-item]
        return Hippo().score(signals((2, 2, 3), (3, 4, 5), features=features, attention=attention))

    alone = Hippo().score(first)
    assert torch.equal(behind(second)[:12], alone)
    assert torch.equal(behind(other)[:12], alone)
    assert torch.equal(behind(second)[12:], Hippo().score(second))


@given(grids=GRIDS, floor=st.floats(0, 1), seed=st.integers(0, 9), data=st.data())
@settings(max_examples=40, deadline=None)
def test_the_budget_is_met_and_the_floor_holds(grids: list[Grid], floor: float, seed: int, data: st.DataObject) -> None:
    scorer, sizes = Hippo(floor=floor), frame_sizes(grids)
    tokens = int(sizes.sum())
    budget = data.draw(st.integers(0, tokens))
    kept = scorer.select(scorer.score(signals(*grids, seed=seed)), budget, grids).tolist()
    assert len(kept) == budget
    assert kept == sorted(set(kept))
    assert all(0 <= index < tokens for index in kept)
    ends = sizes.cumsum(0).tolist()
    for end, size in zip(ends, sizes.tolist(), strict=True):
        inside = sum(end - size <= index < end for index in kept)
        assert inside >= min(size, int(floor * budget / len(ends)))


@pytest.mark.parametrize("grids", [(), ((6, 2, 2),), ((1, 4, 6),), ((2, 2, 3), (1, 3, 4))])
def test_nothing_everything_and_ties(grids: tuple[Grid, ...]) -> None:
    given_signals = Signals(24, grids, visual_attention=rand(24).softmax(0), features=rand(24, 6))
    scores = Hippo().score(given_signals)
    assert scores.shape == (24,)
    assert torch.isfinite(scores).all()
    assert Hippo().select(scores, 0, grids).tolist() == []
    assert Hippo().select(scores, 24, grids).tolist() == list(range(24))
    kept = Hippo().select(torch.ones(24), 6, grids).tolist()
    start = 0
    for size in frame_sizes(grids or ((1, 1, 24),)).tolist():
        inside = [index - start for index in kept if start <= index < start + size]
        assert inside == list(range(len(inside)))
        start += size


def test_a_video_of_one_frame_has_no_novelty() -> None:
    assert (Hippo(NOVELTY, normaliser="none").score(signals((1, 3, 4))) == 0).all()


def test_a_token_alone_has_no_complexity() -> None:
    assert (Hippo(COMPLEXITY, crop=1, normaliser="none").score(signals((2, 3, 4))) == 0).all()
    assert (Hippo(COMPLEXITY, normaliser="none").score(signals((2, 1, 1))) == 0).all()
    bordered = Hippo(COMPLEXITY, crop=4, normaliser="none").score(signals((1, 5, 5))).view(5, 5)
    assert (bordered > 0).sum() == 24
    assert bordered[4, 4] == 0


def test_a_prompt_without_a_video() -> None:
    scores = Hippo().score(Signals(0))
    assert scores.shape == (0,)
    assert Hippo().select(scores, 0).tolist() == []


def test_crops_fit_the_frames() -> None:
    Hippo().check([(2, 2, 9), (1, 1, 1)])
    Hippo(crop=2).check([(2, 2, 9), (1, 5, 3)])
    with pytest.raises(RushesError, match="crop 3 is larger than a frame of 2 x 9 cells; give 2 or less"):
        Hippo(crop=3).check([(1, 5, 5), (2, 2, 9)])
    with pytest.raises(RushesError, match="crop 7 is larger than a frame of 9 x 6 cells; give 6 or less"):
        Hippo(crop=7).check([(1, 9, 6)])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"weights": (0.5, 0.5)}, r"weights must be three numbers of 0 or more .*, got \(0.5, 0.5\)"),
        ({"weights": (1.5, -0.5, 0.0)}, "weights must be three numbers of 0 or more"),
        ({"weights": (float("nan"), 0.5, 0.5)}, "weights must be three numbers of 0 or more"),
        ({"weights": (0.5, 0.5, 0.5)}, "weights must sum to 1, got .* with a sum of 1.5"),
        ({"weights": (0.33, 0.33, 0.33)}, "weights must sum to 1, got .* with a sum of 0.99"),
        ({"crop": 0}, "crop must be 1 cell or more, got 0"),
        ({"neighbour": "prev"}, "unknown neighbour 'prev'; did you mean 'previous'?"),
        ({"normaliser": "z"}, "unknown normaliser 'z'"),
        ({"floor": 1.1}, "floor must be between 0 and 1, got 1.1"),
        ({"floor": float("nan")}, "floor must be between 0 and 1, got nan"),
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(RushesError, match=message) as error:
        Hippo(**parameters)
    assert "\n" not in str(error.value)


def test_thirds_with_three_digits_pass() -> None:
    assert Hippo((0.333, 0.333, 0.333)).weights == (0.333, 0.333, 0.333)


def test_it_needs_attention_over_the_video_and_features() -> None:
    assert Hippo.needs == {Signal.VISUAL_ATTENTION, Signal.FEATURES}
