"""The exceptions that this package raises."""

from __future__ import annotations

from typing import Any, Optional

from ._values import decode


class HarpException(Exception):
    """Base class of all exceptions of this package but those of Python itself: a wrong
    argument is a `TypeError` or a `ValueError`, raised before anything is sent."""


class CommunicationError(HarpException):
    """The dispatcher or host could not be reached, did not answer in time, or said what is
    none of the protocol."""

    #: True if the same request may be made again without doing anything twice.
    retryable: bool = False
    #: How far the request had come: `resolve`, `connect`, `tls`, `hello`, `request` or
    #: `reply`; of a direct call the protocol's own words. None if nothing broke.
    phase: Optional[str] = None


class CancelledException(HarpException):
    """The job has no result, since it was cancelled."""


class _Typed(HarpException):
    """What the protocol gives a type, a message and data."""

    type: str
    message: str
    data: Any

    def __init__(self, type: str, message: str, data: Any = None) -> None:
        super().__init__(type, message, data)
        self.type = type
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


class RemoteException(_Typed):
    """The procedure raised an exception."""


class RemoteError(_Typed):
    """The call could not be made, or did not come to its end: the host is not known or away,
    a time limit has passed, the host refused it."""


class RefusedError(RemoteError, CommunicationError):
    """The dispatcher refused the request: there is no such job, it is stopping, or this
    client may not do that. A `RemoteError` and a `CommunicationError` at once, since with
    the original dispatcher it was one or the other."""


class UnsupportedError(CommunicationError):
    """The dispatcher does not know something that the request needs. Nothing was sent."""


class ForkedError(HarpException):
    """This process was forked from one that had used the package already."""


def of_client(
    kind: str,
    message: str,
    type: Optional[str],
    wire_message: Optional[str],
    data: Optional[str],
    retryable: bool,
    phase: Optional[str],
) -> HarpException:
    """The exception for an error of the extension."""
    if kind in ("remote", "exception", "refused") and type is not None:
        made = {
            "remote": RemoteError,
            "exception": RemoteException,
            "refused": RefusedError,
        }[kind]
        value = None if data is None else decode(data)
        error: HarpException = made(type, wire_message or "", value)
    elif kind == "cancelled":
        error = CancelledException(message)
    elif kind == "unsupported":
        error = UnsupportedError(message)
    else:
        error = CommunicationError(message)
    if isinstance(error, CommunicationError):
        error.retryable = retryable
        error.phase = phase
    return error


def forked() -> ForkedError:
    """The exception for a process that was forked too late."""
    return ForkedError(
        "harp: this process was forked from one that had used harp already, and would share "
        "its connections; make the first call after the fork, or start processes with "
        'multiprocessing.get_context("spawn") or subprocess'
    )
