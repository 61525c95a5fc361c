"""Budgets are shared among frames exactly, with a floor and a cap; each frame keeps its best."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rushes.models.base import Grid
from rushes.pruning.frames import by_video, frame_means, frame_sizes, one_frame, share_out, top_of_each

SIDES = st.integers(1, 4)
GRIDS = st.lists(st.tuples(SIDES, SIDES, SIDES), max_size=3)


def shares(budget: int, weights: list[float], sizes: list[int], floor: float = 0.0) -> list[int]:
    return share_out(budget, torch.tensor(weights), torch.tensor(sizes, dtype=torch.long), floor).tolist()


@pytest.mark.parametrize(
    ("budget", "weights", "sizes", "floor", "wanted"),
    [
        # In proportion.
        (8, [1, 3], [9, 9], 0.0, [2, 6]),
        # Half of the even share of 4 for both, the other 4 in proportion.
        (8, [1, 3], [9, 9], 0.5, [3, 5]),
        (8, [0, 1], [9, 9], 0.5, [2, 6]),
        (8, [0, 1], [9, 9], 1.0, [4, 4]),
        # 2.5 and 7.5: the remainders are equal, the earlier frame is first.
        (10, [1, 3], [9, 9], 0.0, [3, 7]),
        (1, [1, 1, 1], [5, 5, 5], 0.0, [1, 0, 0]),
        (2, [1, 2, 2], [5, 5, 5], 0.0, [0, 1, 1]),
        # 1.75, 1.75, 3.5: one goes to each of the larger remainders.
        (7, [1, 1, 2], [5, 5, 5], 0.0, [2, 2, 3]),
        # A full frame hands on what it cannot take, in proportion to the others' weights.
        (9, [1, 8, 2], [9, 3, 9], 0.0, [2, 3, 4]),
        # Nobody with room has a weight: evenly, also what a full frame hands on.
        (6, [0, 0, 0], [5, 5, 5], 0.0, [2, 2, 2]),
        (6, [0, 1, 0], [5, 2, 5], 0.0, [2, 2, 2]),
        # The floor is capped by the frame too.
        (9, [1, 1, 0], [1, 9, 9], 1.0, [1, 5, 3]),
        (0, [1, 2], [3, 3], 0.5, [0, 0]),
        (6, [0, 2], [3, 3], 0.5, [3, 3]),
        (0, [], [], 0.5, []),
    ],
)
def test_shares_by_hand(budget: int, weights: list[float], sizes: list[int], floor: float, wanted: list[int]) -> None:
    assert shares(budget, weights, sizes, floor) == wanted


FRAMES = st.lists(st.tuples(st.integers(1, 12), st.floats(0, 1, width=32)), min_size=1, max_size=30)


@given(frames=FRAMES, floor=st.floats(0, 1), data=st.data())
def test_shares_are_exact_capped_and_floored(
    frames: list[tuple[int, float]], floor: float, data: st.DataObject
) -> None:
    sizes, weights = [size for size, _ in frames], [weight for _, weight in frames]
    budget = data.draw(st.integers(0, sum(sizes)))
    counts = shares(budget, weights, sizes, floor)
    assert sum(counts) == budget
    guaranteed = int(floor * budget / len(sizes))
    assert all(min(guaranteed, size) <= count <= size for count, size in zip(counts, sizes, strict=True))
    for i, (size, weight) in enumerate(frames):
        for j, (other, less) in enumerate(frames):
            if weight >= less and size >= other:  # more weight and no less room is never worth less
                assert counts[i] >= counts[j] - (j < i)


@given(frames=st.integers(1, 40), data=st.data())
def test_frames_of_equal_weight_differ_by_at_most_one(frames: int, data: st.DataObject) -> None:
    budget = data.draw(st.integers(0, 12 * frames))
    counts = shares(budget, [0.3] * frames, [12] * frames, 0.5)
    assert sum(counts) == budget
    assert counts == sorted(counts, reverse=True)
    assert counts[0] - counts[-1] <= 1


@given(grids=GRIDS, data=st.data())
def test_each_frame_keeps_its_best_and_among_equals_the_earlier(grids: list[Grid], data: st.DataObject) -> None:
    sizes = frame_sizes(grids)
    scores = data.draw(st.lists(st.integers(0, 3), min_size=int(sizes.sum()), max_size=int(sizes.sum())))
    counts = [data.draw(st.integers(0, size)) for size in sizes.tolist()]
    wanted, start = [], 0
    for size, count in zip(sizes.tolist(), counts, strict=True):
        wanted += sorted(sorted(range(start, start + size), key=lambda i: (-scores[i], i))[:count])
        start += size
    kept = top_of_each(torch.tensor(scores, dtype=torch.float32), sizes, torch.tensor(counts, dtype=torch.long))
    assert kept.tolist() == wanted


@given(grids=GRIDS)
def test_rows_are_taken_apart_by_video_without_a_copy(grids: list[Grid]) -> None:
    rows = torch.arange(2 * sum(t * h * w for t, h, w in grids)).view(-1, 2)
    videos = by_video(rows, grids)
    assert [video.shape for video in videos] == [(*grid, 2) for grid in grids]
    assert [row for video in videos for row in video.flatten(0, 2).tolist()] == rows.tolist()
    assert all(video.untyped_storage().data_ptr() == rows.untyped_storage().data_ptr() for video in videos)


def test_frames_of_all_videos_are_one_list() -> None:
    grids = ((2, 1, 3), (1, 2, 1))
    assert frame_sizes(grids).tolist() == [3, 3, 2]
    scores = torch.tensor([1.0, 2, 3, 4, 4, 4, 0, 5])
    assert frame_means(scores, grids).tolist() == [2, 4, 2.5]


def test_means_that_are_rounding_weigh_nothing() -> None:
    scores = torch.tensor([-1.0, 1 + 1e-7, -1, 1 - 1e-7, -2, 0, 3, 4])
    assert frame_means(scores, ((4, 1, 2),)).tolist() == [0, 0, 0, 3.5]
    assert frame_means(torch.full((4,), float("nan")), ((2, 1, 2),)).tolist() == [0, 0]


def test_without_grids_everything_is_one_frame() -> None:
    assert one_frame(7) == ((1, 1, 7),)
    assert one_frame(0) == ()
    assert frame_means(torch.zeros(0), ()).tolist() == frame_sizes(()).tolist() == []
