"""The machine of a check is the median of its measurements."""

from dataclasses import replace

from rushes.bench.planning.check import typical
from rushes.bench.planning.devices import Device


def test_every_figure_is_a_median_of_its_own() -> None:
    half = Device("half", 5.0, 50.0, 1e9, 0.2, 0.3, hides=False)
    one = Device("all", 10.0, 100.0, 1e9, 0.1, 0.2, hides=False, half=half)
    slow = replace(one, bandwidth=1.0, half=replace(half, flops=10.0))
    odd = replace(one, bandwidth=9.0, layer_s=9.0, half=replace(half, flops=40.0, pass_s=0.1))
    found = typical([slow, one, odd])
    assert found == replace(one, bandwidth=9.0, half=replace(half, flops=40.0))
    assert typical([replace(one, half=None)]).half is None
