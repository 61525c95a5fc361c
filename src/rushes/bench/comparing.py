"""`rushes bench --compare OLD NEW`: what got slower or less accurate beyond the noise."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rushes.bench.results import SCHEMA
from rushes.errors import RushesError

FASTER_IS_MORE = ("speedup_decode", "speedup_end_to_end")
QUALITY = ("retention",)


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of one method in two runs.

    Attributes:
        verdict: "worse", "better" or "same"; the two intervals do not touch unless it is "same". "unknown" where a run
            had one answer only, which has no interval.
    """

    method: str
    figure: str
    old: float
    new: float
    verdict: str


def load(path: Path) -> dict[str, Any]:
    """A results file.

    Raises:
        RushesError: It cannot be read, is no results file, or is of a newer schema.
    """
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise RushesError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise RushesError(f"{path} is no results file of `rushes bench`") from error
    if not isinstance(found, dict) or not isinstance(found.get("rows"), list) or "schema" not in found:
        raise RushesError(f"{path} is no results file of `rushes bench`")
    if not isinstance(found["schema"], int) or found["schema"] > SCHEMA:
        raise RushesError(f"{path} has schema {found['schema']}, and this version reads up to {SCHEMA}; update rushes")
    return found


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """Every figure that both files hold, method by method: ratios to plain decoding, and quality.

    Ratios of one run can be compared with those of another; seconds of different runs or machines cannot.
    """
    before = {row["method"]: row for row in old["rows"]}
    made = []
    for row in new["rows"]:
        for figure in (*FASTER_IS_MORE, *QUALITY):
            was = before.get(row["method"], {})
            values = (was.get(figure), row.get(figure))
            spreads = (was.get(f"{figure}_interval"), row.get(f"{figure}_interval"))
            if None in values or None in spreads or row["method"] == "ar":
                continue
            few = min(was.get("answers", 0), row.get("answers", 0)) < 2
            made.append(Change(row["method"], figure, *values, "unknown" if few else _verdict(*spreads)))
        judged = row.get("identical_share") is not None
        if judged and before.get(row["method"], {}).get("identical") and not row["identical"] and row["lossless"]:
            made.append(Change(row["method"], "identical", 1.0, float(row["identical_share"] or 0), "worse"))
    return made


def _verdict(old: list[float], new: list[float]) -> str:
    if new[1] < old[0]:
        return "worse"
    return "better" if new[0] > old[1] else "same"
