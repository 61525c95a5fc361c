"""How a video token differs from what surrounds it, in time and in space."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import normalize

NUMBERS_AT_ONCE = 1 << 22  # in fp32, so that a long video in half precision is never copied as a whole
NOISE = 1e-12  # variance of cosines that are equal but for fp32 rounding


def novelty_and_complexity(cells: Tensor, crop: int, *, to_next: bool = False) -> tuple[Tensor, Tensor]:
    """HIPPO's two local scores of one video (arXiv 2601.08273; `methods.md` section 3).

    Args:
        cells: (T, h, w, H) features.
        crop: Side of the non-overlapping crops, in cells; crops at the lower and right border may be smaller.
        to_next: Compare a frame with the next one instead of the previous one.

    Returns:
        (T, h, w) fp32 novelty `1 - cos` to the same cell of the neighbouring frame, where a frame without that
        neighbour takes the other one, 0 in a video of one frame; and (T, h, w) fp32 complexity, the (population)
        variance of the cosines with the other cells of the crop, 0 without others.
    """
    changes, variances = [], []
    at_once = max(1, NUMBERS_AT_ONCE // max(1, cells[0].numel()))
    for start in range(0, len(cells), at_once):
        unit = normalize(cells[start : start + at_once + 1].float(), dim=-1)  # one more, to compare with
        # Half the squared distance of unit vectors is 1 - cos, and exactly 0 where nothing changes.
        changes.append((unit[1:] - unit[:-1]).square_().sum(-1) / 2)
        variances.append(crop_variance(unit[:at_once], crop))
    change = torch.cat(changes)  # (T - 1, h, w)
    complexity = torch.cat(variances)
    if len(change) == 0:
        return torch.zeros_like(complexity), complexity
    return torch.cat([change, change[-1:]] if to_next else [change[:1], change]), complexity


def crop_variance(unit: Tensor, crop: int) -> Tensor:
    """(T, h, w) variance of the cosines of each cell with the other cells of its crop, from (T, h, w, H) unit rows."""
    t, h, w, _ = unit.shape
    variance = unit.new_zeros(t, h, w)
    for top, bottom, rows in _bands(h, crop):
        for left, right, columns in _bands(w, crop):
            if rows * columns == 1:
                continue
            crops = unit[:, top:bottom, left:right].unflatten(2, (-1, columns)).unflatten(1, (-1, rows))
            spread = _variance_of_cosines(crops.transpose(2, 3).flatten(3, 4))  # (T, R, C, rows * columns)
            spread = spread.unflatten(3, (rows, columns)).transpose(2, 3)
            variance[:, top:bottom, left:right] = spread.flatten(3, 4).flatten(1, 2)
    return variance


def _bands(length: int, crop: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, side of the crops in it): the whole crops, then the smaller one at the border."""
    whole = length - length % crop
    if whole:
        yield 0, whole, crop
    if whole < length:
        yield whole, length, length - whole


def _variance_of_cosines(unit: Tensor) -> Tensor:
    """(..., n, H) -> (..., n), each row's cosines with the other n - 1."""
    cosines = unit @ unit.mT
    itself, others = cosines.diagonal(dim1=-2, dim2=-1), unit.shape[-2] - 1
    itself.zero_()
    mean = cosines.sum(-1) / others
    itself.copy_(mean)  # adds nothing to the variance
    variance = (cosines - mean[..., None]).square_().sum(-1) / others
    return variance.masked_fill_(variance < NOISE, 0)
