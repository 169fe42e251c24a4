"""Operations that an event loop waits for."""

from __future__ import annotations

import asyncio
from typing import Any, Dict
from weakref import WeakKeyDictionary

from ._harp import Bell, Operation


class _Waiting:
    """What one loop waits for. The loop hears the bell only as long as there is something."""

    def __init__(self) -> None:
        self._bell = Bell()
        self._futures: Dict[int, asyncio.Future[Any]] = {}
        self._next = 0

    async def outcome(self, operation: Operation) -> Any:
        loop = asyncio.get_running_loop()
        number = self._next
        self._next += 1
        future = loop.create_future()
        running = operation.start(self._bell, number)
        if not self._futures:
            loop.add_reader(self._bell.fileno(), self._collect)
        self._futures[number] = future
        try:
            return await future
        finally:
            running.cancel()
            del self._futures[number]
            if not self._futures:
                loop.remove_reader(self._bell.fileno())

    def _collect(self) -> None:
        for number, went_well, value in self._bell.collect():
            future = self._futures.get(number)
            # Nobody waits any more for one that was cancelled.
            if future is None or future.done():
                continue
            if went_well:
                future.set_result(value)
            else:
                future.set_exception(value)


_LOOPS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Waiting] = WeakKeyDictionary()


async def outcome(operation: Operation) -> Any:
    """What the operation comes to. Cancelling the task gives it up."""
    loop = asyncio.get_running_loop()
    waiting = _LOOPS.get(loop)
    if waiting is None:
        waiting = _LOOPS[loop] = _Waiting()
    return await waiting.outcome(operation)
