"""A picture of a timeline shows every span where it was."""

from collections.abc import Iterator
from itertools import combinations, groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rushes.timeline import DRAFT, TARGET, Span, Timeline
from rushes.timeline_picture import COLOURS, IDLE, draw_timeline, lanes_of, words
from rushes.timeline_rows import MOST_ROWS, ROUNDS_IN_ROW, clock, rows_of, ticks


def parallel(rounds: int, prefill_s: float = 2.0, discard: int = 3) -> Timeline:
    """The draft writes while the target reviews; every third window is thrown away."""
    made = Timeline(
        [
            Span(TARGET, "vision", 0.1, 0.4 * prefill_s, 288),
            Span(TARGET, "prefill", 0.4 * prefill_s, prefill_s, 300),
            Span(TARGET, "scoring", 0.6 * prefill_s, 0.8 * prefill_s, 288),
            Span(DRAFT, "vision", 0.1, 0.3 * prefill_s, 288),
            Span(DRAFT, "prefill", 0.8 * prefill_s, 0.9 * prefill_s, 60),
        ]
    )
    for i in range(rounds):
        at = prefill_s + 0.2 * i
        made.spans.append(Span(TARGET, "review", at, at + 0.18, 6))
        made.spans.append(Span(DRAFT, "window", at + 0.02, at + 0.12, 5, i % discard == discard - 1))
    made.total_s = prefill_s + 0.2 * rounds
    return made


def blocks(path: Path) -> list[np.ndarray]:
    """(height, width, 3) pixels of each lane of a picture, from its top to its bottom."""
    pixels = np.asarray(Image.open(path))
    full = (pixels != pixels[0, 0]).any(-1).sum(1) > 1000
    found = []
    for there, rows in groupby(range(len(full)), key=lambda y: bool(full[y])):
        lane = list(rows)
        if there and len(lane) > 10:  # not an axis
            columns = np.flatnonzero((pixels[lane[1]] != pixels[0, 0]).any(-1))
            found.append(pixels[lane[0] : lane[-1] + 1, columns[0] : columns[-1] + 1])
    return found


def places(timeline: Timeline, path: Path) -> Iterator[tuple[Span, np.ndarray]]:
    """Every span that is drawn, with a few columns of pixels from its beginning, its middle and its end."""
    lanes, drawn = lanes_of(timeline), blocks(path)
    rows = rows_of(timeline)
    assert len(drawn) == len(rows) * len(lanes)
    for number, row in enumerate(rows):
        for lane, pixels in zip(lanes, drawn[number * len(lanes) :], strict=False):
            wide = pixels.shape[1] / (row.end_s - row.start_s)
            for span in timeline.spans:
                if span.lane == lane and row.start_s <= span.start_s and span.end_s <= row.end_s:
                    left, right = ((at - row.start_s) * wide for at in (span.start_s, span.end_s))
                    assert right - left > 8, "wide enough to be looked at"
                    columns = [round(left) + 1, round((left + right) / 2), round(right) - 3]
                    yield span, pixels[:, columns]


def is_all(pixels: np.ndarray, colour: object) -> bool:
    """In the upper quarter, where no words are."""
    return bool((pixels[: len(pixels) // 4] == np.array(colour)).all())


@pytest.mark.parametrize("rounds", [1, 12, 40, 41, 100, 700])
def test_every_span_has_its_colour_where_it_was(tmp_path: Path, rounds: int) -> None:
    timeline = parallel(rounds)
    draw_timeline(timeline, tmp_path / "a.png", "hippo")
    seen = []
    for span, pixels in places(timeline, tmp_path / "a.png"):
        seen.append(span.kind)
        if span.discarded:
            assert not (pixels == np.array(COLOURS["window"])).all(-1).any()
        elif span.kind == "prefill" and span.lane == TARGET:
            assert is_all(pixels[:, [0, 2]], COLOURS["prefill"]), "the scoring lies on its middle only"
            assert is_all(pixels[:, [1]], COLOURS["scoring"])
        else:
            assert is_all(pixels, COLOURS[span.kind])
    assert {"vision", "prefill", "scoring", "window", "review"} == set(seen)
    if rounds <= MOST_ROWS * ROUNDS_IN_ROW:
        assert seen.count("review") >= rounds - len(rows_of(timeline)), "all but what goes over the end of a row"


def test_scoring_lies_on_the_prefill_in_whatever_order_they_came(tmp_path: Path) -> None:
    spans = [Span(TARGET, "prefill", 0.0, 4.0), Span(TARGET, "scoring", 0.0, 1.0), Span(TARGET, "vision", 5.0, 6.0)]
    for name, order in (("a.png", spans), ("b.png", spans[::-1])):
        draw_timeline(Timeline(order, 8.0), tmp_path / name, "x")
    (lane,) = blocks(tmp_path / "a.png")
    assert lane.shape[1] > 1000
    colours = [tuple(map(int, lane[1, round(lane.shape[1] * at / 8)])) for at in (0.5, 2.0, 4.5, 5.5, 7.5)]
    assert colours == [COLOURS["scoring"], COLOURS["prefill"], IDLE, COLOURS["vision"], IDLE]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_discarded_work_is_hatched_and_no_colour_of_the_others(tmp_path: Path) -> None:
    spans = [Span(DRAFT, "window", 0.0, 1.0, 5, True), Span(DRAFT, "window", 1.0, 2.0, 5)]
    draw_timeline(Timeline(spans, 3.0), tmp_path / "a.png", "x")
    lane = blocks(tmp_path / "a.png")[1]
    third = lane.shape[1] // 3
    wasted = lane[:, 2 : third - 3].reshape(-1, 3)
    shades, counts = np.unique(wasted, axis=0, return_counts=True)
    assert len(shades) == 2
    assert counts.min() > len(wasted) / 4, "stripes"
    assert not {tuple(shade) for shade in shades.tolist()} & {*COLOURS.values(), IDLE}
    assert is_all(lane[:, third + 2 : 2 * third - 3], COLOURS["window"])


def test_what_nobody_did_is_not_drawn(tmp_path: Path) -> None:
    spans = [Span(TARGET, "prefill", 0.0, 1.0), Span(DRAFT, "window", 0.5, 0.5)]  # it fell into the caller's turn
    draw_timeline(Timeline(spans, 2.0), tmp_path / "a.png", "x")
    target, draft = blocks(tmp_path / "a.png")
    assert not (draft == np.array(COLOURS["window"])).all(-1).any()
    half = target.shape[1] // 2
    assert not (target[:, half + 2 :] == np.array(COLOURS["prefill"])).all(-1).any()


def test_a_row_holds_nothing_of_the_rows_before_it(tmp_path: Path) -> None:
    draw_timeline(parallel(80), tmp_path / "a.png", "x")
    _, _, _, first, _, second = blocks(tmp_path / "a.png")
    for draft in (first, second):  # the draft's window begins a tenth of a round later
        assert not (draft[:, :2] == np.array(COLOURS["window"])).all(-1).any()
        assert is_all(draft[:, 6:12], COLOURS["window"])


def test_without_a_draft_there_is_one_lane(tmp_path: Path) -> None:
    draw_timeline(Timeline([Span(TARGET, "review", 0.0, 1.0)], 1.0), tmp_path / "a.png", "ar")
    assert len(blocks(tmp_path / "a.png")) == 1
    assert "No draft was at work." in words(Timeline([Span(TARGET, "review", 0.0, 1.0)], 1.0))


@pytest.mark.parametrize(
    "timeline",
    [
        Timeline(),
        Timeline([], 3.0),
        Timeline([Span(TARGET, "prefill", 0.0, 1e-7)], 1e-7),
        Timeline([Span(TARGET, "vision", 0.0, 40.0), Span(DRAFT, "window", 40.0, 40.0)], 40.0),
        Timeline([Span(TARGET, "something new", 0.0, 4000.0)], 4000.0),
        Timeline([Span(DRAFT, "window", i * 1e-4, i * 1e-4 + 1e-4) for i in range(3000)], 0.3),
        Timeline([Span(TARGET, "review", 1.0, 1.0) for _ in range(50)], 1.0),
    ],
    ids=["nothing", "no span", "an instant", "no round", "unknown kind", "no review", "no time in the rounds"],
)
def test_any_timeline_can_be_drawn(tmp_path: Path, timeline: Timeline) -> None:
    draw_timeline(timeline, tmp_path / "a.png", "method " * 500)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
        assert picture.size[0] == 1600
        assert 50 < picture.size[1] < 2000
        picture.verify()


class TestRows:
    def test_a_short_request_is_one_row(self) -> None:
        assert rows_of(Timeline()) == []
        assert [(row.start_s, row.end_s) for row in rows_of(parallel(12))] == [(0, parallel(12).total_s)]

    @pytest.mark.parametrize("rounds", [41, 100, 480])
    def test_a_long_one_is_a_row_of_reading_and_rows_of_rounds(self, rounds: int) -> None:
        timeline = parallel(rounds)
        reading, *rows = rows_of(timeline)
        assert (reading.start_s, reading.end_s) == (0, 2)
        assert len(rows) == -(-rounds // ROUNDS_IN_ROW)
        assert rows[0].start_s == 2
        assert rows[-1].end_s == timeline.total_s
        assert all(a.end_s == b.start_s for a, b in pairwise(rows)), "nothing is left out"
        assert np.ptp([row.end_s - row.start_s for row in rows]) == pytest.approx(0, abs=1e-9), "one scale"
        assert f"{rounds} passes of the target" in rows[0].heading

    def test_of_too_long_a_one_the_beginning_and_the_end_are_drawn_and_it_says_so(self) -> None:
        timeline = parallel(2000)
        _, *rows = rows_of(timeline)
        assert len(rows) == MOST_ROWS
        assert rows[-1].end_s == timeline.total_s
        (gap,) = (i for i, (a, b) in enumerate(pairwise(rows), 1) if a.end_s != b.start_s)
        assert gap == MOST_ROWS // 2
        hidden = 2000 - MOST_ROWS * ROUNDS_IN_ROW
        assert rows[gap].heading.startswith("not drawn: 50.0 s to 354.0 s, ")
        assert f", {hidden} passes of the target" in rows[gap].heading
        assert "the beginning" in rows[0].heading

    def test_a_long_prefill_does_not_squeeze_a_few_rounds(self) -> None:
        timeline = parallel(10, prefill_s=100.0)
        assert [row.start_s for row in rows_of(timeline)] == [0, 100]

    def test_a_short_prefill_is_not_squeezed_by_the_rounds(self) -> None:
        assert rows_of(parallel(30, prefill_s=0.2))[0].end_s == pytest.approx(0.2)

    def test_a_new_worker_reads_the_prompt_amid_the_rounds(self) -> None:
        timeline = parallel(100)
        timeline.spans.append(Span(DRAFT, "prefill", 10.0, 10.1))
        assert rows_of(timeline)[0].end_s == 2

    def test_a_draft_that_reads_longer_than_the_target(self) -> None:
        timeline = parallel(100)
        timeline.spans.append(Span(DRAFT, "prefill", 1.9, 3.5))
        assert rows_of(timeline)[0].end_s == 3.5


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 3.54), (12.345, 13.2), (0, 1e-7), (99.9, 4000), (0.3, 0.7)])
def test_ticks_are_round_and_of_a_sensible_number(start: float, end: float) -> None:
    found = ticks(start, end, 12)
    assert 3 <= len(found) <= 13
    assert all(start - 1e-9 <= tick <= end + 1e-9 for tick in found)
    steps = np.diff(found)
    assert np.ptp(steps) < 1e-9
    assert float(f"{steps[0]:.1g}") == pytest.approx(steps[0])
    assert str(float(f"{steps[0]:.1e}"))[0] in "1205"
    labels = [clock(tick, end, float(steps[0])) for tick in found]
    assert len(set(labels)) == len(labels)


def test_times_in_words() -> None:
    assert clock(1.2345, 3.0, 0.05) == "1.23 s"
    assert clock(0.25, 0.9, 0.1) == "250 ms"
    assert clock(30.0, 40.0, 10.0) == "30 s"
    assert clock(0.0, 0.0) == "0 ms"


def test_the_words_are_the_numbers_of_the_timeline() -> None:
    made = Timeline(
        [
            Span(TARGET, "prefill", 0.0, 3.0),
            Span(DRAFT, "prefill", 2.0, 4.0),
            Span(DRAFT, "window", 4.0, 5.0, 5, True),
            Span(TARGET, "review", 5.0, 6.0),
        ],
        8.0,
    )
    first, *lines = words(made)
    assert first.startswith("8.000 s from the request")
    assert lines == [
        "The target: 50.0% busy, 50.0% idle.",
        "The draft: 25.0% busy, 62.5% idle, 12.5% at work that was discarded.",
        "50.0% of the draft's preparation, its vision and prefill, ran while the target was at work.",
    ]


# Machado, Oliveira and Fernandes 2009, whole loss, on linear RGB.
_SIGHTS = {
    "all": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def _lab(colour: tuple[int, int, int], sight: object) -> np.ndarray:
    rgb = np.array(colour) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(np.array(sight) @ linear, 0, 1) / (0.9505, 1, 1.089)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", _SIGHTS)
def test_colours_differ_for_every_kind_of_sight(sight: str) -> None:
    seen = {kind: _lab(colour, _SIGHTS[sight]) for kind, colour in {**COLOURS, "idle": IDLE}.items()}
    near = {(a, b): float(np.linalg.norm(seen[a] - seen[b])) for a, b in combinations(seen, 2)}
    assert min(near.values()) > 15, f"{min(near, key=near.__getitem__)}; about 2 can just be told apart"
