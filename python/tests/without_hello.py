"""A stand-in for the original dispatcher: one request a connection, and no `hello`.

It is a proxy before a real one: a connection that begins with `hello` is closed without an
answer, and any other is one of a client that has not been greeted.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class WithoutHello:
    """Listens on a port of 127.0.0.1 until it is closed."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self.requests = 0
        self.hellos = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            line = b""
            while not line.endswith(b"\n"):
                received = client.recv(65536)
                if not received:
                    return
                line += received
            if b'"hello"' in line:
                self.hellos += 1
                return
            self.requests += 1
            with socket.create_connection(("127.0.0.1", self._behind)) as behind:
                behind.sendall(line)
                closing = threading.Thread(target=_copy, args=(client, behind), daemon=True)
                closing.start()
                _copy(behind, client)
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Until one end is closed; then the other is."""
    with suppress(OSError):
        while True:
            received = source.recv(65536)
            if not received:
                break
            sink.sendall(received)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
