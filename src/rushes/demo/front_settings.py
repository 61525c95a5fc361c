"""The settings of loose verification that are swept."""

from dataclasses import dataclass

LAMBDAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Setting:
    """A method, what the draft sees, and the curve that it belongs to."""

    curve: str
    method: str
    keep: float = 0.1
    knob: float | None = None  # lambda, or FLy's entropy

    @property
    def name(self) -> str:
        return f"{self.method} keep {self.keep:g}"


def lvspec(share: float, keep: float = 0.1, at: str = "before") -> Setting:
    curve = "lvspec" if at == "before" else "lvspec, state at the token"
    return Setting(curve, f"uniform+chain:gamma=10+lvspec:lambda={share:g}:at={at}+sequential", keep, share)


def control(share: float, keep: float = 0.1) -> Setting:
    return Setting("random", f"uniform+chain:gamma=10+random:lambda={share:g}+sequential", keep, share)


def fly(nats: float, keep: float = 0.1) -> Setting:
    return Setting("fly", f"uniform+chain:gamma=15+fly:nats={nats:g}+sequential", keep, nats)


PLAIN = Setting("plain", "ar")
EXACT = Setting("exact", "uniform+chain:gamma=10+exact+sequential")
SPECVLM = Setting("specvlm", "specvlm+tree+exact+sequential")
SPECVLM_CHAIN = Setting("specvlm", "specvlm+chain:gamma=10+exact+sequential")
RUSH = Setting("rush", "rush")

VALIDATED = (PLAIN, *(lvspec(share) for share in LAMBDAS))
SETTINGS = (
    PLAIN,
    EXACT,
    SPECVLM,
    SPECVLM_CHAIN,
    RUSH,
    *(lvspec(share) for share in (0.3, 0.5, 0.6, 0.7, 0.9, 1.0)),
    *(lvspec(share, at="token") for share in (0.3, 0.7)),
    *(control(share) for share in (0.3, 0.5, 0.7, 0.9)),
    *(fly(nats) for nats in (0.1, 0.3)),
    *(lvspec(share, keep=0.3) for share in (0.5, 0.7)),
    control(0.5, keep=0.3),
    fly(0.3, keep=0.3),
)
QUESTIONED = (PLAIN, *(lvspec(share) for share in (0.5, 0.7, 1.0)), control(0.7), RUSH)
