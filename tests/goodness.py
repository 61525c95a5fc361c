"""Does a sample follow a distribution? Pearson's chi-square with rare outcomes pooled."""

from collections import Counter
from collections.abc import Hashable, Mapping

from scipy.stats import chi2

ALPHA = 1e-4  # seeds are fixed: a test that passes once passes always


def p_value(counts: Counter[Hashable], expected: Mapping[Hashable, float], *, least: float = 5.0) -> float:
    """Probability of a deviation at least this large if the outcomes do follow `expected`.

    Args:
        counts: How often each outcome was seen.
        expected: Outcome -> probability; an outcome that is not in it has probability 0.
        least: Outcomes that are expected less often than this are pooled into one cell.
    """
    total = sum(counts.values())
    if any(expected.get(outcome, 0.0) <= 0 for outcome in counts):
        return 0.0  # the impossible happened
    cells = [(counts[outcome], total * p) for outcome, p in expected.items() if total * p >= least]
    pooled = (total - sum(seen for seen, _ in cells), total - sum(wanted for _, wanted in cells))
    cells += [pooled] if pooled[1] > 1e-6 * total else []
    statistic = sum((seen - wanted) ** 2 / wanted for seen, wanted in cells)
    return float(chi2.sf(statistic, len(cells) - 1)) if len(cells) > 1 else 1.0
