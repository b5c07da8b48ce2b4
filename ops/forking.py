"""Kernels that start in a moment: forked from a process that has imported the libraries already.

A server is started while the runner itself still imports; it imports ipykernel, pandas and what the notebooks name, and
then forks a kernel for each that asks. What always holds: the server has one thread when it forks; each kernel has a
session, an environment, a directory and a log of its own, and nothing of another's; a kernel that dies is known by its
own exit status; kernels end when the server does, and the server when its runner does, however that came about.
"""

from __future__ import annotations

import ast
import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ops.stage import ROOT

# What every runbook needs.
LIBRARIES = ("ipykernel.kernelapp", "ipykernel.ipkernel", "IPython", "pandas", "boto3", "ops.runbook")
# What a library reads from the environment when it is imported: kernels that differ in it need servers of their own.
FIXED = ("ATOLL_REPORTS_DIR", "ATOLL_STATE_DIR", "ATOLL_SKETCH", "PYTHONPATH")
# Forking takes a process of one thread. Frames of runbooks are small: more would not be faster.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
IMPORTS_S = 120.0
_ENDS_S = 5.0


def modules_of(notebooks: Iterable[Path]) -> tuple[str, ...]:
    """The modules of ``ops`` that the cells of these notebooks import, sorted."""
    found: set[str] = set()
    for path in notebooks:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                found |= set(_imported("".join(cell["source"])))
    return tuple(sorted(found))


def _imported(source: str) -> Iterable[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "ops":
            # What is imported from a package may be a module of it, or a name in it.
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


class Server:
    """A process that forks kernels. Thread-safe; started at once, and asked when the first kernel is wanted."""

    def __init__(self, modules: Iterable[str] = (), environment: Mapping[str, str] | None = None) -> None:
        ours, theirs = socket.socketpair()
        self._socket, self._lock = ours, threading.Lock()
        self._answers = ours.makefile("r", encoding="utf-8")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ops.forking", str(theirs.fileno()), *LIBRARIES, *modules],
                env={**(os.environ if environment is None else environment), **ONE_THREAD},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                # Ctrl-C is the runner's to answer.
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def fork(self, arguments: list[str], environment: Mapping[str, str], cwd: str, log: Path) -> Forked:
        """Start a kernel.

        Raises:
            OSError: the server is gone, or could not import what it is for.
        """
        asked = {"arguments": arguments, "environment": dict(environment), "cwd": cwd, "log": str(log)}
        return Forked(self, int(self.ask({"fork": asked})))

    def ask(self, question: Mapping[str, Any]) -> Any:
        """The server's answer.

        Raises:
            OSError: it is gone, or says what is wrong.
        """
        with self._lock:
            self._socket.settimeout(IMPORTS_S)
            self._socket.sendall(json.dumps(question).encode() + b"\n")
            line = self._answers.readline()
        if not line:
            raise OSError("the process that starts kernels is gone")
        answer = json.loads(line)
        if "error" in answer:
            raise OSError(f"the process that starts kernels cannot: {answer['error']}")
        return answer["answer"]

    def close(self) -> None:
        """End it, and with it every kernel that is still there."""
        self._answers.close()
        self._socket.close()
        try:
            self._process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Forked:
    """A forked kernel, with what of ``subprocess.Popen`` jupyter_client asks for."""

    stdin = stdout = stderr = None

    def __init__(self, server: Server, pid: int) -> None:
        self._server, self.pid = server, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs. When the server is gone its kernels are."""
        if self.returncode is None:
            try:
                self.returncode = self._server.ask({"poll": self.pid})
            except OSError:
                self.returncode = -signal.SIGKILL
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(f"kernel {self.pid}", timeout or 0.0)
            time.sleep(0.02)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


_servers: dict[tuple[str | None, ...], Server] = {}
_lock = threading.Lock()


def server(environment: Mapping[str, str], modules: Iterable[str] = ()) -> Server:
    """The server for kernels of this environment; started if there is none, with ``modules`` imported besides."""
    fixed = tuple(environment.get(name) for name in FIXED)
    with _lock:
        found = _servers.get(fixed)
        if found is None or not found.alive:
            found = _servers[fixed] = Server(modules, environment)
            _close_at_exit()
        return found


@cache
def _close_at_exit() -> None:
    def close() -> None:
        for one in _servers.values():
            one.close()

    atexit.register(close)


# --- the server's side -------------------------------------------------------------------------------------------


def serve(control: socket.socket, modules: Iterable[str]) -> None:
    """Answer until the other side is gone; then end the kernels."""
    trouble = _load(modules)
    kernels: dict[int, int | None] = {}
    with control, control.makefile("r", encoding="utf-8") as questions:
        for line in questions:
            question = json.loads(line)
            answer: dict[str, Any]
            if trouble:
                answer = {"error": trouble}
            elif "fork" in question:
                pid = os.fork()
                if pid == 0:
                    _become(question["fork"], control)
                kernels[pid] = None
                answer = {"answer": pid}
            else:
                answer = {"answer": _status(kernels, question["poll"])}
            control.sendall(json.dumps(answer).encode() + b"\n")
    for pid in [pid for pid in kernels if _status(kernels, pid) is None]:
        os.killpg(pid, signal.SIGKILL)


def _load(modules: Iterable[str]) -> str:
    """Import what there is; why a library that every kernel needs is not to be had, or nothing."""
    from ops import slowimports

    with slowimports.hidden():
        for name in modules:
            try:
                __import__(name)
            except ImportError as error:
                # A name in a module, as in `from ops.metrics import collect`: the module is imported by itself.
                if name in LIBRARIES:
                    return f"{name}: {error}"
    return ""


def _status(kernels: dict[int, int | None], pid: int) -> int | None:
    if kernels[pid] is None:
        done, status = os.waitpid(pid, os.WNOHANG)
        kernels[pid] = os.waitstatus_to_exitcode(status) if done else None
    return kernels[pid]


def _become(asked: Mapping[str, Any], control: socket.socket) -> None:
    """Be a kernel, in the forked process; never returns."""
    status = 1
    try:
        server = os.getppid()
        os.setsid()
        control.close()
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from ipykernel.kernelapp import launch_new_instance

        launch_new_instance(argv=[*asked["arguments"], f"--IPKernelApp.parent_handle={server}"])
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:  # noqa: BLE001 - told in the kernel's own log, which explains its death
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
