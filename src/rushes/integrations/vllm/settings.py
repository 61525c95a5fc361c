"""The `rushes` part of vLLM's `--additional-config`, checked before anything is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

from rushes.errors import RushesError, unknown_name
from rushes.loading import check_dtype
from rushes.methods import SCORERS
from rushes.parts import make, split
from rushes.pruning.base import Scorer
from rushes.pruning.hippo import LocalHippo

GUIDANCE = ("none", "draft")
OF_THE_TARGET = ("std",)  # chooses for each layer of the target, which only a target that drafts for itself can use


@dataclass(frozen=True, slots=True)
class Settings:
    """How the plug-in drafts.

    Args:
        draft: Checkpoint folder or hub id of the draft.
        scorer: Which video tokens the draft sees, with parameters behind colons, such as "hippo:crop=2".
        keep: Share of the video tokens that the draft sees, 0..1.
        guidance: Where attention and states come from that a scorer reads: "none", nowhere, or "draft", the draft's own
            first layers over the whole prompt. The target's are out of reach in vLLM.
        guidance_layers: How many layers of the draft; None for a quarter of them.
        draft_memory_gib: What the draft may take in all: weights, caches and kept vision features. None for its weights
            and 2 GiB more. vLLM does not know of it, so leave that much free beside `gpu_memory_utilization`.
        dtype: "auto" (vLLM's own), "float32", "bfloat16" or "float16".
        rows_at_once: Most requests in one forward of the draft; None for all.

    Raises:
        RushesError: A value out of range, or an unknown name.
    """

    draft: str
    scorer: str = "hippo"
    keep: float = 0.1
    guidance: str = "none"
    guidance_layers: int | None = None
    draft_memory_gib: float | None = None
    dtype: str = "auto"
    rows_at_once: int | None = None

    def __post_init__(self) -> None:
        for name in ("draft", "scorer", "guidance", "dtype"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise RushesError(f"{name} must be a word, got {value!r}")
        if not _is_number(self.keep) or not 0 <= self.keep <= 1:
            raise RushesError(f"keep must be between 0 (no video token) and 1 (all of them), got {self.keep!r}")
        if self.guidance not in GUIDANCE:
            raise unknown_name("guidance", self.guidance, list(GUIDANCE))
        for name in ("guidance_layers", "rows_at_once"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise RushesError(f"{name} must be a whole number of 1 or more, got {value!r}")
        memory = self.draft_memory_gib
        if memory is not None and (not _is_number(memory) or memory <= 0):
            raise RushesError(f"draft_memory_gib must be a number above 0, got {memory!r}")
        check_dtype(self.dtype)
        self.make_scorer()

    def make_scorer(self) -> Scorer:
        """The scorer that was asked for.

        Raises:
            RushesError: Unknown name or parameter, or it reads what nobody shows here.
        """
        known = {name: part for name, part in SCORERS.items() if name not in OF_THE_TARGET}
        if self.guidance == "none":
            known["hippo"] = LocalHippo
        name, given = split(self.scorer)
        made: Scorer = make("scorer", name, known, given)
        if self.guidance == "none" and any(signal.when > 0 for signal in made.needs):
            raise RushesError(
                f"scorer {name!r} reads the target's attention or states, which vLLM does not show; "
                'set "guidance": "draft", or take hippo or uniform'
            )
        return made


def read_settings(additional_config: Any) -> Settings:
    """The settings in `--additional-config '{"rushes": {...}}'`.

    Raises:
        RushesError: There are none, one is unknown, or as `Settings`.
    """
    given = additional_config.get("rushes") if isinstance(additional_config, Mapping) else None
    if not isinstance(given, Mapping):
        raise RushesError('the plug-in has no settings; pass --additional-config \'{"rushes": {"draft": "DRAFT"}}\'')
    allowed = [field.name for field in fields(Settings)]
    for name in given:
        if name not in allowed:
            raise unknown_name("setting of rushes", str(name), allowed)
    if "draft" not in given:
        raise RushesError('the draft is missing; pass --additional-config \'{"rushes": {"draft": "DRAFT"}}\'')
    return Settings(**given)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
