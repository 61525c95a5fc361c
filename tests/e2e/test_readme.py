"""The README's commands run as written, and its figures are those of the committed results."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from rushes.methods import method

pytestmark = pytest.mark.xdist_group("readme")  # one environment, one demo
ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"<!-- run -->\n```sh\n(.*?)```", README, re.DOTALL)
    for line in block.replace("\\\n", " ").strip().splitlines()
]


def run(command: str, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shlex.split(command), cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
    )


@pytest.fixture(scope="session")
def demo() -> subprocess.CompletedProcess[str]:
    return run("make demo")


def test_the_readme_has_commands_to_run() -> None:
    assert COMMANDS[0] == "make demo"
    assert len(COMMANDS) >= 5


def test_make_demo_does_what_the_readme_says(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stderr
    assert "stand-ins" in demo.stdout
    results = json.loads((ROOT / "demo-out" / "results.json").read_text())
    rows = {row["method"]: row for row in results["rows"]}
    assert list(rows) == ["ar", "sd", "specvlm", "hippo", "lvspec", "rush"]
    contract = {
        "method",
        "speedup_decode",
        "speedup_end_to_end",
        "tokens_per_second",
        "accepted_per_round",
        "kept_tokens",
        "video_tokens",
        "identical",
        "retention",
    }
    for name, row in rows.items():
        assert contract <= row.keys()
        assert row["lossless"] == (name not in ("lvspec", "rush"))
        assert re.search(rf"^{name} .*{row['speedup_decode']:.2f}x", demo.stdout, re.MULTILINE)
        # In bf16 a near tie may fall the other way; then the table must say where and how near.
        assert row["identical"] or row["divergences"][0]["logit_gap"] is not None
    assert rows["specvlm"]["kept_tokens"] == rows["specvlm"]["video_tokens"] // 10
    assert rows["sd"]["kept_tokens"] == rows["sd"]["video_tokens"]
    assert "Beyond uniform at the same keep, video by video" in demo.stdout
    assert {row["scorer"] for row in results["scorers"]} >= {"hippo", "uvprune", "specvlm", "uniform", "random", "none"}
    for picture in ("kept-sd.png", "kept-specvlm.png"):
        assert (ROOT / "demo-out" / picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_a_command_of_the_readme_runs(command: str, demo: subprocess.CompletedProcess[str]) -> None:
    done = run(command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    if "--check" in command:
        assert "check: identical to plain decoding" in done.stderr
    if "--json" in command:
        assert json.loads(done.stdout)["finish_reason"] in ("stop", "length")


def test_make_test_runs_the_whole_suite() -> None:
    planned = run("make --dry-run test").stdout
    assert "-m pytest" in planned
    assert "-k" not in planned


def test_the_tables_figures_are_those_of_the_committed_run() -> None:
    for row in json.loads((ROOT / "results" / "demo.json").read_text())["rows"]:
        line = next(x for x in README.splitlines() if x.startswith(f"| `{row['method']}` "))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[1] == f"{row['tokens_per_second']:.1f}"
        assert cells[2] == f"{row['speedup_decode']:.2f}x"
        assert cells[3] == f"{row['speedup_end_to_end']:.2f}x"


def test_the_pairs_figures_are_those_of_the_committed_evaluation() -> None:
    report = json.loads((ROOT / "results" / "pair.json").read_text())
    for name in ("target", "draft"):
        scores = report["attribute_f1"][name]
        line = next(x for x in README.splitlines() if x.startswith(f"| {name} "))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        wanted = [scores[a] for a in ("all", "color", "shape", "background", "motion")]
        assert cells[2:7] == [f"{x:.2f}" for x in wanted]
    assert report["attribute_f1"]["target"]["all"] >= 0.9
    assert report["attribute_f1"]["draft"]["all"] < report["attribute_f1"]["target"]["all"], "a weaker sibling"
    found = report["accepted_per_round"]
    for drafter in ("chain", "tree"):  # the blind draft is worse by more than the intervals
        blind = found[f"none+{drafter}"]["interval_95"][1]
        assert all(blind < found[f"{view}+{drafter}"]["interval_95"][0] for view in ("full", "uniform"))
    section = README.split("## The bundled pair")[1]
    for view, found in report["accepted_per_round"].items():
        scorer, drafter = view.split("+")
        line = next(x for x in section.splitlines() if x.startswith(f"| `{scorer}` |") and "[" in x)
        low, high = found["interval_95"]
        assert f"{found['mean']:.2f} [{low:.2f}, {high:.2f}]" in line, (scorer, drafter)


def test_the_scorers_figures_are_those_of_the_committed_run() -> None:
    table = README.split("<!-- scorers -->")[1].split("<!-- /scorers -->")[0]
    lines = {line.strip("| ").split(" ")[0]: line for line in table.strip().splitlines()[2:]}
    results = json.loads((ROOT / "results" / "demo.json").read_text())["scorers"]
    assert {row["scorer"] for row in results} == set(lines)
    assert {row["keep"] for row in results} == {None, 0.05, 0.1, 0.2, 0.5}
    for row in results:
        words = f"{row['accepted_per_round']:.2f}"
        if row["keep"] is not None and row["scorer"] != "uniform":
            low, high = row["beyond_uniform_interval_95"]
            words += f" ({row['beyond_uniform']:+.2f} [{low:+.2f}, {high:+.2f}])"
        assert f"| {words} |" in lines[row["scorer"]], row["scorer"]
        assert row["samples"] >= 50


def table_between(name: str) -> list[list[str]]:
    """The cells of the README's table between two markers, without its head."""
    text = README.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_the_benchmarks_figures_are_those_of_the_committed_run() -> None:
    report = json.loads((ROOT / "results" / "bench.json").read_text())
    rows = report["rows"]
    shown = table_between("bench")
    assert [cells[0] for cells in shown] == [f"`{row['method']}`" for row in rows]
    assert {"ar", "transformers", "assisted", "specvlm", "lvspec", "rush"} <= {row["method"] for row in rows}
    for cells, row in zip(shown, rows, strict=True):
        for cell, figure in zip(cells[1:3], ("speedup_decode", "speedup_end_to_end"), strict=True):
            low, high = row[f"{figure}_interval"]
            assert cell == f"{row[figure]:.2f}x [{low:.2f}, {high:.2f}]"
        if cells[3] != "-":
            assert cells[3] == f"{row['accepted_per_round']:.2f}"
            assert cells[4] == f"{row['kept_tokens']} of {row['video_tokens']}"
        assert cells[5] == ("yes" if row["lossless"] else "no")
        assert cells[6] == f"{row['retention']:.1%}"
        assert cells[7] == f"{row['identical_share']:.0%}"


def test_the_fronts_figures_are_those_of_the_committed_sweep() -> None:
    report = json.loads((ROOT / "results" / "front.json").read_text())
    chosen = report["validation"]["lambda"]
    assert f"is **{chosen:g}**" in README
    assert method("lvspec").verifier.lambda_ == chosen, "the default is what the validation videos say"
    assert report["test"]["videos"] >= 200
    rows = [row for row in report["test"]["rows"] if row["curve"] != "plain"]
    for cells, row in zip(table_between("front"), rows, strict=True):
        assert row["knob"] is None or f"={row['knob']}" in cells[0]
        low, high = row["retention"]["interval_95"]
        assert cells[1:] == [
            f"{row['keep']:g}",
            f"{row['retention']['value']:.1%} [{low:.1%}, {high:.1%}]",
            f"{row['accepted_per_round']['mean']:.2f}",
            f"{row['speedup_decode']['median']:.2f}x",
            f"{row['identical']:.0%}",
        ]


def test_the_overlaps_figures_are_those_of_the_committed_run() -> None:
    report = json.loads((ROOT / "results" / "overlapping.json").read_text())["rows"]
    table = README.split("| situation |")[1].splitlines()[2:5]
    for line, situation in zip(
        table, ("two devices, emulated", "shared cores", "shared cores, a draft that is always wrong"), strict=True
    ):
        found = [f"{row['end_to_end_over_sequential']['median']:.2f}x" for row in report[situation]]
        _, parallelvlm, always, _, hippo, always_hippo = found
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[1:] == [parallelvlm, hippo, f"{always}, {always_hippo}"]
        assert all(row["identical"] for row in report[situation])


def test_the_planners_figures_are_those_of_the_committed_check() -> None:
    report = json.loads((ROOT / "results" / "plan.json").read_text())
    for row in report["rows"]:
        assert all(abs(row["error"][f"speedup_{what}"]) <= 0.2 for what in ("decode", "end_to_end")), row["method"]
        assert all(abs(row["error"][what]) <= 0.3 for what in ("decoding_s", "total_s")), row["method"]
    met = sum(claim["within"] for claim in report["papers"])
    words = {7: "seven", 8: "eight", 9: "nine", 10: "ten"}
    assert len(report["papers"]) == 15
    assert f"meets {words[met]} within 10 %" in README
