"""The dispatcher's client for programs that wait."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, Dict, Iterator, List, Optional, Type, Union

from . import _options
from ._closing import Closing
from ._connection import JSONConnection, JSONSSLConnection, greeted, of_tls
from ._errors import CommunicationError, RemoteError
from ._harp import Packets
from ._outcomes import result_of, returned_by
from ._targets import BaseCaller, BaseProcedure, BaseRemoteCall, BaseServer
from ._values import decode, encode

_LOGGER = logging.getLogger("harp")


class HarpCaller(BaseCaller["RemoteServer", "RemoteCall"]):
    __doc__ = BaseCaller.__doc__

    def connect(self) -> JSONConnection:
        """Connects to the dispatcher, to send a request and read its reply."""
        host, port = self._address
        if not self._tls:
            connection = JSONConnection(host, port)
        else:
            connection = JSONSSLConnection(host, port, **of_tls(self._settings))
        return greeted(connection, self._settings["token"])

    def request(self, req: Dict[str, Any]) -> Dict[str, Any]:
        """Sends a request of one's own, `"harpcaller": 1` and all, on a connection of its
        own, and returns the first line of the reply, errors too."""
        if not isinstance(req, dict):
            raise TypeError(f"req: expected dict, got {type(req).__name__}")
        text = self._native.request(encode("req", req)).wait()
        return decode(text, self._decimal)  # type: ignore[no-any-return]

    def __enter__(self) -> HarpCaller:
        return self

    def __exit__(
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

    def __call__(self, /, *args: Any, **kwargs: Any) -> RemoteCall:
        """Submits a call with positional or named arguments. Its job is recorded when this
        returns, and has perhaps not started."""
        native = self._call(args, kwargs).wait()
        job = RemoteCall._of(self._dispatcher, native)
        _LOGGER.debug("job %s: %s on %s", job.id(), self.procedure(), self.host())
        return job


class StreamIterator(Closing, Iterator[Any]):
    """Iterator over a call's packets.

    In a `with` statement, or by `close()`, its connection is closed at the end; else when it
    is deleted.
    """

    def __init__(
        self,
        remote_call: RemoteCall,
        conn: Union[JSONConnection, Packets],
        numbered: bool = False,
    ) -> None:
        self._call = remote_call
        self._numbered = _options.truth("numbered", numbered)
        self._lines = conn if isinstance(conn, JSONConnection) else None
        self._packets = None if isinstance(conn, JSONConnection) else conn
        self._decimal = remote_call._dispatcher._decimal

    def __iter__(self) -> StreamIterator:
        return self

    def __next__(self) -> Any:
        if self._packets is not None:
            return self._taken(self._packets.next(None).wait())
        if self._lines is None:
            raise StopIteration
        line = self._lines.receive()
        if "packet" not in line:
            self.close()
            raise StopIteration
        return self._shown(line["packet"], line["data"])

    def next(self, timeout: _options.Seconds) -> Any:
        """The next packet, like `next(iterator)`; `TimeoutError` if none comes in time, after
        which the iterator goes on as if nothing had happened."""
        limit = _options.seconds("timeout", timeout)
        if self._lines is not None:
            raise ValueError("timeout: a connection of one's own is waited for without limit")
        if self._packets is None:
            raise StopIteration
        packet = self._packets.next(limit).wait()
        if packet is False:
            raise TimeoutError(f"no packet within {limit} s")
        return self._taken(packet)

    def all(self) -> List[Any]:
        """All packets that are left, as a list."""
        if self._packets is None:
            return list(self)
        rest = self._packets.rest().wait() or []
        return [self._shown(number, decode(text, self._decimal)) for number, text in rest]

    def close(self) -> None:
        """Closes the connection. The job goes on."""
        if self._packets is not None:
            self._packets.close()
        if self._lines is not None:
            self._lines.close()
        self._packets = self._lines = None

    def _taken(self, packet: Any) -> Any:
        if packet is None:
            raise StopIteration
        return self._shown(packet[0], decode(packet[1], self._decimal))

    def _shown(self, number: int, value: Any) -> Any:
        return (number, value) if self._numbered else value


# Within the class below, the name stands for an attribute of it.
_Packets = StreamIterator


class RemoteCall(BaseRemoteCall):
    """RPC call job representation: asks for the job's status and results, both packets and
    end, and cancels it."""

    StreamIterator = StreamIterator

    def args(self) -> Any:
        """The arguments: a list, or a dict if they were named."""
        return decode(self._status()[2], self._dispatcher._decimal)

    def cancel(self) -> bool:
        """Cancels the job. True if it was queued or running, else False."""
        cancelled: bool = self._native.cancel().wait()
        _LOGGER.debug("job %s: cancel: %s", self.id(), cancelled)
        return cancelled

    def cancel_confirmed(self) -> Optional[bool]:
        """Cancels the job and waits until its host is done with it. True if the host has
        proved that nothing of it is left, False if it has not, None if there was nothing to
        cancel."""
        confirmed: Optional[bool] = self._native.cancel_confirmed().wait()
        _LOGGER.debug("job %s: cancel confirmed: %s", self.id(), confirmed)
        return confirmed

    def end_time(self) -> Optional[int]:
        """When the job ended, in seconds since 1970; None if it has not."""
        time: Optional[int] = self._status()[6]
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

    def get(self, wait: bool = True) -> Any:
        """The job's end result; waits for it unless told otherwise, and then it may be
        `CALL_NOT_FINISHED`. Raises `RemoteException`, `RemoteError`, `CancelledException` or
        `CommunicationError`."""
        return returned_by(self._outcome(wait), self._dispatcher._decimal)

    def host(self) -> str:
        """The host."""
        return str(self._status()[0])

    def info(self) -> Any:
        """The info that the submitter attached, None if nothing."""
        return decode(self._status()[3], self._dispatcher._decimal)

    def procedure(self) -> str:
        """The procedure."""
        return str(self._status()[1])

    def result(self, wait: bool = False) -> Any:
        """The job's end result however it ended: the result, `CALL_NOT_FINISHED`,
        `CALL_CANCELLED`, or an exception as an object, not raised: `RemoteException`,
        `RemoteError`, `CommunicationError`."""
        try:
            outcome = self._outcome(wait)
        except (CommunicationError, RemoteError) as error:
            return error
        return result_of(outcome, self._dispatcher._decimal)

    def start_time(self) -> Optional[int]:
        """When the job started, in seconds since 1970; None if it has not (yet)."""
        time: Optional[int] = self._status()[5]
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

    def submit_time(self) -> int:
        """When the job was submitted, in seconds since 1970."""
        return int(self._status()[4])

    def _status(self) -> Any:
        return self._native.status().wait()

    def _outcome(self, wait: bool) -> Any:
        operation = self._native.wait if _options.truth("wait", wait) else self._native.result
        return operation().wait()

    def _stream(
        self, follow: bool, since: Optional[int], recent: Optional[int], numbered: bool
    ) -> _Packets:
        _options.since_or_recent(since, recent)
        packets = self._native.packets(follow, since, recent)
        iterator = StreamIterator(self, packets, numbered)
        packets.open().wait()
        return iterator
