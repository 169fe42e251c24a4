"""The package for asyncio: the names of `harp`, whose verbs are awaited.

    from harp import aio as harp

    async with harp.HarpCaller("dispatcher.example.net") as rpc:
        job = await rpc.web01.restart("nginx")
        async for line in job.follow(since=0):
            print(line)
        print(await job.get())

Cancelling a task that waits closes its connection; the job goes on, and a call whose answer
was not waited for may have been made or not. What `harp` says of each class holds here.
"""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Any, AsyncIterable, AsyncIterator, Dict, List, Optional, Type

from . import _connection, _options
from ._aio_connection import JSONConnection, JSONSSLConnection
from ._errors import (
    CancelledException,
    CommunicationError,
    ForkedError,
    HarpException,
    RefusedError,
    RemoteError,
    RemoteException,
    UnsupportedError,
)
from ._harp import DirectCall, Packets
from ._loop import outcome
from ._outcomes import CALL_CANCELLED, CALL_NOT_FINISHED, Result, result_of, returned_by
from ._server import BaseHarpServer
from ._targets import BaseCaller, BaseProcedure, BaseRemoteCall, BaseServer
from ._values import decode, encode

__all__ = [
    "CALL_CANCELLED",
    "CALL_NOT_FINISHED",
    "CancelledException",
    "CommunicationError",
    "ForkedError",
    "HarpCaller",
    "HarpException",
    "HarpProcedure",
    "HarpServer",
    "HarpStreamIterator",
    "JSONConnection",
    "JSONSSLConnection",
    "RefusedError",
    "RemoteCall",
    "RemoteError",
    "RemoteException",
    "RemoteProcedure",
    "RemoteServer",
    "Result",
    "StreamIterator",
    "UnsupportedError",
]

_LOGGER = logging.getLogger("harp")


class HarpCaller(BaseCaller["RemoteServer", "RemoteCall"]):
    __doc__ = BaseCaller.__doc__

    async def connect(self) -> JSONConnection:
        """Connects to the dispatcher, to send a request and read its reply."""
        host, port = self._address
        if not self._tls:
            connection = JSONConnection(host, port)
        else:
            connection = JSONSSLConnection(host, port, **_connection.of_tls(self._settings))
        await connection.connect()
        token = self._settings["token"]
        if token is not None:
            try:
                await connection.send(_connection.hello(token))
                _connection.check_hello(await connection.receive())
            except BaseException:
                connection.close()
                raise
        return connection

    async def request(self, req: Dict[str, Any]) -> Dict[str, Any]:
        """Sends a request of one's own, `"harpcaller": 1` and all, on a connection of its
        own, and returns the first line of the reply, errors too."""
        if not isinstance(req, dict):
            raise TypeError(f"req: expected dict, got {type(req).__name__}")
        text = await outcome(self._native.request(encode("req", req)))
        return decode(text, self._decimal)  # type: ignore[no-any-return]

    async def __aenter__(self) -> HarpCaller:
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._native.close_idle()

    def _server(
        self, name: str, options: Optional[_options.CallOptions] = None
    ) -> RemoteServer:
        server = RemoteServer(self, name)
        if options is not None:
            server._options = options
        return server

    def _job(self, job_id: str) -> RemoteCall:
        return RemoteCall(self, job_id)


class RemoteServer(BaseServer["RemoteProcedure"]):
    __doc__ = BaseServer.__doc__

    def _procedure(self, name: str) -> RemoteProcedure:
        return RemoteProcedure(self._dispatcher, self, name)


class RemoteProcedure(BaseProcedure):
    __doc__ = BaseProcedure.__doc__

    async def __call__(self, /, *args: Any, **kwargs: Any) -> RemoteCall:
        """Submits a call with positional or named arguments. Its job is recorded when this
        returns, and has perhaps not started."""
        native = await outcome(self._call(args, kwargs))
        job = RemoteCall._of(self._dispatcher, native)
        _LOGGER.debug("job %s: %s on %s", job.id(), self.procedure(), self.host())
        return job


class StreamIterator(AsyncIterator[Any]):
    """Iterator over a call's packets. They are asked for by `open`, or with the first.

    In an `async with` statement, or by `close()`, its connection is closed at the end; else
    when it is deleted. Cancelling a task that waits for a packet loses none, so that
    `asyncio.wait_for` may bound the wait. For one task at a time.
    """

    def __init__(self, remote_call: RemoteCall, conn: Packets, numbered: bool = False) -> None:
        self._call = remote_call
        self._packets = conn
        # What was waited for when a task was cancelled: its packet is the next one.
        self._pending: Optional[asyncio.Future[Any]] = None
        self._numbered = _options.truth("numbered", numbered)
        self._decimal = remote_call._dispatcher._decimal

    def __aiter__(self) -> StreamIterator:
        return self

    async def __anext__(self) -> Any:
        if self._pending is None:
            self._pending = asyncio.ensure_future(outcome(self._packets.next(None)))
        pending = self._pending
        try:
            packet = await asyncio.shield(pending)
        except asyncio.CancelledError:
            if pending.cancelled():
                self._pending = None
            raise
        except BaseException:
            self._pending = None
            raise
        self._pending = None
        if packet is None:
            raise StopAsyncIteration
        return self._shown(packet[0], packet[1])

    async def open(self) -> StreamIterator:
        """Asks for the packets now, so that those from here on are not missed."""
        await outcome(self._packets.open())
        return self

    async def all(self) -> List[Any]:
        """All packets that are left, as a list."""
        rest = await outcome(self._packets.rest())
        return [self._shown(number, text) for number, text in rest or []]

    def close(self) -> None:
        """Closes the connection. The job goes on."""
        self._packets.close()
        if self._pending is not None and not self._pending.get_loop().is_closed():
            self._pending.cancel()
        self._pending = None

    def __del__(self) -> None:
        self.close()

    async def __aenter__(self) -> StreamIterator:
        return await self.open()

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def _shown(self, number: int, text: str) -> Any:
        value = decode(text, self._decimal)
        return (number, value) if self._numbered else value


# Within the class below, the name stands for an attribute of it.
_Packets = StreamIterator


class RemoteCall(BaseRemoteCall):
    """RPC call job representation: asks for the job's status and results, both packets and
    end, and cancels it."""

    StreamIterator = StreamIterator

    async def args(self) -> Any:
        """The arguments: a list, or a dict if they were named."""
        return decode((await self._status())[2], self._dispatcher._decimal)

    async def cancel(self) -> bool:
        """Cancels the job. True if it was queued or running, else False."""
        cancelled: bool = await outcome(self._native.cancel())
        _LOGGER.debug("job %s: cancel: %s", self.id(), cancelled)
        return cancelled

    async def cancel_confirmed(self) -> Optional[bool]:
        """Cancels the job and waits until its host is done with it. True if the host has
        proved that nothing of it is left, False if it has not, None if there was nothing to
        cancel."""
        confirmed: Optional[bool] = await outcome(self._native.cancel_confirmed())
        _LOGGER.debug("job %s: cancel confirmed: %s", self.id(), confirmed)
        return confirmed

    async def end_time(self) -> Optional[int]:
        """When the job ended, in seconds since 1970; None if it has not."""
        time: Optional[int] = (await self._status())[6]
        return time

    def follow(
        self,
        since: Optional[int] = None,
        recent: Optional[int] = None,
        numbered: bool = False,
    ) -> _Packets:
        """Follows the job's packets until its end: from number `since`, or from so many before
        those that are to come (`recent`), which are 0 if nothing is said. With `numbered`
        they come as pairs of number and packet."""
        return self._stream(True, since, recent, numbered)

    async def get(self, wait: bool = True) -> Any:
        """The job's end result; waits for it unless told otherwise, and then it may be
        `CALL_NOT_FINISHED`. Raises `RemoteException`, `RemoteError`, `CancelledException` or
        `CommunicationError`."""
        return returned_by(await self._outcome(wait), self._dispatcher._decimal)

    async def host(self) -> str:
        """The host."""
        return str((await self._status())[0])

    async def info(self) -> Any:
        """The info that the submitter attached, None if nothing."""
        return decode((await self._status())[3], self._dispatcher._decimal)

    async def procedure(self) -> str:
        """The procedure."""
        return str((await self._status())[1])

    async def result(self, wait: bool = False) -> Any:
        """The job's end result however it ended: the result, `CALL_NOT_FINISHED`,
        `CALL_CANCELLED`, or an exception as an object, not raised: `RemoteException`,
        `RemoteError`, `CommunicationError`."""
        try:
            ended = await self._outcome(wait)
        except (CommunicationError, RemoteError) as error:
            return error
        return result_of(ended, self._dispatcher._decimal)

    async def start_time(self) -> Optional[int]:
        """When the job started, in seconds since 1970; None if it has not (yet)."""
        time: Optional[int] = (await self._status())[5]
        return time

    def stream(
        self,
        since: Optional[int] = None,
        recent: Optional[int] = None,
        numbered: bool = False,
    ) -> _Packets:
        """The job's packets that were collected so far, from the first unless told
        otherwise. Does not wait for more."""
        return self._stream(False, since, recent, numbered)

    async def submit_time(self) -> int:
        """When the job was submitted, in seconds since 1970."""
        return int((await self._status())[4])

    async def _status(self) -> Any:
        return await outcome(self._native.status())

    async def _outcome(self, wait: bool) -> Any:
        operation = self._native.wait if _options.truth("wait", wait) else self._native.result
        return await outcome(operation())

    def _stream(
        self, follow: bool, since: Optional[int], recent: Optional[int], numbered: bool
    ) -> _Packets:
        _options.since_or_recent(since, recent)
        return StreamIterator(self, self._native.packets(follow, since, recent), numbered)


class HarpServer(BaseHarpServer):
    __doc__ = BaseHarpServer.__doc__

    def __getattr__(self, procedure: str) -> HarpProcedure:
        """A procedure by its name; one that is no name of Python is at `server["NAME"]`."""
        if procedure.startswith("__"):
            raise AttributeError(procedure)
        return HarpProcedure(self, procedure)

    def __getitem__(self, procedure: str) -> HarpProcedure:
        return HarpProcedure(self, procedure)

    __iter__ = None


class HarpProcedure:
    """Procedure on a harpd(8) server, called as a coroutine is."""

    def __init__(self, server: HarpServer, name: str) -> None:
        if not isinstance(server, HarpServer):
            raise TypeError(f"server: expected HarpServer, got {type(server).__name__}")
        self._server = server
        self._name = _options.name("name", name)

    async def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Executes the procedure with positional or named arguments and returns its result, or
        a `HarpStreamIterator` if it streams. Raises `HarpException` or a subclass.
        Cancelling the task cancels the call."""
        operation = self._server._native.call(self._name, _options.arguments(args, kwargs))
        call: DirectCall = await outcome(operation)
        decimal = self._server._decimal
        if call.streams():
            return HarpStreamIterator(_packets(call, decimal))
        try:
            return returned_by(await outcome(call.outcome()), decimal)
        finally:
            call.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name} of {self._server!r}>"


class HarpStreamIterator(AsyncIterator[Any]):
    """Iterator over what a procedure streams; a `Result` is the last.

    In an `async with` statement, or by `aclose()`, the call is cancelled if it has not ended.
    """

    def __init__(self, orig_iterator: AsyncIterable[Any]) -> None:
        self._iterator = orig_iterator.__aiter__()

    def __aiter__(self) -> HarpStreamIterator:
        return self

    async def __anext__(self) -> Any:
        return await self._iterator.__anext__()

    async def aclose(self) -> None:
        """Cancels the call, if it has not ended."""
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            await close()

    async def __aenter__(self) -> HarpStreamIterator:
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.aclose()


async def _packets(call: DirectCall, decimal: bool) -> AsyncIterator[Any]:
    try:
        while True:
            text = await outcome(call.next())
            if text is None:
                break
            yield decode(text, decimal)
        yield Result(returned_by(await outcome(call.outcome()), decimal))
    finally:
        call.close()
