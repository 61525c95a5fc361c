"""Who may go next: as many at a time as there are places, a bounded queue before them, and fair turns."""

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rushes.serve.refusals import Refusal

Place = TypeVar("Place")


@dataclass(slots=True, eq=False)
class Ticket(Generic[Place]):
    """One request's right to wait and to have a place.

    Attributes:
        place: Once it is its turn.
        since: When it got its place.
    """

    client: str
    turn: "asyncio.Future[Place] | None" = None
    place: Place | None = None
    since: float = 0.0


@dataclass(slots=True, eq=False)
class Gate(Generic[Place]):
    """Hands out places. Of clients that wait, each gets a place in turn, however much it asks for.

    All methods belong to one event loop.

    Args:
        places: What is handed out, one request at a time each.
        most_waiting: Beyond these a request is refused.
    """

    places: Sequence[Place]
    most_waiting: int
    closed: bool = False
    _tickets: set[Ticket[Place]] = field(default_factory=set)
    _idle: list[Place] = field(default_factory=list)
    _waiting: "OrderedDict[str, deque[Ticket[Place]]]" = field(default_factory=OrderedDict)
    _mean_s: float = 1.0

    def __post_init__(self) -> None:
        self._idle = list(self.places)

    @property
    def running(self) -> int:
        return len(self.places) - len(self._idle)

    @property
    def admitted(self) -> int:
        """Requests that run, wait, or prepare themselves."""
        return len(self._tickets)

    def admit(self, client: str) -> Ticket[Place]:
        """Let a request in, until `leave`.

        Raises:
            Refusal: 429 when the queue is full, 503 when the server is stopping.
        """
        if self.closed:
            raise stopping()
        if len(self._tickets) >= len(self.places) + self.most_waiting:
            wait_s = math.ceil(self._mean_s * len(self._tickets) / len(self.places))
            raise Refusal(
                f"{len(self._tickets)} requests are being answered or wait; try again later",
                status=429,
                code="queue_full",
                retry_after_s=min(600, max(1, wait_s)),
            )
        ticket: Ticket[Place] = Ticket(client)
        self._tickets.add(ticket)
        return ticket

    async def turn(self, ticket: Ticket[Place], prefer: Callable[[Place], bool] = lambda _: False) -> Place:
        """Wait for a place.

        Args:
            prefer: Of several idle places, one of which this holds is taken.

        Raises:
            Refusal: 503 when the server is stopping.
        """
        if self.closed:
            raise stopping()
        if self._idle and not self._waiting:
            place = next(filter(prefer, self._idle), self._idle[0])
            self._idle.remove(place)
            return self._take(ticket, place)
        ticket.turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(ticket.client, deque()).append(ticket)
        return self._take(ticket, await ticket.turn)

    def leave(self, ticket: Ticket[Place]) -> None:
        """The request is over, wherever it was; its place is free for the next one."""
        if ticket not in self._tickets:
            return
        self._tickets.discard(ticket)
        queue = self._waiting.get(ticket.client)
        if queue is not None and ticket in queue:
            queue.remove(ticket)
            if not queue:
                del self._waiting[ticket.client]
        place = ticket.place
        if place is not None:
            self._mean_s += 0.2 * (time.monotonic() - ticket.since - self._mean_s)
        elif ticket.turn is not None and ticket.turn.done() and not ticket.turn.cancelled():
            place = None if ticket.turn.exception() else ticket.turn.result()  # it was called, and did not come
        if place is not None:
            self._pass_on(place)

    def close(self) -> None:
        """Let nobody in any more, and send away who has no place yet."""
        self.closed = True
        for queue in self._waiting.values():
            for ticket in queue:
                if ticket.turn is not None and not ticket.turn.done():
                    ticket.turn.set_exception(stopping())
        self._waiting.clear()

    def _take(self, ticket: Ticket[Place], place: Place) -> Place:
        ticket.place, ticket.since = place, time.monotonic()
        return place

    def _pass_on(self, place: Place) -> None:
        while self._waiting:
            client, queue = next(iter(self._waiting.items()))
            ticket = queue.popleft()
            if queue:
                self._waiting.move_to_end(client)  # the others first
            else:
                del self._waiting[client]
            if ticket.turn is not None and not ticket.turn.done():
                ticket.turn.set_result(place)
                return
        self._idle.append(place)


def stopping() -> Refusal:
    """The server was told to stop."""
    return Refusal("the server is stopping; ask again in a moment", status=503, code="stopping", retry_after_s=5)
