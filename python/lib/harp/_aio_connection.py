"""Connections that carry JSON lines, for asyncio."""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType
from typing import Any, Optional, Type, TypeVar

from . import _connection, _options
from ._errors import CommunicationError
from ._values import encode

Connection = TypeVar("Connection", bound="JSONConnection")


class JSONConnection:
    """TCP connection, reading and writing JSON lines; to `unix:/PATH` over a Unix socket.

    Connected by `connect`, or by an `async with` statement, which closes it too.
    """

    #: Greatest length of a line in bytes.
    LIMIT = 64 * 1024 * 1024

    def __init__(self, host: str, port: int) -> None:
        self._host = _options.name("host", host)
        self._port = _options.port(port)
        self._streams: Any = None

    async def connect(self) -> None:
        """Connects, again if need be."""
        self.close()
        try:
            opening = self._opened()
            self._streams = await asyncio.wait_for(opening, _connection.CONNECT_TIMEOUT)
        except (OSError, asyncio.TimeoutError) as error:
            raise CommunicationError(f"{self._name()}: cannot connect: {error}") from error

    def close(self) -> None:
        """Closes the connection. `connect` opens it again."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None

    async def send(self, obj: Any) -> None:
        """Sends an object as a line."""
        line = encode("obj", obj) + "\n"
        writer = self._connected()[1]
        try:
            writer.write(line.encode())
            await writer.drain()
        except OSError as error:
            raise CommunicationError(f"{self._name()}: cannot send: {error}") from error

    async def receive(self) -> Any:
        """Receives a line, typically a dict. Waits for it without limit."""
        reader = self._connected()[0]
        try:
            line = await reader.readline()
        except (OSError, ValueError) as error:
            raise CommunicationError(f"{self._name()}: cannot receive: {error}") from error
        return _connection.of_line(self._name(), line)

    async def __aenter__(self: Connection) -> Connection:
        if self._streams is None:
            await self.connect()
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    async def _opened(self) -> Any:
        if self._host.startswith("unix:/"):
            path = self._host[len("unix:") :]
            return await asyncio.open_unix_connection(path, limit=self.LIMIT)
        return await asyncio.open_connection(self._host, self._port, limit=self.LIMIT)

    def _connected(self) -> Any:
        if self._streams is None:
            raise CommunicationError(f"{self._name()}: not connected")
        return self._streams

    def _name(self) -> str:
        return _connection.name_of(self._host, self._port)


class JSONSSLConnection(JSONConnection):
    __doc__ = _connection.JSONSSLConnection.__doc__

    def __init__(
        self,
        host: str,
        port: int,
        ca_file: Optional[_options.Path] = None,
        *,
        fingerprint: Optional[str] = None,
        server_name: Optional[str] = None,
        client_certificate: Optional[_options.Path] = None,
        client_key: Optional[_options.Path] = None,
    ) -> None:
        super().__init__(host, port)
        self._fingerprint = _connection.digits_of(fingerprint)
        self._server_name = _options.optional_text("server_name", server_name) or host
        self._context = _connection.context_of(
            _options.path("ca_file", ca_file),
            _options.path("client_certificate", client_certificate),
            _options.path("client_key", client_key),
        )

    async def _opened(self) -> Any:
        streams = await asyncio.open_connection(
            self._host,
            self._port,
            limit=self.LIMIT,
            ssl=self._context,
            server_hostname=self._server_name,
        )
        shown: ssl.SSLObject = streams[1].get_extra_info("ssl_object")
        try:
            _connection.check_fingerprint(self._fingerprint, shown.getpeercert(True))
        except ssl.SSLError:
            streams[1].close()
            raise
        return streams
