"""What a run of the tests has shown to work, for the table of support."""

ran: dict[str, dict[str, set[str]]] = {}  # family -> kind -> names


def note(family: str, **what: str) -> None:
    """Remember that something of a family equalled generate."""
    for kind, name in what.items():
        ran.setdefault(family, {}).setdefault(kind, set()).add(name)
