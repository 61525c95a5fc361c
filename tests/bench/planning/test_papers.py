"""The papers' figures: which are within 10 %, and that those outside are said to be."""

import pytest

from rushes.bench.planning.papers import CLAIMS, WITHIN, Claim, closed_speedup, implied_between


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.what)
def test_a_claim_is_where_it_is_said_to_be(claim: Claim) -> None:
    """An `outside` without need fails as well: nobody may excuse a figure that agrees."""
    assert (abs(claim.error()) > WITHIN) == bool(claim.outside)
    assert claim.to_json()["within"] == (not claim.outside)


def test_most_agree() -> None:
    assert sum(not claim.outside for claim in CLAIMS) >= 8
    assert all(abs(claim.error()) < 0.35 for claim in CLAIMS)


@pytest.mark.parametrize(("tau", "reported"), [(3.48, 2.68), (3.19, 2.50)])
def test_sequential_claims_by_hand(tau: float, reported: float) -> None:
    """(tau + 1) T_p / (gamma T_q + T_p)."""
    by_hand = (tau + 1) * 420 / (5 * 47 + 420)
    [claim] = [claim for claim in CLAIMS if claim.reported == reported]
    assert claim.predicted() == pytest.approx(by_hand, rel=0.02)


def test_pearls_formula_and_its_inverse() -> None:
    assert closed_speedup(1e9, 5) == pytest.approx(5, rel=1e-3)  # nothing is ever rejected: gamma tokens a pass
    assert closed_speedup(1e-9, 5) == pytest.approx(1)
    assert implied_between(closed_speedup(6.0, 9), 9) == pytest.approx(6.0)
