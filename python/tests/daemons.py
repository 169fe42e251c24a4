"""A dispatcher and a host, real ones, on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, TypeVar

USER = "dispatcher"
PASSWORD = "open sesame"

#: The password as crypt(3) keeps it, with the fewest rounds there can be.
PASSWORD_HASH = "$5$rounds=1000$harptests$J3o5/RjGYeLEolfLjujWNPhha7cnAl8HkXhJJN0Bue8"

REPOSITORY = Path(__file__).parents[2]

T = TypeVar("T")

#: Name, form of the output, shell script.
PROCEDURES = [
    ("echo", "json", "exec cat"),
    ("return_immediate", "json", "exec cat"),
    ("stream_infinity", "json-lines", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done"),
    ("count", "json-lines", 'exec seq 0 $(($1 - 1))'),
    ("current_time", "json", "date +%s"),
    ("logs_in_next_minutes", "lines", 'exec seq -f "log %g" 1 "$1"'),
    ("packets", "json-lines", "for line; do printf '%s\\n' \"$line\"; done"),
    ("feed", "json-lines", 'exec cat "$1"'),
    ("gate", "json", 'exec cat "$1"'),
    ("fail", "json", 'echo "$2" >&2; exit "$1"'),
    ("fail_streaming", "lines", 'echo one; echo two; echo "$2" >&2; exit "$1"'),
    ("silent", "json", "exec sleep 600"),
    ("silent_stream", "lines", "exec sleep 600"),
    ("restart-nginx", "json", "echo true"),
    ("nginx_status", "json", 'echo "{\\"up\\": true}"'),
]

#: Those whose arguments are a JSON text on their standard input.
FROM_INPUT = ("echo", "return_immediate")


def until(what: str, condition: Callable[[], Optional[T]]) -> T:
    """Waits for a condition, and gives what it came to."""
    deadline = time.monotonic() + 60
    while True:
        value = condition()
        if value is not None and value is not False:
            return value
        assert time.monotonic() < deadline, f"waited too long until {what}"
        time.sleep(0.01)


def binary(name: str) -> str:
    """The path of a daemon; builds them unless HARP_BIN_DIR names a folder that has them."""
    folder = os.environ.get("HARP_BIN_DIR")
    if folder is None:
        command = ["cargo", "build", "--quiet", "--bins"]
        command += ["--package=harp", "--package=harpcallerd", "--package=harpd"]
        subprocess.run(command, cwd=REPOSITORY, check=True)
        target = os.environ.get("CARGO_TARGET_DIR", str(REPOSITORY / "target"))
        folder = os.environ["HARP_BIN_DIR"] = f"{target}/debug"
    return str(Path(folder).resolve() / name)


def certificates(directory: Path) -> None:
    """An authority, and a certificate for 127.0.0.1 that it has signed."""

    def openssl(*arguments: str) -> None:
        command = ["openssl", *arguments]
        subprocess.run(command, cwd=directory, check=True, capture_output=True)

    (directory / "names").write_text(
        "basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n"
    )
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=harp tests", "-addext",
            "keyUsage=keyCertSign", "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
    openssl("req", *key, "-subj", "/CN=host", "-keyout", "host.key", "-out", "host.csr")
    openssl("x509", "-req", "-in", "host.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
            "-set_serial", "2", "-extfile", "names", "-out", "host.pem")  # fmt: skip
    (directory / "host.key").chmod(0o600)


class Daemon:
    """A process that logs lines of JSON to its standard error."""

    def __init__(self, *command: str) -> None:
        self.entries: List[Dict[str, Any]] = []
        self.lines: List[str] = []
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for raw in self.process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self.lines.append(line)
            try:
                self.entries.append(json.loads(line))
            except ValueError:
                pass

    def addresses(self, count: int = 1) -> List[str]:
        """The first addresses that it listens on, once it does."""

        def listening() -> Optional[List[str]]:
            assert self.process.poll() is None, "\n".join(self.lines)
            found = [e["address"] for e in list(self.entries) if e.get("message") == "listening"]
            return found[:count] if len(found) >= count else None

        return until("the daemon listens", listening)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.wait(60)
        self._reader.join(60)


class Cluster:
    """A dispatcher and one host, by the names `localhost`, `web01` and `web-02`."""

    def __init__(self, directory: Path, tables: str = "", settings: str = "") -> None:
        self.directory = directory
        self._settings = settings
        self._tables = tables
        certificates(directory)
        self._write("users.txt", f"{USER}:{PASSWORD_HASH}\n")
        self._write("harpd.toml", self._harpd())
        self.harpd = Daemon(binary("harpd"), "--config", str(directory / "harpd.toml"))
        _, port = self.harpd.addresses()[0].rsplit(":", 1)
        self.host_port = int(port)
        entries = "".join(
            json.dumps(
                {
                    "hostname": name,
                    "address": "127.0.0.1",
                    "port": self.host_port,
                    "credentials": {"user": USER, "password": PASSWORD},
                }
            )
            + "\n"
            for name in ("localhost", "web01", "web-02")
        )
        self._write("hosts.jsonl", entries)
        self._script("hosts.sh", f"exec cat {directory}/hosts.jsonl")
        self.listen = "127.0.0.1:0"
        self.start_dispatcher()

    def start_dispatcher(self) -> None:
        self._write("harpcaller.toml", self._harpcallerd())
        self.dispatcher = Daemon(
            binary("harpcallerd"),
            "--socket",
            str(self.directory / "control"),
            "start",
            "--config",
            str(self.directory / "harpcaller.toml"),
        )
        self.listen = self.dispatcher.addresses()[0]
        self.port = int(self.listen.rsplit(":", 1)[1])

    def stop(self) -> None:
        self.dispatcher.stop(signal.SIGKILL)
        self.harpd.stop()

    def feed(self, name: str) -> Feed:
        return Feed(self.directory / name)

    def _harpd(self) -> str:
        text = (
            "listen = ['127.0.0.1:0']\nkill_grace = 1\nlog_handlers = ['stderr']\n"
            "log_format = 'json'\n"
        )
        for key, name in (
            ("certificate", "host.pem"),
            ("private_key", "host.key"),
            ("users_file", "users.txt"),
        ):
            text += f"{key} = '{self.directory}/{name}'\n"
        (self.directory / "procedures").mkdir()
        for name, output, body in PROCEDURES:
            arguments = "stdin" if name in FROM_INPUT else "argv"
            script = self._script(f"procedures/{name}", body)
            text += f"[procedure.{name}]\ncommand = ['{script}']\noutput = '{output}'\n"
            text += f"arguments = '{arguments}'\n"
        return text

    def _harpcallerd(self) -> str:
        return (
            f"listen = ['{self.listen}']\nlog_handlers = ['stderr']\nlog_format = 'json'\n"
            f"ca_file = '{self.directory}/ca.pem'\n"
            f"stream_directory = '{self.directory}/jobs'\n"
            f"host_db_script = '{self.directory}/hosts.sh'\n"
            f"host_db = '{self.directory}/hosts.cache'\n" + self._settings + self._tables
        )

    def _write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o600)

    def _script(self, name: str, body: str) -> Path:
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o700)
        return path


class Feed:
    """What the procedures `feed` and `gate` print, as the test goes on."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._pipe: Any = None

    def send(self, text: str) -> None:
        if self._pipe is None:
            # Waits for the procedure.
            self._pipe = open(self.path, "w")
        self._pipe.write(text + "\n")
        self._pipe.flush()

    def close(self) -> None:
        self._pipe.close()
