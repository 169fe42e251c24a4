"""Hosts that are called directly, for programs that wait."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Optional

from . import _options
from ._closing import Closing
from ._harp import DirectCall, Host
from ._outcomes import Result, returned_by
from ._values import decode


class BaseHarpServer:
    """harpd(8) server representation: calls its procedures without a dispatcher. Nothing is
    recorded, and a call ends with the program that makes it.

    `ca_file` is a file of CAs, one of which must have signed the host's certificate, and that
    must have the name `tls_name`, or `host`, unless `ignore_name` is set; `known_certs_file`
    a file of certificates that are taken as they are; `fingerprint` the SHA-256 of the one
    certificate that is. Without any of them whoever answers is taken for the host, and can
    read the password. `connect_timeout` is how long connecting may take up to the host's
    acknowledgement, in seconds; `max_packet_size` bounds the bytes of a packet or result.
    With `decimal`, numbers that are not whole come as `decimal.Decimal`.
    """

    def __init__(
        self,
        host: str,
        user: str,
        password: str,
        port: int = 4306,
        ca_file: Optional[_options.Path] = None,
        *,
        known_certs_file: Optional[_options.Path] = None,
        fingerprint: Optional[str] = None,
        tls_name: Optional[str] = None,
        ignore_name: bool = False,
        connect_timeout: _options.Seconds = 10,
        max_packet_size: int = 16 * 1024 * 1024,
        decimal: bool = False,
    ) -> None:
        self._address = (_options.name("host", host), _options.port(port))
        self._decimal = _options.truth("decimal", decimal)
        self._native = Host(
            host,
            _options.text("user", user),
            _options.text("password", password),
            {
                "port": port,
                "ca_file": _options.path("ca_file", ca_file),
                "known_certs_file": _options.path("known_certs_file", known_certs_file),
                "fingerprint": _options.optional_text("fingerprint", fingerprint),
                "tls_name": _options.optional_text("tls_name", tls_name),
                "ignore_name": _options.truth("ignore_name", ignore_name),
                "connect_timeout": _options.seconds("connect_timeout", connect_timeout),
                "max_packet_size": _options.count("max_packet_size", max_packet_size, 1),
            },
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address[0]!r}, port={self._address[1]})"


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
    """Procedure on a harpd(8) server, called as a function is."""

    def __init__(self, server: HarpServer, name: str) -> None:
        if not isinstance(server, HarpServer):
            raise TypeError(f"server: expected HarpServer, got {type(server).__name__}")
        self._server = server
        self._name = _options.name("name", name)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Executes the procedure with positional or named arguments and returns its result, or
        a `HarpStreamIterator` if it streams. Raises `HarpException` or a subclass."""
        operation = self._server._native.call(self._name, _options.arguments(args, kwargs))
        call: DirectCall = operation.wait()
        decimal = self._server._decimal
        if call.streams():
            return HarpStreamIterator(_packets(call, decimal))
        try:
            return returned_by(call.outcome().wait(), decimal)
        finally:
            call.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name} of {self._server!r}>"


class HarpStreamIterator(Closing, Iterator[Any]):
    """Iterator over what a procedure streams; a `Result` is the last.

    In a `with` statement, or by `close()`, the call is cancelled if it has not ended; else
    when the iterator is deleted.
    """

    def __init__(self, orig_iterator: Iterable[Any]) -> None:
        self._iterator = iter(orig_iterator)

    def __iter__(self) -> HarpStreamIterator:
        return self

    def __next__(self) -> Any:
        return next(self._iterator)

    def close(self) -> None:
        """Cancels the call, if it has not ended."""
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


def _packets(call: DirectCall, decimal: bool) -> Iterator[Any]:
    try:
        while True:
            text = call.next().wait()
            if text is None:
                break
            yield decode(text, decimal)
        yield Result(returned_by(call.outcome().wait(), decimal))
    finally:
        call.close()
