"""Keys and values of many requests for one draft model: one row for each, ragged, read by one forward."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rushes.cache import KVCache
from rushes.errors import RushesError

BLOCK = 64  # slots that a row's capacity is rounded up to, so that it does not grow at every step


class NoRoom(RushesError):
    """The budget does not hold another row, or longer ones."""


class Row(KVCache):
    """One request's slots in a `BatchedKVCache`: a cache of its own for its prefill.

    A chain never moves slots, so a row does what `update`, `advance` and `roll_back` do, and nothing that needs the
    memory of all layers in one piece.

    Attributes:
        index: Which row of the buffers it is now; it changes when another one is freed.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.length = 0
        self.bytes = 0  # they belong to all rows together

    def bind(self, buffers: Sequence[Tensor]) -> None:
        """Look at row `index` of (2, rows, kv_heads, capacity, D) buffers, one for each layer."""
        own = slice(self.index, self.index + 1)
        self._layers = [(buffer[0, own], buffer[1, own]) for buffer in buffers]
        self.capacity = buffers[0].shape[3]

    def unbind(self) -> None:
        """Let go of the buffers, which are about to be replaced."""
        self._layers = []


class BatchedKVCache:
    """The rows of all running requests, 0..n-1 without gaps, in one buffer for each layer.

    It speaks the part of transformers' cache interface that attention layers call, as `KVCache` does, for rows of
    different lengths: what a row's new tokens are is written behind that row's own last slot. A buffer grows layer by
    layer when a row or a longer answer needs it, and is given back when the last row is freed.

    Args:
        layers, kv_heads, head_dim: Shape of the model's attention.
        dtype, device: Of the model.
        budget: Bytes that the buffers may take; None for no limit.
    """

    def __init__(
        self,
        layers: int,
        kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
        budget: int | None = None,
    ) -> None:
        self.budget = budget
        self.rows: list[Row] = []
        self._layers = layers
        self._shape = (kv_heads, head_dim)
        self._dtype, self._device = dtype, device
        self._buffers: list[Tensor] = []
        self._span = slice(0, 0)
        self._lengths = torch.zeros(0, dtype=torch.long, device=device)
        self._end = 0

    @property
    def bytes(self) -> int:
        """What the buffers take now."""
        return sum(buffer.nbytes for buffer in self._buffers)

    def bytes_for(self, rows: int, slots: int) -> int:
        """What the buffers of so many rows of so many slots take."""
        kv_heads, head_dim = self._shape
        return 2 * self._layers * rows * kv_heads * _rounded(slots) * head_dim * self._dtype.itemsize

    def add(self, slots: int) -> Row:
        """A new, empty row with room for `slots` tokens.

        Raises:
            NoRoom: That is more than the budget.
        """
        self._grow(len(self.rows) + 1, slots)
        row = Row(len(self.rows))
        row.bind(self._buffers)
        self.rows.append(row)
        return row

    def reserve(self, slots: int) -> None:
        """Room for `slots` tokens in every row.

        Raises:
            NoRoom: That is more than the budget.
        """
        self._grow(len(self.rows), slots)

    def free(self, row: Row) -> None:
        """Forget a row; the last one moves into its place."""
        last = self.rows.pop()
        if last is not row:
            for buffer in self._buffers:
                buffer[:, row.index, :, : last.length] = buffer[:, last.index, :, : last.length]
            last.index = row.index
            last.bind(self._buffers)
            self.rows[row.index] = last
        if not self.rows:
            self._buffers = []

    def open(self, span: slice, count: int) -> Tensor | None:
        """Make ready for a forward of `count` new tokens in each row of `span`.

        Returns:
            (rows, 1, count, keys) bool, True where a token may look: at its own row's slots up to itself. None where
            every token may look at everything.
        """
        lengths = [row.length for row in self.rows[span]]
        device = self._lengths.device
        self._span, self._end = span, max(lengths) + count
        if self._end > self.rows[0].capacity:
            raise RuntimeError(f"rows of {self.rows[0].capacity} slots asked for {self._end}")
        self._lengths = torch.tensor(lengths, device=device)
        if count == 1 and min(lengths) == max(lengths):
            return None
        last = self._lengths[:, None] + torch.arange(count, device=device)
        return (torch.arange(self._end, device=device) <= last[..., None])[:, None]

    def advance(self, counts: Sequence[int]) -> None:
        """Commit the first `counts[i]` of the tokens that a forward has just written into row i of the open span."""
        for row, count in zip(self.rows[self._span], counts, strict=True):
            row.advance(count)

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Write (rows, kv_heads, n, D) behind each row's last slot; views of all slots up to the longest row's end."""
        buffer = self._buffers[layer_idx][:, self._span]
        count = key.shape[2]
        rows = torch.arange(len(key), device=key.device)[:, None]
        slots = self._lengths[:, None] + torch.arange(count, device=key.device)
        for part, new in ((buffer[0], key), (buffer[1], value)):
            part[rows, :, slots] = new.transpose(1, 2)
        return buffer[0, :, :, : self._end], buffer[1, :, :, : self._end]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Committed slots of the longest open row."""
        return int(self._lengths.max())

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """Slot of the longest open row's next token."""
        return self.get_seq_length()

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """How many keys `query_length` new tokens see, and the slot of the first key."""
        return self._end, 0

    def _grow(self, rows: int, slots: int) -> None:
        have_rows, have_slots = (self._buffers[0].shape[1], self._buffers[0].shape[3]) if self._buffers else (0, 0)
        if rows <= have_rows and slots <= have_slots:
            return
        rows, slots = max(rows, have_rows), max(_rounded(slots), have_slots)
        needed = self.bytes_for(rows, slots)
        if self.budget is not None and needed > self.budget:
            raise NoRoom(
                f"no memory for the draft: {rows} rows of {slots} slots need {needed / 2**20:.1f} MiB of "
                f"{self.budget / 2**20:.1f} MiB"
            )
        if not self._buffers:
            self._buffers = [self._zeros(0, 0) for _ in range(self._layers)]
        for row in self.rows:
            row.unbind()
        for layer in range(self._layers):  # one after the other: never are two whole caches held
            # Zeros, not garbage: slots behind a shorter row are masked, but not-a-number times nothing is still one.
            new = self._zeros(rows, slots)
            new[:, :have_rows, :, :have_slots] = self._buffers[layer]
            self._buffers[layer] = new
        for row in self.rows:
            row.bind(self._buffers)

    def _zeros(self, rows: int, slots: int) -> Tensor:
        kv_heads, head_dim = self._shape
        return torch.zeros(2, rows, kv_heads, slots, head_dim, dtype=self._dtype, device=self._device)


def _rounded(slots: int) -> int:
    return -(-slots // BLOCK) * BLOCK
