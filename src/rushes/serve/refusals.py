"""What the server says no to: a status, one sentence for people, and the fields of OpenAI's error object."""

from typing import Any

from rushes.errors import RushesError

GONE = 499  # nobody reads it; it is counted
_MOST = 500  # letters of a message


class Refusal(RushesError):
    """A request that is answered with an error.

    Args:
        message: One sentence: what was given, what is allowed, what to do. It goes to the client, so there is no path,
            no prompt and no name of a file of ours in it.
        status: HTTP status.
        param: The field of the request that is to blame, such as "messages[0].content[1]".
        code: A word for programs, such as "queue_full".
        retry_after_s: When another try makes sense.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> Any:
        """Crosses processes whole."""
        named = {"status": self.status, "param": self.param, "code": self.code, "retry_after_s": self.retry_after_s}
        return _again, (self.message, named)

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}

    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": shortened(self.message), "type": kind, "param": self.param, "code": self.code}}


def shortened(text: str) -> str:
    """No longer than people read: some messages repeat what was given."""
    return text if len(text) <= _MOST else f"{text[:_MOST]}..."


def gone() -> Refusal:
    """The client went away."""
    return Refusal("the client went away", status=GONE, code="client_gone")


def _again(message: str, named: dict[str, Any]) -> Refusal:
    return Refusal(message, **named)
