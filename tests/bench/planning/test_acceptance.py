"""Acceptance: what traces accept, what trees add to chains, and traces from files."""

import json
from pathlib import Path
from typing import Any

import pytest

from rushes.bench.planning import acceptance, outlook
from rushes.bench.planning.acceptance import Trace, chain_tau, chance_of_chain, chance_of_tree, geometric, tree_tau
from rushes.bench.planning.trace_file import of_result, read
from rushes.errors import RushesError


class TestTraces:
    def test_a_run_ends_at_the_first_error_and_at_the_limit(self) -> None:
        trace = Trace((0, 0, 3, 0))
        assert [trace.run(i, 5) for i in range(4)] == [2, 1, 0, 3]
        assert trace.run(0, 1) == 1
        assert trace.share == 0.75

    def test_a_tree_goes_by_ranks(self) -> None:
        paths = frozenset({"0", "1", "10", "100"})
        assert Trace((1, 0, 0, 0)).descend(0, paths, 5) == 3
        assert Trace((1, 0, 1)).descend(0, paths, 5) == 2
        assert Trace((2,)).descend(0, paths, 5) == 0
        assert Trace((10,)).descend(0, frozenset({"10"}), 1) == 0  # rank 10 is not the path of rank 1 and rank 0

    @pytest.mark.parametrize("chance", [0.0, 0.5, 0.8, 1.0])
    def test_a_drawn_trace_has_its_chance(self, chance: float) -> None:
        assert geometric(chance, 20_000).share == pytest.approx(chance, abs=0.01)

    def test_it_is_seeded(self) -> None:
        assert geometric(0.7, 100, seed=1) == geometric(0.7, 100, seed=1) != geometric(0.7, 100, seed=2)

    @pytest.mark.parametrize("chance", [0.3, 0.8, 0.95])
    def test_expected_taus_are_those_of_drawn_traces(self, chance: float) -> None:
        trace, paths = geometric(chance, 50_000, seed=5), acceptance.tree_paths()
        starts = range(0, 50_000, 7)
        assert sum(trace.run(i, 5) for i in starts) / len(starts) == pytest.approx(chain_tau(chance, 5), rel=0.03)
        assert sum(trace.descend(i, paths, 5) for i in starts) / len(starts) == pytest.approx(
            tree_tau(chance), rel=0.03
        )

    def test_inverses(self) -> None:
        for chance in (0.2, 0.6, 0.9):
            assert chance_of_chain(chain_tau(chance, 7), 7) == pytest.approx(chance)
            assert chance_of_tree(tree_tau(chance)) == pytest.approx(chance)

    @pytest.mark.parametrize(("chain", "tree"), [(2.79, 3.48), (3.12, 3.68), (3.46, 4.13)])
    def test_trees_are_worth_what_was_reported(self, chain: float, tree: float) -> None:
        """SpecVLM's two pairs of taus, and the README's of the bundled pair's demo."""
        assert tree_tau(chance_of_chain(chain, 5)) == pytest.approx(tree, rel=0.05)


def result(histogram: list[int], window: int, method: str = "sd", **metrics: Any) -> dict[str, Any]:
    counts = {"acceptance_histogram": histogram, "num_spec_tokens": window}
    return {"method": method, "metrics": {"speculative_decoding": counts, **metrics}}


class TestFiles:
    def write(self, tmp_path: Path, text: str) -> Path:
        path = tmp_path / "trace.json"
        path.write_text(text)
        return path

    def test_lists(self, tmp_path: Path) -> None:
        for text in ("[true, false, true]", "[1, 0, 1]"):
            trace = read(self.write(tmp_path, text))
            assert [trace.right(i) for i in range(4)] == [True, False, True, True]

    def test_a_chains_histogram(self) -> None:
        trace = of_result(result([3, 2, 0, 5], 3), "a run")
        # 3 rounds of nothing, 2 of one token, 5 of a whole window, which ends without a rejection.
        assert len(trace.ranks) == 3 * 1 + 2 * 2 + 5 * 3
        assert trace.share == pytest.approx((2 + 15) / 22)

    def test_a_trees_histogram_is_not_a_chains(self) -> None:
        trace = of_result(result([1, 1, 2, 3, 3, 10], 5, "specvlm"), "a run")
        assert tree_tau(trace.share) == pytest.approx((1 + 4 + 9 + 12 + 50) / 20, rel=0.03)

    def test_windows_that_vary_are_counted_between_rejections(self) -> None:
        made = result([5, 50], 5, "sd", gamma={"auto": True}, accepted_between_rejections=4.0)
        assert of_result(made, "a run").share == pytest.approx(0.8, abs=0.02)

    def test_a_real_result(self, tmp_path: Path, rushes: Any, video: Path) -> None:
        done = rushes("generate", video, "--method", "sd", "--max-new-tokens", 24, "--json")
        assert done.code == 0
        trace = read(self.write(tmp_path, done.out))
        counts = json.loads(done.out)["metrics"]["speculative_decoding"]
        assert sum(rank == 0 for rank in trace.ranks) == counts["num_accepted_draft_tokens"]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "not JSON"),
            ("{nope", "not JSON"),
            ("[]", "the trace is empty"),
            ("[1, 2]", "entry 1 is 2"),
            ('["yes"]', "entry 0 is 'yes'"),
            ("[null]", "entry 0 is None"),
            ("7", "neither a list"),
            ("{}", "neither a list"),
            ('{"metrics": {}}', "no acceptance_histogram"),
            ('{"metrics": {"speculative_decoding": 3}}', "no acceptance_histogram"),
            (json.dumps(result([], 5)), "no acceptance_histogram"),
            (json.dumps(result([-1, 2], 5)), "no acceptance_histogram"),
            (json.dumps(result([1, 2, 3], 1)), "counts more tokens than num_spec_tokens, 1"),
            (json.dumps(result([1, 2], 5, "sage")), "says little of a chain"),
            (json.dumps(result([1, 2], 5, "std")), "says little of a chain"),
            (json.dumps(result([1, 2], 5, "nonesuch")), "unknown method"),
            (json.dumps(result([1, 2], 5, "sd", gamma={"auto": True})), "accepted_between_rejections must be"),
        ],
    )
    def test_malformed(self, tmp_path: Path, text: str, words: str) -> None:
        with pytest.raises(RushesError) as error:
            read(self.write(tmp_path, text))
        assert words in str(error.value)
        assert "\n" not in str(error.value)

    def test_unreadable(self, tmp_path: Path) -> None:
        with pytest.raises(RushesError, match="No such file"):
            read(tmp_path / "none.json")
        with pytest.raises(RushesError, match="directory"):
            read(tmp_path)
        (tmp_path / "latin").write_bytes(b"caf\xe9")
        with pytest.raises(RushesError, match="not UTF-8"):
            read(tmp_path / "latin")


class TestOutlook:
    def test_between_and_outside_of_what_is_known(self) -> None:
        made = outlook.given("0.1=0.8,0.5=0.9", None)
        assert made is not None
        assert [made.chance(keep) for keep in (0.0, 0.1, 0.3, 0.5, 1.0)] == pytest.approx([0.8, 0.8, 0.85, 0.9, 0.9])
        assert made.traces(0.5).share == pytest.approx(0.9, abs=0.02)

    def test_one_for_all(self) -> None:
        made = outlook.given("0.7", None)
        assert made is not None
        assert made.chance(0.1) == made.chance(1.0) == 0.7
        assert outlook.given(None, None) is None

    def test_the_demo_is_known_and_others_are_assumed(self) -> None:
        assert outlook.of_demo().chance(0.1) == pytest.approx(0.88, abs=0.005)
        assert outlook.of_demo().chance(0.0) < 0.85
        assert "ASSUMED" in outlook.assumed().about

    @pytest.mark.parametrize("text", ["1.5", "-0.1", "nan", "much", "", "0.1=2", "2=0.5", "0.1=", "=0.5", "0.1=0.8,"])
    def test_what_cannot_be(self, text: str) -> None:
        with pytest.raises(RushesError, match=r"must be between 0 and 1, got"):
            outlook.given(text, None)

    @pytest.mark.parametrize(("text", "words"), [("", "no keep ratios"), (",", "no keep"), ("0.1,7", "got '7'")])
    def test_keeps(self, text: str, words: str) -> None:
        with pytest.raises(RushesError, match=words):
            outlook.keeps_of(text)
        assert outlook.keeps_of("0.5, 0.1,0.5") == (0.5, 0.1)
