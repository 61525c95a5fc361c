"""Places are handed out one request at a time, in fair turns, and come back whatever happens."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from rushes.serve.gate import Gate
from rushes.serve.refusals import Refusal


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 10))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    async def work() -> None:
        gate = Gate(["one"], most_waiting=1)
        first, second = gate.admit("a"), gate.admit("b")
        assert await gate.turn(first) == "one"
        with pytest.raises(Refusal) as refused:
            gate.admit("c")
        assert (refused.value.status, refused.value.code) == (429, "queue_full")
        assert int(refused.value.headers["Retry-After"]) >= 1
        gate.leave(first)
        third = gate.admit("c")
        assert await gate.turn(second) == "one"
        gate.leave(second)
        assert await gate.turn(third) == "one"
        gate.leave(third)
        assert (gate.running, gate.admitted) == (0, 0)

    run(work())


def test_clients_take_turns_however_much_one_of_them_asks_for() -> None:
    async def work() -> None:
        gate: Gate[str] = Gate(["one"], most_waiting=20)
        running = gate.admit("busy")
        await gate.turn(running)
        order: list[str] = []

        async def request(client: str, name: str) -> None:
            ticket = gate.admit(client)
            await gate.turn(ticket)
            order.append(name)
            gate.leave(ticket)

        greedy = [asyncio.ensure_future(request("greedy", f"g{i}")) for i in range(4)]
        await settle()
        others = [asyncio.ensure_future(request(f"other {i}", f"o{i}")) for i in range(2)]
        await settle()
        gate.leave(running)
        await asyncio.gather(*greedy, *others)
        assert order == ["g0", "o0", "o1", "g1", "g2", "g3"]

    run(work())


@pytest.mark.parametrize("called", [False, True])
def test_a_waiting_request_that_goes_away_takes_no_place_with_it(called: bool) -> None:
    async def work() -> None:
        gate = Gate(["one"], most_waiting=5)
        running, leaving, last = (gate.admit(name) for name in "abc")
        await gate.turn(running)
        waiting = asyncio.ensure_future(gate.turn(leaving))
        await settle()
        if called:  # its turn has come, and it goes away before it notices
            gate.leave(running)
        waiting.cancel()
        await settle()
        gate.leave(leaving)
        if not called:
            gate.leave(running)
        assert await gate.turn(last) == "one"
        gate.leave(last)
        assert gate.running == 0

    run(work())


def test_an_idle_place_that_fits_is_preferred() -> None:
    async def work() -> None:
        gate = Gate(["one", "two", "three"], most_waiting=0)
        assert await gate.turn(gate.admit("a"), lambda place: place == "two") == "two"
        assert await gate.turn(gate.admit("a"), lambda place: place == "two") == "one"

    run(work())


def test_a_closed_gate_sends_everybody_away_but_who_is_inside() -> None:
    async def work() -> None:
        gate = Gate(["one"], most_waiting=5)
        inside, waiting = gate.admit("a"), gate.admit("b")
        await gate.turn(inside)
        turn = asyncio.ensure_future(gate.turn(waiting))
        await settle()
        gate.close()
        with pytest.raises(Refusal) as refused:
            await turn
        assert (refused.value.status, refused.value.code) == (503, "stopping")
        gate.leave(waiting)
        with pytest.raises(Refusal):
            gate.admit("c")
        assert gate.running == 1
        gate.leave(inside)
        gate.leave(inside)
        assert (gate.running, gate.admitted) == (0, 0)

    run(work())
