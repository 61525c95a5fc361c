"""How large a window may be."""

from rushes.errors import RushesError

MAX_GAMMA = 1024  # no draft is right that often; a tree's mask grows with the square


def check_window(**sizes: int) -> None:
    """Refuse a depth or a number of candidates out of range.

    Raises:
        RushesError: Below 1 or above `MAX_GAMMA`.
    """
    for name, size in sizes.items():
        if not 1 <= size <= MAX_GAMMA:
            raise RushesError(f"{name} must be between 1 and {MAX_GAMMA}, got {size}")
