"""Checks of what users give: `TypeError` and `ValueError` before anything is sent."""

from __future__ import annotations

import math
import os
from datetime import timedelta
from typing import Any, Dict, Optional, TypedDict, Union

from ._values import encode

#: A time limit: seconds, or a timedelta.
Seconds = Union[int, float, timedelta]

#: A file's path.
Path = Union[str, "os.PathLike[str]"]

_GREATEST = 2**63 - 1


class CallOptions(TypedDict):
    """Options of a call as the extension takes them: whole seconds, JSON texts."""

    queue: Optional[str]
    concurrency: Optional[int]
    timeout: Optional[int]
    max_exec_time: Optional[int]
    info: Optional[str]
    key: Optional[str]
    unless_since: Optional[int]
    start_by: Optional[int]


class DispatcherOptions(TypedDict):
    """Options of a dispatcher's client as the extension takes them."""

    ca_file: Optional[str]
    fingerprint: Optional[str]
    accept_any_certificate: bool
    server_name: Optional[str]
    client_certificate: Optional[str]
    client_key: Optional[str]
    token: Optional[str]
    token_without_tls: bool
    client_name: Optional[str]
    connect_timeout: float
    request_timeout: float
    reconnect_for: float
    pool_size: int
    max_reply_size: int


class HostOptions(TypedDict):
    """Options of a host that is called directly as the extension takes them."""

    port: int
    ca_file: Optional[str]
    known_certs_file: Optional[str]
    fingerprint: Optional[str]
    tls_name: Optional[str]
    ignore_name: bool
    connect_timeout: float
    max_packet_size: int


def call_options(
    queue: Optional[Dict[str, Any]] = None,
    concurrency: Optional[int] = None,
    timeout: Optional[Seconds] = None,
    max_exec_time: Optional[Seconds] = None,
    info: Any = None,
    key: Optional[str] = None,
    unless_since: Optional[Seconds] = None,
    start_by: Optional[Seconds] = None,
) -> CallOptions:
    """The options of a call, checked. One that is None is not set."""
    if queue is not None and not isinstance(queue, dict):
        raise TypeError(
            f"queue: expected a dict such as {{'service': 'nginx'}}, got {_type(queue)}"
        )
    return {
        "queue": None if queue is None else encode("queue", queue),
        "concurrency": None if concurrency is None else count("concurrency", concurrency, 1),
        "timeout": None if timeout is None else whole_seconds("timeout", timeout),
        "max_exec_time": (
            None if max_exec_time is None else whole_seconds("max_exec_time", max_exec_time)
        ),
        "info": None if info is None else encode("info", info),
        "key": None if key is None else text("key", key),
        "unless_since": (
            None if unless_since is None else whole_seconds("unless_since", unless_since)
        ),
        "start_by": None if start_by is None else whole_seconds("start_by", start_by),
    }


def adjusted(options: CallOptions, changes: CallOptions) -> CallOptions:
    """The options with those that are set in `changes` in their place."""
    merged = dict(options)
    merged.update((name, value) for name, value in changes.items() if value is not None)
    return merged  # type: ignore[return-value]


def arguments(args: tuple[Any, ...], kwargs: Dict[str, Any]) -> str:
    """The arguments of a call as JSON text: positional or named ones, not both."""
    if args and kwargs:
        raise TypeError("a remote procedure takes positional or named arguments, not both")
    return encode("arguments", kwargs or list(args))


def text(what: str, value: Any) -> str:
    """A string that is sent as it is."""
    if not isinstance(value, str):
        raise TypeError(f"{what}: expected str, got {_type(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{what}: {value!r} is no text that can be sent") from None
    return value


def optional_text(what: str, value: Any) -> Optional[str]:
    """Likewise, or None."""
    return None if value is None else text(what, value)


def path(what: str, value: Optional[Path]) -> Optional[str]:
    """A file's path, or None."""
    if value is None:
        return None
    try:
        return text(what, os.fspath(value))
    except TypeError:
        raise TypeError(f"{what}: expected str or os.PathLike, got {_type(value)}") from None


def truth(what: str, value: Any) -> bool:
    """True or False and nothing else."""
    if not isinstance(value, bool):
        raise TypeError(f"{what}: expected bool, got {_type(value)}")
    return value


def count(what: str, value: Any, least: int = 0) -> int:
    """A whole number that is not less than this."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what}: expected int, got {_type(value)}")
    if not least <= value <= _GREATEST:
        raise ValueError(f"{what}: must be {least} or more, and less than 2**63")
    return int(value)


def port(value: Any) -> int:
    """A port's number."""
    if count("port", value, 1) > 65535:
        raise ValueError("port: must be between 1 and 65535")
    return int(value)


def seconds(what: str, value: Any) -> float:
    """A time limit in seconds."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what}: expected seconds or a timedelta, got {_type(value)}")
    if not 0 < value < math.inf:
        raise ValueError(f"{what}: must be longer than 0 s, and an end must be in sight")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{what}: too long") from None


def whole_seconds(what: str, value: Any) -> int:
    """A time limit in whole seconds, rounded up."""
    if isinstance(value, int) and not isinstance(value, bool):
        return count(what, value, 1)
    return count(what, math.ceil(seconds(what, value)), 1)


def since_or_recent(since: Any, recent: Any) -> None:
    """Checks where packets are to begin."""
    if since is not None and recent is not None:
        raise ValueError("since and recent: only one of them can be given")
    if since is not None:
        count("since", since)
    if recent is not None:
        count("recent", recent)


def name(what: str, value: Any) -> str:
    """The name of a host or procedure."""
    if not text(what, value):
        raise ValueError(f"{what}: must not be empty")
    return str(value)


def _type(value: Any) -> str:
    return type(value).__name__
