"""What the tests have shown to work: written by a run of them (`make support`), read by `rushes methods`."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rushes.atomic import whole

FILE = Path(__file__).parent / "support.json"
KINDS = {"scorers": "scorer", "drafters": "drafter", "prompts": "prompt with"}


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
        """Markdown: one column for each family."""
        families = sorted(self.families)
        lines = [_row(["", *(f"`{family}`" for family in families)]), _row(["---"] * (len(families) + 1))]
        for kind, word in KINDS.items():
            for name in self.names(kind):
                marks = ("yes" if name in self.families[family].get(kind, ()) else "-" for family in families)
                lines.append(_row([f"{word} {name}" if kind == "prompts" else f"{word} `{name}`", *marks]))
        return "\n".join(lines)


def load(file: Path = FILE) -> Support:
    """What the last run of the tests wrote; nothing if there was none."""
    return Support(json.loads(file.read_text()) if file.is_file() else {})


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
