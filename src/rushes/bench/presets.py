"""The structure of each paper's main table and ablations, for any pair.

Published figures belong to the papers' own checkpoints and machines; what a preset reproduces is which rows stand
beside which.
"""

from collections.abc import Iterable

from rushes.bench.trial import ASSISTED, PLAIN, STOCK, Trial
from rushes.errors import unknown_name
from rushes.methods import method

BASELINES = (Trial(PLAIN, PLAIN), Trial(STOCK, STOCK), Trial(ASSISTED, ASSISTED), Trial("sd", "sd"))
KEEPS = (1.0, 0.5, 0.2, 0.1, 0.05)


def _ablation(group: str, methods: Iterable[str], keep: float = 0.1) -> list[Trial]:
    return [Trial(f"{name} ({group})", name, keep, group=group) for name in methods]


def _keeps(scorer: str, rest: str) -> list[Trial]:
    """The pruning-ratio sweep."""
    return [Trial(f"{scorer} keep {keep:g}", f"{scorer}+{rest}", keep, group="kept share") for keep in KEEPS]


def _scorers(own: str, rest: str) -> list[Trial]:
    """The paper's scorer beside raw attention, the controls, and a draft that is blind."""
    return _ablation("scorer", (f"{name}+{rest}" for name in (own, "attention", "uniform", "random", "none")))


def _specvlm() -> list[Trial]:
    """SpecVLM (arXiv 2508.16201): main table; pruning ratio; scorers; tree against chain."""
    return [
        Trial("sd-tree", "full+tree+exact+sequential"),
        Trial("specvlm", "specvlm"),
        *_keeps("specvlm", "tree+exact+sequential"),
        *_scorers("specvlm", "tree+exact+sequential"),
        *_ablation("drafter", (f"specvlm+{drafter}+exact+sequential" for drafter in ("chain", "tree", "sage"))),
    ]


def _parallelvlm() -> list[Trial]:
    """ParallelVLM (arXiv 2603.19610): main table; pruning ratio; scorers; the parts of its overlap."""
    schedules = ("sequential", "pipelined:prefill=late", "pipelined", "pipelined:overlap=always")
    return [
        Trial("specvlm", "specvlm"),
        Trial("parallelvlm", "parallelvlm"),
        *_keeps("uvprune", "chain+exact+pipelined"),
        *_scorers("uvprune", "chain+exact+sequential"),
        *_ablation("schedule", (f"uvprune+chain+exact+{schedule}" for schedule in schedules)),
    ]


def _hippo() -> list[Trial]:
    """HIPPO (arXiv 2601.08273): main table; pruning ratio; its three terms one by one; schedules."""
    terms = ("1/0/0", "0/1/0", "0/0/1", "0.5/0.5/0")
    schedules = ("sequential", "pipelined", "adaptive", "adaptive:overlap=always")
    return [
        Trial("specvlm", "specvlm"),
        Trial("parallelvlm", "parallelvlm"),
        Trial("hippo", "hippo"),
        *_keeps("hippo", "chain+exact+adaptive"),
        *_ablation("terms", (f"hippo:weights={weights}+chain+exact+sequential" for weights in terms)),
        *_scorers("hippo", "chain+exact+sequential"),
        *_ablation("schedule", (f"hippo+chain+exact+{schedule}" for schedule in schedules)),
    ]


def _lvspec() -> list[Trial]:
    """LVSpec (ACL 2026): main table; lambda; N; shift; which state; the random control; FLy."""
    chain = "uniform+chain:gamma=10"

    def loose(group: str, *verifiers: str) -> list[Trial]:
        return _ablation(group, (f"{chain}+{verifier}+sequential" for verifier in verifiers))

    return [
        Trial("specvlm", "specvlm"),
        Trial("lvspec", "lvspec"),
        Trial("rush", "rush"),
        *loose("lambda", *(f"lvspec:lambda={share:g}" for share in (0, 0.3, 0.5, 0.7, 0.9))),
        *loose("N", *(f"lvspec:n={n}" for n in (1, 10, 100))),
        *loose("shift", *(f"lvspec:w={w}" for w in (0, 2, 4))),
        *loose("state", "lvspec:at=before", "lvspec:at=token"),
        *loose("control", *(f"random:lambda={share:g}" for share in (0.3, 0.7))),
        Trial("fly (control)", "uniform+chain:gamma=15+fly+sequential", group="control"),
    ]


PRESETS = {"specvlm": _specvlm, "parallelvlm": _parallelvlm, "hippo": _hippo, "lvspec": _lvspec}


def preset(name: str) -> list[Trial]:
    """The trials of a preset, baselines first.

    Raises:
        RushesError: An unknown name.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, list(PRESETS))
    return [*BASELINES, *PRESETS[name]()]


def trials(names: Iterable[str], keep: float) -> list[Trial]:
    """The trials of a list of methods; plain decoding is always the first.

    Raises:
        RushesError: An unknown method.
    """
    made = {PLAIN: Trial(PLAIN, PLAIN, keep)}
    for name in names:
        if name not in (STOCK, ASSISTED):
            method(name)
        made.setdefault(name, Trial(name, name, keep))
    return list(made.values())
