"""What the commands that run models have in common: options, and the loading itself."""

import re
from typing import Annotated, Any

import typer

Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:0, ...; a GPU if there is one.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]


def gamma_of(text: str | None) -> int | str | None:
    """--gamma as `Settings` takes it: a number where it is one."""
    return int(text) if text is not None and re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text


def load_pair(target: str, draft: str | None, device: str | None, draft_device: str | None, dtype: str) -> Any:
    """A pair from checkpoint folders or hub ids, on a GPU if there is one, with a spinner meanwhile.

    Raises:
        RushesError: As `rushes.load`.
    """
    from rushes.progress import quiet_libraries, working

    with working("loading the models"):
        quiet_libraries()
        import torch

        from rushes.checkpoints import load

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return load(target, draft, device=device, draft_device=draft_device, dtype=dtype)
