"""What a run leaves behind: the page and the plots hold what the JSON holds, and nothing from the network."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_runner import QUESTIONS, FakePair

from rushes.bench import plots
from rushes.bench.journal import Journal
from rushes.bench.outcome import publish, report, save
from rushes.bench.page import page
from rushes.bench.results import SCHEMA
from rushes.bench.runner import run
from rushes.bench.tables import print_changes, print_rows
from rushes.bench.trial import Question, Trial
from rushes.timeline import TARGET, Timeline

TRIALS = [Trial("ar", "ar"), Trial("fast", "specvlm"), Trial("slow", "sd"), Trial("fast (w)", "specvlm", group="w")]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setitem(__import__("test_runner").SECONDS, "fast (w)", 4.0)
    journal = Journal(tmp_path / "j", {"schema": SCHEMA})
    run(FakePair(), TRIALS, [*QUESTIONS, Question("broken.mp4", "<b>?")], journal, repeats=2)
    return report("a <title>", TRIALS, journal, {"device": "<cpu>", "repeats": 2})


def test_the_file_is_whole_and_says_its_schema(made: dict[str, Any], tmp_path: Path) -> None:
    path = save(made, tmp_path)
    assert json.loads(path.read_text()) == json.loads(json.dumps(made))
    assert json.loads(path.read_text())["schema"] == SCHEMA
    assert [row["method"] for row in made["rows"]] == [trial.name for trial in TRIALS]


def test_every_plot_draws_what_stands_in_the_json(made: dict[str, Any], tmp_path: Path) -> None:
    from matplotlib.axes import Axes

    drawn: list[tuple[list[str], list[float]]] = []
    original = Axes.barh

    def spy(self: Any, labels: list[str], values: list[float], **more: Any) -> Any:
        drawn.append((list(labels), list(values)))
        return original(self, labels, values, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Axes, "barh", spy)
        files = plots.draw_all(made, tmp_path)
    assert len(files) == 2
    for group, pair in zip(("", "w"), (drawn[:2], drawn[2:]), strict=True):
        rows = [row for row in made["rows"] if row["group"] == group]
        for figure, (labels, values) in zip(("speedup_decode", "speedup_end_to_end"), pair, strict=True):
            assert labels == [row["method"] for row in rows]
            assert values == [row[figure] for row in rows]
    for path in files.values():
        assert Image.open(path).size[0] > 500


def test_the_page_holds_every_row_and_needs_no_network(made: dict[str, Any], tmp_path: Path) -> None:
    timeline = Timeline()
    timeline.start()
    with timeline.span(TARGET, "review"):
        pass
    timeline.total_s = timeline.now()
    text = publish(made, tmp_path, ["ar", "fast"], {"fast": timeline, "slow": timeline}).read_text()
    assert publish(made, tmp_path, ["ar", "fast"], {}).read_text() == text, "an earlier run drew it"
    assert re.findall(r"data-method='([^']*)'", text) == [trial.name for trial in TRIALS]
    for row in made["rows"]:
        assert f"{row['speedup_decode']:.2f}x" in text
    assert text.count("data:image/png;base64,") == 3  # two plots and a timeline
    assert "http" not in re.sub(r"base64,[^']*", "", text).replace("http-equiv", "")
    assert "<title>a &lt;title&gt;</title>" in text
    assert "&lt;cpu&gt;" in text
    assert "does not apply" in text
    assert "cannot be decoded" in text
    assert "from token 2 on, the target prefers its own by 0.5 logits" in text


def test_a_page_of_nothing_to_complain_about(made: dict[str, Any]) -> None:
    clean = {**made, "skipped": [], "rows": made["rows"][:2]}
    assert "What could not be run" not in page(clean, {}, {})
    assert "differ from plain decoding" not in page(clean, {}, {})


def test_the_tables_for_a_terminal(made: dict[str, Any]) -> None:
    lines: list[str] = []
    print_rows(made["rows"], lines.append)
    text = "\n".join(lines)
    for row in made["rows"]:
        assert re.search(rf"^{re.escape(row['method'])} .*{row['speedup_decode']:.2f}x", text, re.MULTILINE)
    assert "Ablation: w" in text
    assert re.search(r"^slow .* no .* 50.0% .*0% \(token 2, gap 0.5\)$", text, re.MULTILINE)
    from rushes.bench.comparing import Change

    print_changes([Change("a", "x", 1, 1, "same"), Change("b", "x", 2, 1, "worse")], lines.append)
    assert lines[-1].index("worse") < lines[-1].index("same")
