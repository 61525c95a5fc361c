"""Things worth keeping between requests, within a budget of bytes; the least recently used one goes first."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from threading import RLock
from typing import Any


class Store:
    """Keyed values of known size. Safe to use from several threads.

    Args:
        budget_bytes: Of all values together; what is larger on its own is not kept. 0 keeps nothing.

    Attributes:
        bytes: Held now.
        evicted: Values that had to go so far.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.bytes = 0
        self.evicted = 0
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Hashable) -> Any:
        """The value, which is now the most recently used one; None if it is not there."""
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def put(self, key: Hashable, value: Any, size_bytes: int) -> bool:
        """Keep a value in place of what the key held.

        Returns:
            False if it is larger than the whole budget.
        """
        with self._lock:
            self.drop(key)
            if size_bytes > self.budget_bytes:
                return False
            self._held[key] = (value, size_bytes)
            self.bytes += size_bytes
            while self.bytes > self.budget_bytes:
                self.drop(next(iter(self._held)))
                self.evicted += 1
            return True

    def drop(self, key: Hashable) -> None:
        """Forget a value, if it is there."""
        with self._lock:
            _, size_bytes = self._held.pop(key, (None, 0))
            self.bytes -= size_bytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self.bytes = 0

    def of(self, kind: type) -> Iterator[tuple[Hashable, Any]]:
        """Keys and values of one kind, as they are now; nothing counts as used by this."""
        with self._lock:
            found = [(key, value) for key, (value, _) in self._held.items() if isinstance(value, kind)]
        return iter(found)
