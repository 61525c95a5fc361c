"""Devices by name and by description, and what is refused."""

import math

import pytest

from rushes.bench.planning.devices import BANDWIDTH_SHARE, FLOPS_SHARE, SHEETS, Device, named, weight_bytes
from rushes.errors import RushesError


@pytest.mark.parametrize("name", list(SHEETS))
def test_a_sheet_is_not_reached(name: str) -> None:
    device = named(name, "bfloat16")
    assert device.bandwidth == SHEETS[name].bandwidth * BANDWIDTH_SHARE
    assert device.flops == SHEETS[name].flops_16 * FLOPS_SHARE
    assert device.memory_bytes == SHEETS[name].memory_bytes
    assert named(name, "float32").flops < 0.51 * device.flops
    # A data sheet in the wrong unit, or with a digit too many.
    assert 1e11 < device.bandwidth < 1e13
    assert 10 < device.flops / device.bandwidth < 1000


@pytest.mark.parametrize("name", ["h100", "rtx 4090", "RTX_4090", "a100-80"])
def test_names_are_forgiving(name: str) -> None:
    assert named(name, "float16").bandwidth > 0


def test_a_description_counts_as_reached() -> None:
    device = named("bandwidth=2e12, flops=4e14,memory=80e9,overhead=1e-4", "bfloat16")
    assert (device.bandwidth, device.flops, device.memory_bytes, device.layer_s) == (2e12, 4e14, 80e9, 1e-4)
    assert math.isinf(named("bandwidth=1,flops=1", "bfloat16").memory_bytes)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("H1000", "unknown device 'H1000'; did you mean 'H100'?"),
        ("abacus", "unknown device 'abacus'"),
        ("bandwidth=0,flops=1e14", "bandwidth must be a number above 0, got 0"),
        ("bandwidth=-1,flops=1e14", "bandwidth must be a number above 0, got -1"),
        ("bandwidth=nan,flops=1e14", "bandwidth must be a number above 0, got nan"),
        ("bandwidth=inf,flops=1e14", "bandwidth must be a number above 0, got inf"),
        ("bandwidth=1e12,flops=0", "flops must be a number above 0"),
        ("bandwidth=1e12,flops=1,memory=0", "memory must be a number above 0"),
        ("bandwidth=1e12,flops=1,overhead=-1", "overhead must be 0 or more seconds a layer, got -1"),
        ("bandwidth=fast,flops=1e14", "bandwidth must be a number such as 2e12, got 'fast'"),
        ("bandwidth=1e12", "flops is missing"),
        ("bandwidth=1,bandwidth=2,flops=1", "bandwidth is given twice"),
        ("bandwith=1e12,flops=1e14", "did you mean 'bandwidth'?"),
    ],
)
def test_what_cannot_be(name: str, words: str) -> None:
    with pytest.raises(RushesError) as error:
        named(name, "bfloat16")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_dtypes() -> None:
    assert (weight_bytes("bfloat16"), weight_bytes("float32")) == (2, 4)
    with pytest.raises(RushesError, match="did you mean 'bfloat16'"):
        weight_bytes("bfloat")


def test_a_device_checks_itself() -> None:
    with pytest.raises(RushesError, match="bandwidth"):
        Device("none", bandwidth=0, flops=1)
