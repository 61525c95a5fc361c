"""The search: for every method its best gamma and keep ratio on a device, and what limits it there."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rushes.bench.planning.acceptance import TREE_DEPTH, Trace, tree_paths
from rushes.bench.planning.limits import limits
from rushes.bench.planning.request import Costs, How, Run
from rushes.bench.planning.simulate import Summary, many
from rushes.bench.planning.workload import Setting

SEARCHED_TOKENS = 512  # simulated for each candidate; enough to tell which is better
FINAL_TOKENS = 4096  # and for what is printed
LONGEST = 2048  # tokens of a simulated answer; what is longer goes on at the same speed
WIDEST = 32  # as `--gamma auto`
Traces = Callable[[float], Trace]  # by keep ratio


@dataclass(frozen=True, slots=True)
class Method:
    """A row of the table.

    Attributes:
        name: As `rushes generate --method` takes it.
        how: Its gamma is where the search begins, or ends for a tree.
        schedule: "sequential"; "pipelined", which writes ahead or takes turns, whatever is faster; or "adaptive", which
            after a rejection may also let the draft go first.
        pruned: The keep ratio is searched; otherwise the draft sees everything.
    """

    name: str
    how: How
    schedule: str = "sequential"
    pruned: bool = True


# Which video tokens a scorer keeps does not change what a step costs: scorers differ by when their scores exist.
METHODS = (
    Method("sd", How(), pruned=False),
    Method("specvlm", How(tree=tree_paths(), gamma=TREE_DEPTH)),
    Method("uniform+chain+exact+sequential", How()),
    Method("uniform+chain+exact+pipelined", How(overlap=True, ready="vision"), "pipelined"),
    Method("parallelvlm", How(overlap=True, ready="early"), "pipelined"),
    Method("hippo", How(overlap=True, ready="prefill"), "adaptive"),
)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a method is predicted to do; times in seconds.

    Attributes:
        gamma: Best window; None writes for as long as the target is busy.
        mode: What a schedule that overlaps settles for.
        limits: What the decoding span is spent on, as shares, the largest first.
        preparation_share: Of the whole request, what lies before decoding.
    """

    method: str
    schedule: str
    gamma: int | None
    keep: float
    mode: str
    tokens_per_second: float
    speedup_decode: float
    speedup_end_to_end: float
    target_pass_s: float
    draft_step_s: float
    accepted_per_round: float
    tokens_per_target_pass: float
    limits: dict[str, float]
    preparation_share: float
    busy: dict[str, float]
    discarded: dict[str, float]
    total_s: float
    decoding_s: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def predict(
    setting: Setting, traces: Traces, keeps: Sequence[float], methods: Sequence[Method] = METHODS
) -> list[Prediction]:
    """Plain decoding, and every method with the gamma and the keep ratio that end its answer first.

    Args:
        traces: The acceptance at a keep ratio.
        keeps: Ratios to try where the draft's view is pruned.
    """
    planner = _Planner(setting, traces)
    return [planner.plain, *(planner.search(one, keeps if one.pruned else (1.0,)) for one in methods)]


def best(rows: Sequence[Prediction]) -> int:
    """The row whose answer is complete first."""
    return min(range(len(rows)), key=lambda i: rows[i].total_s)


def fixed(setting: Setting, trace: Trace, method: Method, keep: float) -> Prediction:
    """A method exactly as it is given, without a search."""
    return _Planner(setting, lambda _: trace).final(method, method.how, keep)


class _Planner:
    def __init__(self, setting: Setting, traces: Traces) -> None:
        self.setting, self.traces = setting, traces
        how = How(gamma=0)
        costs = setting.costs(1.0)
        self._plain, runs = self._many(how, costs, 1.0, 1)
        self.plain = self._prediction(Method("ar", how), how, 1.0, costs, self._plain, limits(how, costs, runs))

    def search(self, method: Method, keeps: Sequence[float]) -> Prediction:
        found: tuple[float, float, How] | None = None
        for keep in keeps:
            costs = self._costs(method.how, keep)
            for how in candidates(method, costs):
                total = self._many(how, costs, keep, SEARCHED_TOKENS)[0].total_s
                if found is None or total < found[0]:
                    found = total, keep, how
        if found is None:
            raise ValueError("no keep ratio to try")
        return self.final(method, found[2], found[1])

    def final(self, method: Method, how: How, keep: float) -> Prediction:
        costs = self._costs(how, keep)
        result, runs = self._many(how, costs, keep, FINAL_TOKENS)
        return self._prediction(method, how, keep, costs, result, limits(how, costs, runs))

    def _many(self, how: How, costs: Costs, keep: float, tokens: int) -> tuple[Summary, list[Run]]:
        asked = self.setting.workload.new_tokens
        length = min(asked, LONGEST)
        result, runs = many(how, costs, self.traces(keep), length, tokens)
        longer_s = result.decoding_s * (asked - length) / (length - 1)
        return replace(result, decoding_s=result.decoding_s + longer_s, total_s=result.total_s + longer_s), runs

    def _costs(self, how: How, keep: float) -> Costs:
        return self.setting.costs(keep, tree=how.tree is not None)

    def _prediction(
        self, method: Method, how: How, keep: float, costs: Costs, result: Summary, why: dict[str, float]
    ) -> Prediction:
        return Prediction(
            method=method.name,
            schedule=method.schedule,
            gamma=how.gamma,
            keep=keep,
            mode=_mode(how) if how.overlap else "",
            tokens_per_second=(self.setting.workload.new_tokens - 1) / result.decoding_s,
            speedup_decode=self._plain.decoding_s / result.decoding_s,
            speedup_end_to_end=self._plain.total_s / result.total_s,
            target_pass_s=costs.review(1).seconds,
            draft_step_s=costs.level(0).seconds,
            accepted_per_round=result.accepted_per_round,
            tokens_per_target_pass=result.tokens_per_pass,
            limits=why,
            preparation_share=1 - result.decoding_s / result.total_s,
            busy=result.busy,
            discarded=result.discarded,
            total_s=result.total_s,
            decoding_s=result.decoding_s,
        )


def candidates(method: Method, costs: Costs) -> Iterator[How]:
    """The ways in which a method may run."""
    how = method.how
    if how.tree is not None:
        yield how
        return
    for gamma in _gammas(costs.review(1).seconds / costs.level(0).seconds):
        if not how.overlap:
            yield replace(how, gamma=gamma)
            continue
        if gamma > 1:  # a guess alone leaves nothing to review
            yield replace(how, gamma=gamma)
        if gamma > 1 and method.schedule == "adaptive":
            yield replace(how, gamma=gamma, lead=gamma)
        yield replace(how, gamma=gamma, lead=gamma, ahead=False)
    if how.overlap:
        yield replace(how, gamma=None)


def _gammas(ratio: float) -> list[int]:
    """Every small window, and wider ones in steps of a fifth; past twice `T_p / T_q` none is worth its time."""
    widths, width = [], 1
    while width <= min(WIDEST, max(8, round(2 * ratio))):
        widths.append(width)
        width = max(width + 1, round(1.2 * width))
    return widths


def _mode(how: How) -> str:
    if not how.ahead:
        return "taking turns"
    return "draft first" if how.lead else "target first"
