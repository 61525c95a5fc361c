"""The tables of support say what ran, and nothing else. Stands behind the tests that note what they have run."""

from pathlib import Path

import pytest

from families import FAMILIES
from ran import ran
from rushes import support
from rushes.methods import DRAFTERS

pytestmark = pytest.mark.xdist_group("support")  # behind the tests that note, in their process
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- support -->\n", "\n<!-- /support -->"


@pytest.fixture
def found() -> support.Support:
    missing = [family for family in FAMILIES if len(ran.get(family, {}).get("drafters", ())) < len(DRAFTERS)]
    if missing or any("prompts" not in kinds for kinds in ran.values()):
        pytest.skip("not everything that the table tells has run")
    return support.Support({f: {kind: sorted(names) for kind, names in kinds.items()} for f, kinds in ran.items()})


def test_the_table_of_support_is_what_ran(found: support.Support, request: pytest.FixtureRequest) -> None:
    before, _, after = _readme()
    if request.config.getoption("--write-support"):
        found.save()
        README.write_text(f"{before}{BEGIN}{found.table()}{END}{after}")
    assert support.load() == found, "run `make support`"


def test_the_readme_shows_the_table() -> None:
    assert _readme()[1] == support.load().table(), "run `make support`"


def _readme() -> tuple[str, str, str]:
    before, _, rest = README.read_text().partition(BEGIN)
    table, _, after = rest.partition(END)
    return before, table, after


def test_a_table_has_a_line_for_each_family_and_names_what_all_is(tmp_path: Path) -> None:
    made = support.Support({"b": {"scorers": ["full"], "prompts": ["a video"]}, "a": {"scorers": ["full", "none"]}})
    made.save(tmp_path / "support.json")
    assert support.load(tmp_path / "support.json") == made
    assert made.table().splitlines() == [
        "| family | scorers | drafters | prompts |",
        "| --- | --- | --- | --- |",
        "| `a` | all 2 | all 0 | - |",
        "| `b` | full | all 0 | all 1 |",
        "",
        "* scorers: full, none",
        "* drafters: ",
        "* prompts: a video",
    ]
