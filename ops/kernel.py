"""Running a notebook's cells in a kernel of its own: a papermill engine that always comes to an end.

What always holds: the kernel is gone when :func:`execute` returns, however that came about; a dead kernel, a cell or a
run that takes too long, and an operator's stop end the run within seconds, with the reason; nothing that reads the
environment of another run is shared, so any number of runs may go on side by side. Kernels are spoken to over Unix
sockets in a private directory: no port is opened, and parallel runs cannot take each other's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from ops import forking, slowimports
from ops.stage import ROOT

with slowimports.hidden():
    import nbformat
    import papermill
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_client.provisioning.local_provisioner import LocalProvisioner
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import remove_error_markers

ENGINE = "atoll"
KERNEL = "python3"
START_TIMEOUT_S = 60.0
# How long an interrupted cell may take to put things in order before its kernel is killed: a replay is cancelled within
# a minute, and what is temporary must not go before it is.
GRACE_S = 60.0
# Of what one cell prints. A page is for reading: beyond this a cell floods it.
OUTPUT_LIMIT_BYTES = 1_000_000

_quiet = logging.getLogger("ops.kernel")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


@dataclass(frozen=True)
class CellEvent:
    """A cell started, finished, or printed a line (``text``). ``index`` counts from 1 up to ``total``."""

    kind: Literal["started", "finished", "said"]
    index: int
    total: int
    title: str
    seconds: float = 0.0
    ok: bool = True
    text: str = ""

    def __str__(self) -> str:
        """The event as one line of a terminal."""
        place = f"{self.index}/{self.total} {self.title}"
        if self.kind == "said":
            return f"    {self.text}"
        if self.kind == "started":
            return f"{place} ..."
        return f"{place}: {'done' if self.ok else 'stopped'} in {self.seconds:.1f} s"


Progress = Callable[[CellEvent], None]
EndKind = Literal["done", "raised", "timeout", "dead", "stopped", "unstartable"]


@dataclass(frozen=True)
class End:
    """How the execution ended. ``title`` is the heading of the cell it ended in."""

    kind: EndKind
    title: str = ""
    error_name: str = ""
    message: str = ""


@dataclass
class Stop:
    """Lets another thread, or a signal handler, end an execution; at any time, and more than once."""

    reason: str = ""
    _wake: Callable[[], object] | None = None
    # Reentrant: a signal handler may run while its own thread holds it.
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def set(self, reason: str) -> None:
        with self._lock:
            self.reason = self.reason or reason
            if self._wake:
                self._wake()

    def attach(self, wake: Callable[[], object] | None) -> None:
        with self._lock:
            self._wake = wake
            if wake and self.reason:
                wake()


@dataclass
class Execution:
    """One notebook on its way through a kernel; ``notebook`` is updated as cells complete."""

    notebook: Any
    environment: Mapping[str, str]
    progress: Progress
    timeout_s: float
    cell_timeout_s: float
    save: Callable[[Any], None]
    stop: Stop = field(default_factory=Stop)
    end: End = End("done")


def titles(notebook: Any) -> dict[int, str]:
    """The heading under which each code cell that does the runbook's work stands, by cell index."""
    title, found = "", {}
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            headings = [line.lstrip("# ").strip() for line in cell.source.splitlines() if line.startswith("#")]
            title = headings[-1] if headings else title
        elif cell.cell_type == "code" and cell.source.strip():
            tags = cell.metadata.get("tags", [])
            if "parameters" not in tags and "injected-parameters" not in tags:
                found[index] = title or f"Cell {index + 1}"
    return found


class _Client(PapermillNotebookClient):  # type: ignore[misc]
    """papermill's client, run on an event loop of its own, with a watch over time, life and the operator's wish."""

    def __init__(self, nb_man: Any, execution: Execution, **kwargs: Any) -> None:
        super().__init__(nb_man, **kwargs)
        self.run = execution
        self._titles = titles(nb_man.nb)
        self._order = {index: number for number, index in enumerate(self._titles, 1)}
        self._current = 0
        self._cell_started = 0.0
        self._why: End | None = None
        self._printed_bytes = 0

    async def run_all(self, kernel_log: Path, **start: Any) -> None:
        """Execute every cell; how it ended is left in ``execution.end``."""
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.run.stop.attach(lambda: loop.call_soon_threadsafe(woken.set))
        process: subprocess.Popen[bytes] | None = None
        watch: asyncio.Task[None] | None = None
        try:
            async with self.async_setup_kernel(cleanup_kc=True, cwd=str(ROOT), **start):
                process = self.km.provisioner.process
                watch = asyncio.create_task(self._watch(woken))
                for index, cell in enumerate(self.nb.cells):
                    if self._why is not None:
                        break
                    await self._one_cell(cell, index)
                self.nb.metadata["language_info"] = {"name": "python"}
                if self.run.end.kind != "done" or self._why is not None:
                    self.shutdown_kernel = "immediate"
        except DeadKernelError:
            self.run.end = self._why or End("dead", self._title(), message=_death(process, kernel_log))
        except (RuntimeError, OSError) as error:
            if process is not None:
                raise
            self.run.end = End("unstartable", message=f"the kernel did not start: {error}{_tail(kernel_log)}")
        finally:
            self.run.stop.attach(None)
            if watch is not None:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)
            if process is not None and self.run.end.kind != "done":
                # What the cell started (a child process) dies with a kernel that could not end it itself.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
        if self._why is not None:
            self.run.end = self._why

    async def _one_cell(self, cell: Any, index: int) -> None:
        number = self._order.get(index)
        self._current, self._cell_started, self._printed_bytes = index, time.monotonic(), 0
        if number:
            self.run.progress(CellEvent("started", number, len(self._order), self._titles[index]))
        ok = False
        try:
            self.nb_man.cell_start(cell, index)
            await self.async_execute_cell(cell, index)
            ok = True
        except CellExecutionError as error:
            self.nb_man.cell_exception(cell, cell_index=index, exception=error)
            self.run.end = End("raised", self._title(), error.ename, error.evalue)
            self._why = self._why or self.run.end
        finally:
            self.nb_man.cell_complete(cell, cell_index=index)
            seconds, self._cell_started = time.monotonic() - self._cell_started, 0.0
            if number:
                self.run.progress(CellEvent("finished", number, len(self._order), self._titles[index], seconds, ok))
                self.run.save(self.nb)

    async def _watch(self, woken: asyncio.Event) -> None:
        """Interrupt the cell when the operator says so or time is up; kill the kernel when that does not help."""
        deadline = time.monotonic() + self.run.timeout_s
        while True:
            now = time.monotonic()
            cell_deadline = self._cell_started + self.run.cell_timeout_s if self._cell_started else float("inf")
            if self.run.stop.reason:
                why = End("stopped", self._title(), message=self.run.stop.reason)
            elif now >= deadline:
                why = End("timeout", self._title(), message=f"the run took longer than {self.run.timeout_s:g} s")
            elif now >= cell_deadline:
                why = End("timeout", self._title(), message=f"the cell took longer than {self.run.cell_timeout_s:g} s")
            else:
                with contextlib.suppress(TimeoutError):
                    # Half a second at most: the next cell may have begun, with a deadline of its own.
                    await asyncio.wait_for(woken.wait(), min(0.5, deadline - now, max(0.01, cell_deadline - now)))
                continue
            self._why = why
            await self.km.interrupt_kernel()
            await asyncio.sleep(GRACE_S)
            await self.km.provisioner.kill()
            return

    def _title(self) -> str:
        return self._titles.get(self._current, "")

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        """Pass printed lines on as progress, and keep a flood out of the record."""
        if msg["msg_type"] == "stream":
            text = msg["content"]["text"]
            before, self._printed_bytes = self._printed_bytes, self._printed_bytes + len(text)
            if before >= OUTPUT_LIMIT_BYTES:
                return None
            if self._printed_bytes >= OUTPUT_LIMIT_BYTES:
                note = f"\n[the rest is not kept: a cell's printed output ends at {OUTPUT_LIMIT_BYTES:,} characters]\n"
                msg["content"]["text"] = text[: OUTPUT_LIMIT_BYTES - before] + note
            lines = [line for line in text.splitlines() if line.strip()]
            if lines and cell_index in self._order:
                self.run.progress(
                    CellEvent(
                        "said", self._order[cell_index], len(self._order), self._titles[cell_index], text=lines[-1]
                    )
                )
        return super().process_message(msg, cell, cell_index)


class _Forks(LocalProvisioner):
    """Starts a kernel by a fork of a process that has the libraries loaded, in the place of a new process."""

    words: Path

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        environment = kwargs["env"]
        server = await loop.run_in_executor(None, forking.server, environment)
        # Of the command, what the kernel itself takes: its connection file.
        arguments = cmd[cmd.index("-f") :]
        forked = await loop.run_in_executor(None, server.fork, arguments, environment, str(kwargs["cwd"]), self.words)
        self.process = cast("subprocess.Popen[Any]", forked)
        self.pid = self.pgid = forked.pid
        return self.connection_info


class _Engine(Engine):  # type: ignore[misc]
    """The engine papermill is told to use. The execution is handed through papermill as an engine argument."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, *, execution: Execution, **_: Any) -> None:
        execution.notebook = nb_man.nb
        with tempfile.TemporaryDirectory(prefix="atoll-kernel-") as private:
            directory = Path(private)
            manager = AsyncKernelManager(
                kernel_name=kernel_name, transport="ipc", connection_file=str(directory / "kernel.json")
            )
            provisioner = _Forks(kernel_id="", kernel_spec=manager.kernel_spec, parent=manager)
            # The kernel's own words (a crash, a lack of memory) are kept to explain its death.
            provisioner.words = directory / "kernel.log"
            manager.provisioner = provisioner
            client = _Client(nb_man, execution, km=manager, timeout=None, startup_timeout=START_TIMEOUT_S, log=_quiet)
            asyncio.run(client.run_all(provisioner.words, env=dict(execution.environment)))


papermill_engines.register(ENGINE, _Engine)


def execute(execution: Execution, parameters: Mapping[str, Any]) -> End:
    """Run ``execution.notebook`` with ``parameters`` through papermill, on the calling thread; returns how it ended."""
    # A failing cell is told by the end, not by an exception, and the page marks it better than papermill's red cells.
    with contextlib.suppress(PapermillExecutionError):
        papermill.execute_notebook(
            execution.notebook,
            None,
            parameters=dict(parameters),
            engine_name=ENGINE,
            kernel_name=KERNEL,
            language="python",
            request_save_on_cell_execute=False,
            autosave_cell_every=0,
            progress_bar=False,
            log_output=False,
            execution=execution,
        )
    remove_error_markers(execution.notebook)
    return execution.end


def read_notebook(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def _death(process: subprocess.Popen[bytes] | None, kernel_log: Path) -> str:
    status = process.poll() if process else None
    how = ""
    if status is not None and status < 0:
        how = f", killed by {signal.Signals(-status).name}"
        if status == -signal.SIGKILL:
            how += " (by an operator, or for want of memory)"
    elif status is not None:
        how = f" with status {status}"
    return f"the kernel died{how}{_tail(kernel_log)}"


def _tail(path: Path) -> str:
    """The last line the kernel wrote, as `` (…)``, or nothing."""
    try:
        lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return f" ({lines[-1][:300]})" if lines else ""
