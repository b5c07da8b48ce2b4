"""``make demo``: the main job of the platform on this machine, from nothing to a report.

1. Start the local cloud.  2. Deploy every region.  3. Provision the global resources.  4. Send traffic from several
cities and wait until every accepted event is in every replica.  5. Run the runbooks.  6. Write the index page.

Exits 0 only if every verdict is pass. The local cloud stays up; running it again works on what is there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from ops import arrival, report, runbooks, send, token
from ops.aws import Cloud
from ops.errors import EXIT_ERROR, EXIT_FAIL, EXIT_PASS, OpsError
from ops.local import bringup
from ops.stage import Stage, load_stage
from ops.window import text_of

STAGE = "local"
EVENTS = 400
T = TypeVar("T")


class Demo:
    """The steps, timed."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.timings: list[tuple[str, float]] = []
        self.outcomes: list[runbooks.RunOutcome] = []

    def step(self, title: str, work: Callable[[], T]) -> T:
        self.console.print(f"[bold]{len(self.timings) + 1}. {title}[/bold]", highlight=False)
        started = time.monotonic()
        result = work()
        self.timings.append((title, time.monotonic() - started))
        self.console.print(f"   done in {self.timings[-1][1]:.1f} s", highlight=False)
        return result

    def say(self, message: str) -> None:
        self.console.print(f"   [dim]{escape(message)}[/dim]", highlight=False)

    def run(self) -> int:
        stage = load_stage(STAGE)
        begun = datetime.now(UTC)
        cloud = self.step("Start the local cloud", lambda: bringup.start(stage, self.say))
        self.step(f"Deploy {', '.join(stage.regions)} with sls", lambda: bringup.deploy_regions(cloud, self.say))
        self.outcomes += self.step("Provision the global resources", lambda: bringup.provision_global(stage, self.say))
        sent = self.step(f"Send {EVENTS} CloudEvents through the edge", lambda: self._traffic(cloud))
        self.step("Wait until every replica has every event", lambda: self._settle(cloud, sent))
        self.step("Run the runbooks", lambda: self._runbooks(stage, text_of(begun)))
        index = self.step("Write the report", report.write_index)

        table = Table("runbook", "verdict", "checks", Column("page", overflow="fold"))
        for outcome in self.outcomes:
            checks = outcome.result["checks"]
            passed = sum(check["ok"] for check in checks)
            page = os.path.relpath(outcome.page)
            table.add_row(outcome.result["runbook"], outcome.result["verdict"], f"{passed} of {len(checks)}", page)
        self.console.print(table)
        total = sum(seconds for _, seconds in self.timings)
        for title, seconds in self.timings:
            self.console.print(f"{seconds:6.1f} s  {title}", highlight=False)
        self.console.print(f"{total:6.1f} s  in all\n", highlight=False)
        self.console.print(f"Report: {os.path.relpath(index)}", highlight=False)
        self.console.print("Look around: .venv/bin/ops status, make lab.  End it: .venv/bin/ops down", highlight=False)
        return EXIT_PASS if all(outcome.exit_status == 0 for outcome in self.outcomes) else EXIT_FAIL

    def _traffic(self, cloud: Cloud) -> list[send.Sent]:
        bringup.await_edge(cloud, self.say)
        requests = send.Traffic(EVENTS, duplicates=0.10, invalid=0.02).plan()
        results = send.send(cloud.edge_url, requests, token.for_stage(cloud))
        figures = send.summary(results)
        self.say(", ".join(f"{name} {value}" for name, value in figures.items()))
        if figures["failed"]:
            raise OpsError(f"{figures['failed']} events got no final answer", hint="Look at: ops status")
        return results

    def _settle(self, cloud: Cloud, sent: list[send.Sent]) -> None:
        arrival.wait(cloud, [each.event_key for each in sent if each.accepted and each.event_key])

    def _runbooks(self, stage: Stage, begun: str) -> None:
        # What happened before this demo is not its business: a fault that was tried would fail it.
        window = {"window_start": begun}
        replay = self._run("replay", stage, window)
        if replay.exit_status == 0:
            self._run("replay", stage, {}, token=replay.result["plan"]["token"])
        self._run("divergence", stage, {})
        self._run("metrics", stage, window)
        self._run("parity", stage, {})

    def _run(self, name: str, stage: Stage, given: dict[str, str], token: str = "") -> runbooks.RunOutcome:
        book = runbooks.find(name)
        outcome = runbooks.run(book, stage, runbooks.validate(book, given), token)
        self.say(f"{name}{' (applied)' if token else ''}: {outcome.result['verdict']}")
        self.outcomes.append(outcome)
        return outcome


def main() -> int:
    console = Console()
    demo = Demo(console)
    try:
        with bringup.ended_if_interrupted(demo.say):
            return demo.run()
    except OpsError as error:
        console.print(f"[bold red]error:[/bold red] {escape(str(error))}", highlight=False)
        if error.hint:
            console.print(f"[bold]next:[/bold]  {escape(error.hint)}", highlight=False)
        return error.exit_status
    except KeyboardInterrupt:
        console.print("stopped: by the operator", highlight=False)
        return EXIT_ERROR


if __name__ == "__main__":
    sys.exit(main())
