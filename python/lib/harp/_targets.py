"""Dispatchers, hosts, procedures and jobs as far as they are the same for both ways of waiting."""

from __future__ import annotations

from typing import Any, Dict, Generic, Optional, Type, TypeVar

from . import _options
from ._harp import Dispatcher, Operation
from ._harp import Job as NativeJob
from ._options import CallOptions, Path, Seconds

Server = TypeVar("Server")
Procedure = TypeVar("Procedure")
Job = TypeVar("Job")
Call = TypeVar("Call", bound="BaseRemoteCall")
Self = TypeVar("Self", bound="BaseServer[Any]")


class BaseCaller(Generic[Server, Job]):
    """Dispatcher server representation.

    `host` is its name or address, or `unix:/PATH`, the path of a Unix socket that it listens
    on. Nothing is connected before the first request.

    TLS is spoken if one of `ca_file` (a file of CAs that may have signed the dispatcher's
    certificate), `fingerprint` (the SHA-256 of its certificate) and `accept_any_certificate`
    is given; `server_name` is then the name in the certificate if that is another than
    `host`, `client_certificate` and `client_key` are files that this client shows. `token`
    authenticates; without TLS it is sent to loopback only, unless `token_without_tls` is set.
    `client_name` is this client's name in the dispatcher's log.

    Limits in seconds: `connect_timeout` of connecting, `request_timeout` of the answer to
    what does not wait for a job, `reconnect_for` of looking for a dispatcher that was lost
    while a job was waited for. `pool_size` bounds the requests at a time that do not wait,
    `max_reply_size` the bytes of a line. With `decimal`, numbers that are not whole come as
    `decimal.Decimal`.

    Can be used by several threads at once. In a `with` statement, its idle connections are
    closed at the end.
    """

    def __init__(
        self,
        host: str,
        port: int = 3502,
        *,
        ca_file: Optional[Path] = None,
        fingerprint: Optional[str] = None,
        accept_any_certificate: bool = False,
        server_name: Optional[str] = None,
        client_certificate: Optional[Path] = None,
        client_key: Optional[Path] = None,
        token: Optional[str] = None,
        token_without_tls: bool = False,
        client_name: Optional[str] = None,
        connect_timeout: Seconds = 10,
        request_timeout: Seconds = 60,
        reconnect_for: Seconds = 300,
        pool_size: int = 16,
        max_reply_size: int = 64 * 1024 * 1024,
        decimal: bool = False,
    ) -> None:
        self._address = (_options.name("host", host), _options.port(port))
        self._decimal = _options.truth("decimal", decimal)
        self._settings: _options.DispatcherOptions = {
            "ca_file": _options.path("ca_file", ca_file),
            "fingerprint": _options.optional_text("fingerprint", fingerprint),
            "accept_any_certificate": _options.truth(
                "accept_any_certificate", accept_any_certificate
            ),
            "server_name": _options.optional_text("server_name", server_name),
            "client_certificate": _options.path("client_certificate", client_certificate),
            "client_key": _options.path("client_key", client_key),
            "token": _options.optional_text("token", token),
            "token_without_tls": _options.truth("token_without_tls", token_without_tls),
            "client_name": _options.optional_text("client_name", client_name),
            "connect_timeout": _options.seconds("connect_timeout", connect_timeout),
            "request_timeout": _options.seconds("request_timeout", request_timeout),
            "reconnect_for": _options.seconds("reconnect_for", reconnect_for),
            "pool_size": _options.count("pool_size", pool_size, 1),
            "max_reply_size": _options.count("max_reply_size", max_reply_size, 1),
        }
        self._tls = _chosen_tls(self._settings)
        self._native = Dispatcher(_address_text(*self._address), self._settings)

    def __getattr__(self, host: str) -> Server:
        """A host by its name. Those that are no names of Python, or that this class has
        itself, are at `rpc["web-01"]` or `rpc.host("job")`."""
        if host.startswith("__"):
            raise AttributeError(host)
        return self._server(host)

    def __getitem__(self, host: str) -> Server:
        return self._server(_options.name("host", host))

    # An object with items would be taken for a sequence.
    __iter__ = None

    def host(
        self,
        host: str,
        *,
        queue: Optional[Dict[str, Any]] = None,
        concurrency: Optional[int] = None,
        timeout: Optional[Seconds] = None,
        max_exec_time: Optional[Seconds] = None,
        info: Any = None,
        key: Optional[str] = None,
        unless_since: Optional[Seconds] = None,
        start_by: Optional[Seconds] = None,
    ) -> Server:
        """A host with the options of the calls made through it.

        `queue`: name of a queue to wait in, a dict. `concurrency`: jobs of the queue that
        may run at once. `timeout`: longest silence of the host. `max_exec_time`: longest
        execution. `info`: whatever the job is to give back. Beyond the original's: `key`
        makes submitting safe to repeat, since calls of the same key give the same job;
        `unless_since`, with a key: a new job if the last one is older; `start_by`: longest
        wait in the queue. Times are seconds, rounded up to whole ones, or a `timedelta`.
        """
        options = _options.call_options(
            queue, concurrency, timeout, max_exec_time, info, key, unless_since, start_by
        )
        return self._server(_options.name("host", host), options)

    #: `rpc("web01")` is `rpc.host("web01")`.
    __call__ = host

    def job(self, job_id: str) -> Job:
        """A job by its id, whichever client has submitted it. `ValueError` if it is no id."""
        return self._job(_options.text("job_id", job_id))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address[0]!r}, {self._address[1]})"

    def _server(self, name: str, options: Optional[CallOptions] = None) -> Server:
        raise NotImplementedError

    def _job(self, job_id: str) -> Job:
        raise NotImplementedError


class BaseRemoteCall:
    """What a job is, before anything is asked of it."""

    def __init__(self, dispatcher: BaseCaller[Any, Any], job_id: str) -> None:
        if not isinstance(dispatcher, BaseCaller):
            raise TypeError(f"dispatcher: expected HarpCaller, got {type(dispatcher).__name__}")
        self._dispatcher = dispatcher
        self._native: NativeJob = dispatcher._native.job(_options.text("job_id", job_id))

    @classmethod
    def _of(cls: Type[Call], dispatcher: BaseCaller[Any, Any], native: NativeJob) -> Call:
        call = cls.__new__(cls)
        call._dispatcher = dispatcher
        call._native = native
        return call

    def id(self) -> str:
        """The job's id, which finds it again at any later time."""
        return self._native.id()

    def existing(self) -> bool:
        """True if this is the answer to a call whose `key` had been used before, so that no
        new job was made."""
        return self._native.existing()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id()}>"


class BaseServer(Generic[Procedure]):
    """Target RPC server representation, with the options of the calls made through it."""

    def __init__(self, dispatcher: BaseCaller[Any, Any], hostname: str) -> None:
        if not isinstance(dispatcher, BaseCaller):
            raise TypeError(f"dispatcher: expected HarpCaller, got {type(dispatcher).__name__}")
        self._dispatcher = dispatcher
        self._hostname = _options.name("hostname", hostname)
        self._options = _options.call_options()

    def __str__(self) -> str:
        return self._hostname

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._dispatcher!r}, {self._hostname!r})"

    def __getattr__(self, procedure: str) -> Procedure:
        """A procedure by its name; one that is no name of Python is at
        `host["restart-nginx"]`."""
        if procedure.startswith("__"):
            raise AttributeError(procedure)
        return self._procedure(procedure)

    def __getitem__(self, procedure: str) -> Procedure:
        return self._procedure(_options.name("procedure", procedure))

    __iter__ = None

    def __call__(
        self: Self,
        *,
        queue: Optional[Dict[str, Any]] = None,
        concurrency: Optional[int] = None,
        timeout: Optional[Seconds] = None,
        max_exec_time: Optional[Seconds] = None,
        info: Any = None,
        key: Optional[str] = None,
        unless_since: Optional[Seconds] = None,
        start_by: Optional[Seconds] = None,
    ) -> Self:
        """Adjusts the options, which are those of `HarpCaller.host`, and returns this host
        itself. One that is None stays as it is."""
        changes = _options.call_options(
            queue, concurrency, timeout, max_exec_time, info, key, unless_since, start_by
        )
        self._options = _options.adjusted(self._options, changes)
        return self

    def _procedure(self, name: str) -> Procedure:
        raise NotImplementedError


class BaseProcedure:
    """Callable representation of a remote procedure."""

    def __init__(
        self, dispatcher: BaseCaller[Any, Any], server: BaseServer[Any], procedure: str
    ) -> None:
        if not isinstance(server, BaseServer):
            raise TypeError(f"server: expected RemoteServer, got {type(server).__name__}")
        self._dispatcher = dispatcher
        self._server = server
        self._name = _options.name("procedure", procedure)

    def host(self) -> str:
        """The name of the host that it is called on."""
        return str(self._server)

    def procedure(self) -> str:
        """Its name."""
        return self._name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name} on {self._server}>"

    def _call(self, args: tuple[Any, ...], kwargs: Dict[str, Any]) -> Operation:
        return self._dispatcher._native.submit(
            self.host(),
            self._name,
            _options.arguments(args, kwargs),
            self._server._options,
        )


def _address_text(host: str, port: int) -> str:
    if host.startswith("unix:/"):
        return host
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{host}:{port}"


def _chosen_tls(settings: _options.DispatcherOptions) -> bool:
    """Whether TLS is spoken; `ValueError` for options that contradict each other."""
    ways = [
        settings["ca_file"] is not None,
        settings["fingerprint"] is not None,
        settings["accept_any_certificate"],
    ]
    if sum(ways) > 1:
        raise ValueError(
            "ca_file, fingerprint and accept_any_certificate: only one of them can be given"
        )
    if (settings["client_certificate"] is None) != (settings["client_key"] is None):
        raise ValueError("client_certificate and client_key: one means nothing without the other")
    if any(ways):
        return True
    for name in ("server_name", "client_certificate"):
        if settings[name] is not None:
            raise ValueError(
                f"{name}: means nothing without TLS; add ca_file, fingerprint or "
                "accept_any_certificate"
            )
    return False
