"""A file inside a URL: RFC 2397, read strictly."""

import base64
import re
from urllib.parse import unquote_to_bytes

from rushes.serve.limits import MIB

# Each escape becomes an object for a while; what is larger than this comes in base64.
MAX_ESCAPED = MIB
_HEAD_CHARACTERS = 256
_TYPE = re.compile(r"(?P<type>[a-z]+)/[a-z0-9][a-z0-9.+-]*(?:;[a-z0-9-]+=[^;,\s]*)*?(?P<base64>;base64)?", re.I)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What is escaped in base64 by clients that escape everything.
_ESCAPES = (("%2B", "+"), ("%2b", "+"), ("%2F", "/"), ("%2f", "/"), ("%3D", "="), ("%3d", "="))


class BadDataURL(ValueError):
    """What is wrong, as the end of a sentence; nothing of the URL is in it."""


class TooMuchData(ValueError):
    """More bytes than were allowed."""


def read_data_url(url: str, kind: str, most_bytes: int) -> bytes:
    """The bytes in a data: URL.

    Args:
        url: Beginning with "data:".
        kind: "video" or "image"; a media type of this kind or application/octet-stream is taken.
        most_bytes: Checked before anything is decoded, as far as the length shows it.

    Raises:
        BadDataURL: It is none, or of another kind.
        TooMuchData: There are more bytes.
    """
    head, comma, body = _split(url)
    found = _TYPE.fullmatch(head)
    if not comma or found is None:
        raise BadDataURL(f"it must look like data:{kind}/...;base64,...")
    media_type = head.partition(";")[0].lower()
    if found["type"].lower() != kind and media_type != "application/octet-stream":
        raise BadDataURL(f"its media type must be {kind}/* or application/octet-stream")
    data = _from_base64(body, most_bytes) if found["base64"] else _from_escapes(body, most_bytes)
    if not data:
        raise BadDataURL("there is nothing in it")
    return data


def _split(url: str) -> tuple[str, str, str]:
    """Before and behind the comma, which is looked for where it belongs only."""
    start = len("data:")
    end = url.find(",", start, start + _HEAD_CHARACTERS)
    return ("", "", "") if end < 0 else (url[start:end], ",", url[end + 1 :])


def _from_base64(body: str, most_bytes: int) -> bytes:
    if "%" in body:
        for escape, character in _ESCAPES:
            body = body.replace(escape, character)
    if len(body) // 4 * 3 - 2 > most_bytes:
        raise TooMuchData
    try:
        data = base64.b64decode(body, validate=True)
    except ValueError:
        raise BadDataURL("it is not valid base64 (no spaces, no line breaks, padded with =)") from None
    if len(data) > most_bytes:
        raise TooMuchData
    return data


def _from_escapes(body: str, most_bytes: int) -> bytes:
    if len(body) > MAX_ESCAPED:
        raise BadDataURL(f"percent-encoded data of more than {MAX_ESCAPED // MIB} MiB must come as base64")
    if not body.isascii() or _BAD_ESCAPE.search(body):
        raise BadDataURL("it is not valid percent-encoding")
    data = unquote_to_bytes(body)
    if len(data) > most_bytes:
        raise TooMuchData
    return data
