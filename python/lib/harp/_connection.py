"""Connections that carry JSON lines."""

from __future__ import annotations

import hashlib
import socket
import ssl
from typing import Any, BinaryIO, Dict, Optional

from . import _options
from ._closing import Closing
from ._errors import CommunicationError, RefusedError
from ._values import decode, encode

#: How long connecting may take, in seconds.
CONNECT_TIMEOUT = 10


class JSONConnection(Closing):
    """TCP connection, reading and writing JSON lines; to `unix:/PATH` over a Unix socket.

    Connected once it is made. Can be used in a `with` statement, which closes it. Raises
    `CommunicationError` if it cannot be connected or breaks. For one thread at a time.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = _options.name("host", host)
        self._port = _options.port(port)
        self._socket: Optional[socket.socket] = None
        self._reader: Optional[BinaryIO] = None
        self.connect()

    def connect(self) -> None:
        """Connects to the address that the connection was made with, again if need be."""
        self.close()
        try:
            self._socket = self._connected()
        except OSError as error:
            raise CommunicationError(f"{self._name()}: cannot connect: {error}") from error
        self._reader = self._socket.makefile("rb")

    def close(self) -> None:
        """Closes the connection. `connect` opens it again."""
        if self._reader is not None:
            self._reader.close()
        if self._socket is not None:
            self._socket.close()
        self._reader = self._socket = None

    def send(self, obj: Any) -> None:
        """Sends an object as a line."""
        line = encode("obj", obj) + "\n"
        if self._socket is None:
            raise CommunicationError(f"{self._name()}: not connected")
        try:
            self._socket.sendall(line.encode())
        except OSError as error:
            raise CommunicationError(f"{self._name()}: cannot send: {error}") from error

    def receive(self) -> Any:
        """Receives a line, typically a dict. Waits for it without limit."""
        if self._reader is None:
            raise CommunicationError(f"{self._name()}: not connected")
        try:
            line = self._reader.readline()
        except OSError as error:
            raise CommunicationError(f"{self._name()}: cannot receive: {error}") from error
        return of_line(self._name(), line)

    def _connected(self) -> socket.socket:
        if self._host.startswith("unix:/"):
            connected = socket.socket(socket.AF_UNIX)
            try:
                connected.connect(self._host[len("unix:") :])
            except BaseException:
                connected.close()
                raise
            return connected
        connected = socket.create_connection((self._host, self._port), CONNECT_TIMEOUT)
        connected.settimeout(None)
        return connected

    def _name(self) -> str:
        return name_of(self._host, self._port)


class JSONSSLConnection(JSONConnection):
    """SSL connection, reading and writing JSON lines.

    `ca_file` is a file of CAs, one of which must have signed the peer's certificate, and
    that must have the name `server_name`, or `host`. Without it, whoever answers is taken
    for the peer, unless its certificate has to have a `fingerprint`, the SHA-256 in
    hexadecimal digits. `client_certificate` and `client_key` are files that are shown to it.
    """

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
        self._fingerprint = digits_of(fingerprint)
        self._server_name = _options.optional_text("server_name", server_name) or host
        self._context = context_of(
            _options.path("ca_file", ca_file),
            _options.path("client_certificate", client_certificate),
            _options.path("client_key", client_key),
        )
        super().__init__(host, port)

    def _connected(self) -> socket.socket:
        plain = socket.create_connection((self._host, self._port), CONNECT_TIMEOUT)
        try:
            connected = self._context.wrap_socket(plain, server_hostname=self._server_name)
            check_fingerprint(self._fingerprint, connected.getpeercert(True))
        except BaseException:
            plain.close()
            raise
        connected.settimeout(None)
        return connected


def name_of(host: str, port: int) -> str:
    """What messages call the peer."""
    return host if host.startswith("unix:/") else f"{host}:{port}"


def digits_of(fingerprint: Optional[str]) -> Optional[str]:
    """A fingerprint's digits alone."""
    text = _options.optional_text("fingerprint", fingerprint)
    return None if text is None else text.replace(":", "").lower()


def of_tls(settings: _options.DispatcherOptions) -> Dict[str, Any]:
    """What `JSONSSLConnection` is told of a dispatcher's client."""
    return {
        "ca_file": settings["ca_file"],
        "fingerprint": settings["fingerprint"],
        "server_name": settings["server_name"],
        "client_certificate": settings["client_certificate"],
        "client_key": settings["client_key"],
    }


def context_of(
    ca_file: Optional[str], certificate: Optional[str], key: Optional[str]
) -> ssl.SSLContext:
    """How a peer is known, and how it knows us. `ValueError` for files that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if ca_file is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context.load_verify_locations(ca_file)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except OSError as error:
        files = ", ".join(name for name in (ca_file, certificate, key) if name)
        raise ValueError(f"certificates of {files}: {error}") from error
    return context


def check_fingerprint(wanted: Optional[str], certificate: Optional[bytes]) -> None:
    """`ssl.SSLError` if the certificate is another than the one that is wanted."""
    if wanted is None:
        return
    shown = hashlib.sha256(certificate or b"").hexdigest()
    if shown != wanted:
        raise ssl.SSLError(f"the certificate's fingerprint is {shown}, not {wanted}")


def of_line(peer: str, line: bytes) -> Any:
    """The value of a line that was received."""
    if not line.endswith(b"\n"):
        raise CommunicationError(f"{peer}: closed the connection")
    try:
        return decode(line.decode())
    except ValueError as error:
        raise CommunicationError(f"{peer}: sent what is not JSON: {error}") from error


def hello(token: str) -> Dict[str, Any]:
    """The request by which a client says who it is (client protocol, section 8)."""
    return {"harpcaller": 1, "hello": {"token": token}}


def check_hello(reply: Any) -> None:
    """Raises what the dispatcher has against it."""
    error = reply.get("error") if isinstance(reply, dict) else None
    if isinstance(error, dict):
        raise RefusedError(
            str(error.get("type")), str(error.get("message")), error.get("data")
        )


def greeted(connection: JSONConnection, token: Optional[str]) -> JSONConnection:
    """The connection, once the token was taken if there is one."""
    if token is None:
        return connection
    try:
        connection.send(hello(token))
        check_hello(connection.receive())
    except BaseException:
        connection.close()
        raise
    return connection
