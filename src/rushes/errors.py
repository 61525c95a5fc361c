"""The one exception that users are meant to see."""

from difflib import get_close_matches


class RushesError(Exception):
    """Bad use or bad input: one line that says what was given, what is allowed and what to do.

    The command line prints it and exits with code 2; a server answers with a 4xx.
    """


class OutOfMemory(RushesError):
    """There is no memory for what was asked, now; there may be later, or for less."""


def unknown_name(kind: str, name: str, known: list[str]) -> RushesError:
    """The error for a name that is not in a registry, with the nearest known one."""
    near = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return RushesError(f"unknown {kind} {name!r}; {hint}")
