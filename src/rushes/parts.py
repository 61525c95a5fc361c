"""Parts of a method by name, with their parameters: "hippo:crop=2:neighbour=next"."""

import inspect
import types
from collections.abc import Callable, Mapping
from keyword import iskeyword
from typing import Any, Union, get_args, get_origin, get_type_hints

from rushes.errors import RushesError, unknown_name

Part = Callable[..., Any]


def split(text: str) -> tuple[str, dict[str, str]]:
    """Name and parameters of "name:parameter=value:...".

    Raises:
        RushesError: A piece is no parameter, or one is given twice.
    """
    name, *pieces = text.split(":")
    given: dict[str, str] = {}
    for piece in pieces:
        parameter, equals, value = piece.partition("=")
        if not equals or not parameter or not value:
            raise RushesError(f"{text!r}: {piece!r} is no parameter; write name:parameter=value:parameter=value")
        if parameter in given:
            raise RushesError(f"{text!r}: {parameter} is given twice")
        given[parameter] = value
    return name, given


def parameters(part: Part) -> dict[str, Any]:
    """The parameters of a part and their types, in the order of its signature; `lambda_` is written `lambda`."""
    hints = get_type_hints(part)
    return {name.rstrip("_"): hints[name] for name in inspect.signature(part).parameters if name in hints}


def signature(name: str, part: Part) -> str:
    """A part with its parameters and their defaults, as they would be written."""
    defaults = {key.rstrip("_"): value.default for key, value in inspect.signature(part).parameters.items()}
    return ":".join([name, *(f"{key}={_written(defaults[key])}" for key in parameters(part))])


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return "/".join(map(_written, value))
    if isinstance(value, float):
        return f"{value:.3g}"
    return "none" if value is None else "..." if len(str(value)) > 20 else str(value)


def make(kind: str, name: str, known: Mapping[str, Part], given: Mapping[str, str], **defaults: Any) -> Any:
    """Build the part `name` of `known` with parameters from text.

    Args:
        kind: What the part is, for messages.
        given: Parameters as text; a list is written with slashes, "0.5/0.3/0.2".
        **defaults: Values for parameters that are not given.

    Raises:
        RushesError: Unknown name or parameter, with the nearest known one, or a value that does not fit.
    """
    if name not in known:
        raise unknown_name(kind, name, list(known))
    allowed = parameters(known[name])
    values = dict(defaults)
    for parameter, text in given.items():
        if not allowed:
            raise RushesError(f"{kind} {name!r} has no parameters, got {parameter}={text}")
        if parameter not in allowed:
            raise unknown_name(f"parameter of {kind} {name!r}", parameter, list(allowed))
        values[parameter] = _parse(f"{name}:{parameter}", text, allowed[parameter])
    return known[name](**{key + "_" if iskeyword(key) else key: value for key, value in values.items()})


def _parse(what: str, text: str, wanted: Any) -> Any:
    """Text as a value of a type: numbers, words, or a tuple of one of these; "none" where None is allowed."""
    if isinstance(wanted, types.UnionType) or get_origin(wanted) is Union:
        choices = get_args(wanted)
        if text.lower() == "none" and type(None) in choices:
            return None
        return _parse(what, text, next(choice for choice in choices if choice is not type(None)))
    if get_origin(wanted) is tuple:
        return tuple(_parse(what, piece, get_args(wanted)[0]) for piece in text.split("/"))
    if wanted is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise RushesError(f"{what} must be true or false, got {text!r}")
    try:
        return wanted(text)
    except ValueError as error:
        kind = "a whole number" if wanted is int else "a number"
        raise RushesError(f"{what} must be {kind}, got {text!r}") from error
