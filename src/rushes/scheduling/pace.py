"""gamma "auto": windows from measured speeds and acceptance, and a bound on what drafting in vain may cost."""

from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Any

MARGIN = 0.03  # how far behind plain decoding a request may fall, as a share of its time
CREDIT = 0.25  # and in the beginning, in plain passes: enough to find out what the draft is worth
FORGET = 0.9  # weight that an observation keeps per round
CATCH_UP = 1 / 8  # what reading one more pending token costs, in draft steps
OFF = 4  # plain rounds in a row that mean that drafting is switched off: two are only for measuring
NOISE = 0.3  # weight of a new time in a moving average


@dataclass(slots=True)
class Pace:
    """Chooses the depth of the next window.

    The widest window is `T_p / T_q` (`methods.md` section 4): behind so many draft steps a plain pass of the target
    would be done. Of these depths the one with the most expected tokens per second is taken, by the acceptance so far.
    Plain decoding is depth 0. A window is drafted only if, were all of it rejected, the request would still be within
    `MARGIN` (and `CREDIT`) of plain decoding's time.

    Args:
        widest: The drafter's own limit.
    """

    widest: int
    rounds: int = 0
    plain_rounds: int = 0
    depth: int = 0
    _plain: deque[float] = field(default_factory=lambda: deque(maxlen=33))
    _draft_s: float = 0.0  # T_q, one level of a window
    _row_s: float = 0.0  # what one more candidate adds to a pass of the target
    _nodes: float = 1.0  # candidates for each level
    _passed: float = 4.0  # an optimist at first: four of five accepted
    _failed: float = 1.0
    _plain_since: int = 0  # plain rounds since the last window
    _elapsed: float = 0.0
    _emitted: int = 0

    @property
    def plain_s(self) -> float:
        """T_p: one plain pass of the target."""
        return median(self._plain)

    @property
    def acceptance(self) -> float:
        """Chance that a candidate is accepted when all before it were."""
        return self._passed / (self._passed + self._failed)

    @property
    def ratio(self) -> float:
        """T_p / T_q; 0 before both were measured."""
        return self.plain_s / self._draft_s if self._plain and self._draft_s else 0.0

    def next_depth(self, pending: int = 1) -> int:
        """Levels of the next window; 0 is a plain pass.

        Args:
            pending: Tokens that the draft must read first; more than one after plain passes.
        """
        return self._choose((pending - 1) * CATCH_UP)

    def _choose(self, catch_up: float) -> int:
        if len(self._plain) < 2:  # the first pass after a prefill is not a typical one
            return 0
        if not self._draft_s:
            return 1
        allowed = (MARGIN * self._emitted + CREDIT) * self.plain_s - (self._elapsed - self._emitted * self.plain_s)
        allowed -= catch_up * self._draft_s
        step = self._cost(1) - self.plain_s
        best = max(range(min(self.widest, max(1, round(self.ratio))) + 1), key=self._speed)
        if best == 0:  # look again now and then: so seldom that looking in vain stays within the margin
            best = int(self._plain_since * MARGIN * self.plain_s > step)
        return max(0, min(best, int(allowed / step)))

    def _cost(self, depth: int) -> float:
        """Seconds of a round."""
        return self.plain_s + depth * (self._draft_s + self._nodes * self._row_s)

    def _speed(self, depth: int) -> float:
        """Expected tokens per second."""
        return sum(self.acceptance**k for k in range(depth + 1)) / self._cost(depth)

    def observe(self, depth: int, nodes: int, accepted: int, pending: int, draft_s: float, round_s: float) -> None:
        """What a round took: its window's depth and candidates, what was accepted, and seconds of draft and round."""
        self.rounds += 1
        self.depth = depth
        self._elapsed += round_s
        self._emitted += accepted + 1
        if depth == 0:
            self.plain_rounds += 1
            self._plain_since += 1
            self._plain.append(round_s)
            return
        self._plain_since = 0
        self._draft_s = _blend(self._draft_s, draft_s / (depth + (pending - 1) * CATCH_UP))
        self._nodes = nodes / depth
        self._row_s = _blend(self._row_s, max(0.0, round_s - draft_s - self.plain_s) / nodes)
        self._passed = FORGET * self._passed + accepted
        self._failed = FORGET * self._failed + (accepted < depth)

    def metrics(self) -> dict[str, Any]:
        """The `gamma` object of the metrics."""
        return {
            "auto": True,
            "last": self.depth,
            "target_over_draft": self.ratio,
            "acceptance": self.acceptance,
            "plain_rounds": self.plain_rounds,
            "switched_off": self._plain_since >= OFF,
        }


def _blend(old: float, new: float) -> float:
    return new if old == 0 else (1 - NOISE) * old + NOISE * new
