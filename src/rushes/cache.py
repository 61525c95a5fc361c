"""A KV cache that is allocated once, written in place, and rolled back by a counter."""

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor

from rushes.errors import OutOfMemory


class KVCache:
    """Keys and values of one request for one model.

    It speaks the part of transformers' cache interface that attention layers call (`update`, `get_seq_length`) and that
    the builders of masks ask (`get_query_offset`, `get_mask_sizes`).
    Slots are cache indices; rope positions are kept elsewhere and are never derived from slots.

    Args:
        layers, kv_heads, head_dim: Shape of the model's attention.
        capacity: Slots to allocate: prompt, answer and one window.
        dtype, device: Of the model.

    Raises:
        OutOfMemory: The memory is not there; the message says how much is needed.
    """

    def __init__(
        self, layers: int, kv_heads: int, head_dim: int, capacity: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.capacity = capacity
        self.length = 0
        shape = (2, layers, 1, kv_heads, capacity, head_dim)
        self.bytes = 2 * layers * kv_heads * capacity * head_dim * dtype.itemsize
        _check_memory(self.bytes, capacity, device)
        try:
            self._data = torch.empty(shape, dtype=dtype, device=device)
        except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
            raise _no_memory(self.bytes, capacity, device) from error
        # Views made once: indexing six dimensions in every layer of every pass is time that the loop would pay.
        self._layers = [(self._data[0, i], self._data[1, i]) for i in range(layers)]

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Write (1, kv_heads, n, D) behind the last committed slot and return views of all slots so far.

        The counter moves only with `advance`, after every layer has written.
        """
        keys, values = self._layers[layer_idx]
        end = self.length + key.shape[2]
        if end > self.capacity:
            raise RuntimeError(f"cache of {self.capacity} slots asked for {end}")
        keys[:, :, self.length : end] = key
        values[:, :, self.length : end] = value
        return keys[:, :, :end], values[:, :, :end]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Committed slots."""
        return self.length

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """Slot of the next row."""
        return self.length

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """How many keys `query_length` new rows see, and the slot of the first key."""
        return self.length + query_length, 0

    def advance(self, count: int) -> None:
        """Commit `count` slots that a forward has just written."""
        self.length += count

    def blank(self, length: int) -> None:
        """Hold `length` slots of zeros and nothing else: for measuring what a pass behind a long prompt costs."""
        self._data[..., :length, :] = 0
        self.length = length

    def roll_back(self, length: int) -> None:
        """Forget everything from slot `length` on. Costs nothing: the slots are overwritten later."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot roll back from {self.length} to {length} slots")
        self.length = length

    def keep_path(self, start: int, slots: Sequence[int]) -> None:
        """Keep the slots below `start` and then `slots` (ascending), moved together; forget the rest.

        This is how the accepted path of a draft tree becomes contiguous.
        """
        moved = [(to, slot) for to, slot in enumerate(slots, start) if to != slot]
        if moved:
            to = moved[0][0]
            source = torch.tensor([slot for _, slot in moved], device=self._data.device)
            # Gathered into a new tensor first: source and destination may overlap.
            self._data[..., to : to + len(moved), :] = self._data.index_select(4, source)
        self.roll_back(start + len(slots))

    def set_aside(self, columns: Tensor, kept: Tensor) -> None:
        """Move all but the kept ones of `columns` to the front; everything else follows in its old order.

        Attention does not care where a slot lies, its key carries its position. One layer at a time is gathered and
        written back, so that nothing is held twice.

        Args:
            columns: (m,) ascending slots.
            kept: (K,) or (layers, K) ascending indices into `columns`.
        """
        if kept.shape[-1] == len(columns):
            return
        columns, kept = columns.to(self._data.device), kept.to(self._data.device)
        end = int(columns[-1]) + 1
        order = columns
        for layer, (keys, values) in enumerate(self._layers):
            if layer == 0 or kept.dim() == 2:
                goes = torch.zeros(end, dtype=torch.bool, device=columns.device)
                goes[columns] = True
                goes[columns[kept if kept.dim() == 1 else kept[layer]]] = False
                order = torch.cat([goes.nonzero(), (~goes).nonzero()]).squeeze(1)
            for slots in (keys, values):
                slots[:, :, :end] = slots.index_select(2, order)

    def begin_with(self, other: "KVCache", length: int) -> None:
        """Hold the first `length` slots of another cache of the same model, and nothing else."""
        self._data[..., :length, :] = other._data[..., :length, :]
        self.length = length

    def snug(self) -> "KVCache":
        """A cache of no more slots than are in use; itself, where a fourth or less of it is free.

        Raises:
            OutOfMemory: No memory for both.
        """
        if self.capacity - self.length <= self.capacity // 4:
            return self
        _, layers, _, kv_heads, _, head_dim = self._data.shape
        made = KVCache(layers, kv_heads, head_dim, self.length, self._data.dtype, self._data.device)
        made.begin_with(self, self.length)
        return made

    def tail(self, hidden: int) -> "KVCache":
        """The same memory without the first `hidden` slots, with a counter of its own."""
        view = copy(self)
        view.capacity, view.length, view.bytes = self.capacity - hidden, self.length - hidden, 0
        view._data = self._data[..., hidden:, :]
        view._layers = [(view._data[0, i], view._data[1, i]) for i in range(len(self._layers))]
        return view


def _check_memory(needed: int, capacity: int, device: torch.device) -> None:
    """Ask before allocating: Linux grants memory that it does not have and kills the process later."""
    if device.type != "cpu":
        return  # a GPU refuses at once, and knows what its allocator holds in reserve
    free = _free_cpu_bytes()
    if free is not None and needed > free:
        raise _no_memory(needed, capacity, device, free)


def _free_cpu_bytes() -> int | None:
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # no /proc on this system: the allocation itself will tell
    return None


def _no_memory(needed: int, capacity: int, device: torch.device, free: int | None = None) -> OutOfMemory:
    have = "" if free is None else f", {free / 2**30:.2f} GiB are free"
    return OutOfMemory(
        f"no memory for the cache: {capacity} slots need {needed / 2**30:.2f} GiB on {device}{have}; "
        "use fewer frames or a smaller --max-new-tokens"
    )
