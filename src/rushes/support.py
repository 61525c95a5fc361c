"""What the tests have shown to work: written by a run of them (`make support`), read by `rushes methods`."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rushes.atomic import whole

FILE = Path(__file__).parent / "support.json"
KINDS = ("scorers", "drafters", "prompts")


@dataclass(frozen=True, slots=True)
class Support:
    """Family -> kind -> the names whose greedy answers equalled those of transformers' generate, in fp32.

    Every scorer of a family ran with every drafter of it.
    """

    families: dict[str, dict[str, list[str]]]

    def names(self, kind: str) -> list[str]:
        """All names of a kind, in order."""
        return sorted({name for kinds in self.families.values() for name in kinds.get(kind, ())})

    def save(self, file: Path = FILE) -> None:
        """Write it where `load` reads it."""
        with whole(file) as temporary:
            temporary.write_text(json.dumps(self.families, indent=1, sort_keys=True) + "\n")

    def table(self) -> str:
        """Markdown: one line for each family; below it, what "all" is."""
        lines = [_row(["family", *KINDS]), _row(["---"] * (len(KINDS) + 1))]
        for family, found in sorted(self.families.items()):
            lines.append(_row([f"`{family}`", *(self._cell(kind, found.get(kind, [])) for kind in KINDS)]))
        every = (f"* {kind}: {', '.join(self.names(kind))}" for kind in KINDS)
        return "\n".join([*lines, "", *every])

    def _cell(self, kind: str, found: list[str]) -> str:
        names = self.names(kind)
        return f"all {len(names)}" if sorted(found) == names else ", ".join(found) or "-"


def load(file: Path = FILE) -> Support:
    """What the last run of the tests wrote; nothing if there was none."""
    return Support(json.loads(file.read_text()) if file.is_file() else {})


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
