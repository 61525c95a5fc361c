"""How far to write ahead, and whether to write at the same time at all: from measured speeds and acceptance."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from rushes.window import Window

NOISE = 0.3  # weight of a new time in a moving average
FORGET = 0.95  # weight that an observed acceptance keeps per round
LEADS = (0, 1, 2, 3, 4, 5, 6, 8, 10)  # tokens that the draft may write before the target's first look
AHEADS = (1, 2, 3, 4, 6, 8)  # and beside it, where the target pays for them
FIRST = 5  # the window before anything was measured
LOOK_AGAIN = 24  # plain rounds after which a draft that was given up gets another chance


class Plan(NamedTuple):
    """What the next round is.

    Attributes:
        lead: Levels that the draft writes first when no window waits, while the target waits.
        ahead: Levels, the guess included, that it writes while the target reviews; 0 is taking turns.
    """

    lead: int
    ahead: int


TURN = Plan(0, 0)


@dataclass(slots=True)
class Tempo:
    """Chooses the next round's plan.

    With T_p for a pass of the target, T_q for a step of the draft, and `a` for the chance that a candidate is accepted
    when all before it were, a plan brings so many tokens per second (PEARL, arXiv 2408.11850; `methods.md` section 6):

    * taking turns, windows of k:  `(1 - a^(k+1)) / (1 - a)` tokens in `k T_q + T_p`;
    * overlapping, `lead` tokens after a rejection and `w` ahead:  `1 / (1 - a)` tokens between two rejections, in
      `lead T_q` and `1 + a^(lead+1) / (1 - a^w)` passes, each of `T_p` and what `w` steps beside it cost it.

    Two workers on devices of their own cost each other nothing, and then overlapping always wins. On shared cores
    what one takes the other loses; how much is measured in the first request of a pair and kept.

    Args:
        widest: Most levels of a window; with `fixed` all windows have as many.
        fixed: Windows are not chosen, only whether to overlap.
        shared: Both workers live on the same device.
        always: Overlap, whatever it costs.
        cautious: No `lead` where rounds overlap: after a rejection the target tests the first token of the window
            that is being written (PEARL's pre-verify).
        contention: What a step beside a pass adds to it, in steps, if that is known.
    """

    widest: int
    fixed: bool
    shared: bool
    always: bool
    cautious: bool
    contention: float | None
    plan: Plan = TURN
    overlapped: int = 0
    turns: int = 0
    _pass_s: float = 0.0  # T_p of a plain pass
    _row_s: float = 0.0  # and what each candidate adds
    _step_s: float = 0.0  # T_q
    _nodes: float = 1.0  # candidates for each level
    _passed: float = 4.0  # an optimist at first: four of five accepted
    _failed: float = 1.0
    _plain: int = 0  # plain rounds in a row

    @property
    def acceptance(self) -> float:
        """a: chance that a candidate is accepted when all before it were."""
        return self._passed / (self._passed + self._failed)

    @property
    def ratio(self) -> float:
        """c = T_p / T_q; 0 before both were measured."""
        return self._pass_s / self._step_s if self._step_s else 0.0

    def next(self) -> Plan:
        """The plan of the next round."""
        self.plan = self._choose()
        return self.plan

    def _choose(self) -> Plan:
        first = self.widest if self.fixed else min(FIRST, self.widest)
        if self.always or not self.shared:
            if self.always or not self.ratio:
                return Plan(0, self.widest)
        elif not self.ratio:
            return Plan(first, 0)
        elif self.contention is None:
            return Plan(0, first)
        if self._plain >= LOOK_AGAIN:
            return Plan(1, 0)
        return max(self._plans(), key=self._speed)

    def _plans(self) -> list[Plan]:
        if self.fixed:
            return [Plan(0, 0), Plan(self.widest, 0), *(Plan(lead, self.widest) for lead in self._leads())]
        aheads = [ahead for ahead in AHEADS if ahead <= self.widest] if self._cost else [self.widest]
        both = [Plan(lead, ahead) for lead in self._leads() for ahead in aheads]
        return [*(Plan(lead, 0) for lead in LEADS if lead <= self.widest), *both]

    def _leads(self) -> tuple[int, ...]:
        return (0,) if self.cautious else tuple(lead for lead in LEADS if lead <= self.widest)

    @property
    def _cost(self) -> float:
        """What a step beside a pass adds to it, in steps."""
        return self.contention or 0.0 if self.shared else 0.0

    def _speed(self, plan: Plan) -> float:
        """Expected tokens per second."""
        a, step = min(0.98, max(0.02, round(self.acceptance, 2))), self._step_s
        row = self._nodes * self._row_s
        lead, ahead = plan
        if ahead == 0:
            tokens = (1 - a ** (lead + 1)) / (1 - a)
            return tokens / (self._pass_s + lead * (step + row))
        beside = min(ahead, max(1.0, self.ratio)) if not self.fixed else float(ahead)
        each = max(self._pass_s + beside * (row + self._cost * step), beside * step)
        return 1 / (1 - a) / (lead * step + rounds_between_rejections(a, lead, beside) * each)

    def observe_pass(self, rows: int, seconds: float, steps: int) -> None:
        """A pass of the target over `rows` rows, beside `steps` forwards of the draft."""
        if steps and self.shared:
            if self._pass_s and self._step_s:
                alone = self._pass_s + (rows - 1) * self._row_s
                found = max(0.0, (seconds - alone) / (steps * self._step_s))
                self.contention = found if self.contention is None else _blend(self.contention, found)
            return
        if rows == 1:
            self._pass_s = _blend(self._pass_s, seconds)
        elif not self._pass_s:
            self._pass_s = seconds
        else:
            self._row_s = _blend(self._row_s, max(0.0, (seconds - self._pass_s) / (rows - 1)))

    def observe_window(self, window: Window, step_s: float) -> None:
        """A window that the draft wrote with `step_s` seconds for each forward."""
        self._step_s = _blend(self._step_s, step_s)
        if len(window):
            self._nodes = len(window) / window.depth

    def observe_round(self, *, overlapped: bool, tested: int, accepted: int) -> None:
        """What a round accepted of the levels that it tested."""
        self.overlapped += overlapped
        self.turns += not overlapped
        self._plain = self._plain + 1 if not overlapped and not tested else 0
        if tested:
            self._passed = FORGET * self._passed + accepted
            self._failed = FORGET * self._failed + (accepted < tested)

    def metrics(self) -> dict[str, Any]:
        """The `gamma` object of the metrics."""
        return {
            "auto": not self.fixed,
            "last": {"lead": self.plan.lead, "ahead": self.plan.ahead},
            "target_over_draft": self.ratio,
            "acceptance": self.acceptance,
            "contention": self.contention if self.shared else 0.0,
            "overlapped_rounds": self.overlapped,
            "rounds_in_turn": self.turns,
        }


@lru_cache(1024)
def rounds_between_rejections(acceptance: float, lead: int, ahead: float) -> float:
    """Expected passes of the target from one rejection to the next.

    The first tests `lead` tokens and the guess behind them, every later one `ahead` tokens; `lead` 0 is the formula of
    `methods.md` section 6.
    """
    return 1 + acceptance ** (lead + 1) / (1 - acceptance**ahead)


def _blend(old: float, new: float) -> float:
    return new if old == 0 else (1 - NOISE) * old + NOISE * new
