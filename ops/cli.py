"""The ``ops`` command: each subcommand reads its input, calls one operation, and shows what it returned.

Exit status, of every command: 0 pass, 1 fail, 2 refused or wrong usage (nothing was changed), 3 error.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from ops.errors import EXIT_ERROR, EXIT_FAIL, EXIT_PASS, EXIT_REFUSED, OpsError, UsageError
from ops.stage import Stage, load_stage, state_dir

app = typer.Typer(
    name="ops",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Operate Atoll: deploy, look, send, replay, compare, report. `ops COMMAND --help` has examples.",
)
fault_app = typer.Typer(no_args_is_help=True, help="Break the local cloud on purpose, and mend it.")
app.add_typer(fault_app, name="fault")
edge_app = typer.Typer(no_args_is_help=True, help="What the name resolves to, from where, and why.")
app.add_typer(edge_app, name="edge")
drill_app = typer.Typer(no_args_is_help=True, help="What drills break now, and the end of it.")
app.add_typer(drill_app, name="drill")

INTERRUPTED = 130
# A pipe has no width: wide enough that nothing is cut.
out = Console(width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, width=None if sys.stderr.isatty() else 160)

StageOption = Annotated[str, typer.Option("--stage", "-s", help="A file deploy/stages/STAGE.yml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
ClientOption = Annotated[
    str, typer.Option(help="Name of the secret that holds the client; default: the stage's access.client_secret.")
]
RegionsOption = Annotated[list[str] | None, typer.Option("--region", "-r", help="Only this region; repeatable.")]


class AccessChoice(StrEnum):
    """What a token lets its bearer do."""

    write = "write"
    read = "read"


def main() -> None:
    """Run the command line; turn every error into one message, a way on, and the exit status of the contract."""
    try:
        # Without standalone mode, the status of a typer.Exit is what the call returns; 130 is typer's word for Ctrl-C.
        status = app(standalone_mode=False) or EXIT_PASS
        if status == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(status)
    except OpsError as error:
        sys.exit(_explain(error))
    except KeyboardInterrupt:
        err.print("[bold]stopped[/bold]: by the operator")
        sys.exit(EXIT_ERROR)
    except typer.Abort:
        sys.exit(EXIT_ERROR)
    except Exception as error:  # noqa: BLE001 - shown, whatever it is, with the status of an error
        # click's own usage errors know how to show themselves, and their status is 2.
        show = getattr(error, "show", None)
        if show is None:
            # A fault of ours: Python's own status for it, 1, would read as a verdict.
            traceback.print_exception(error)
            sys.exit(EXIT_ERROR)
        show()
        sys.exit(EXIT_REFUSED)


def _explain(error: OpsError) -> int:
    err.print(f"[bold red]error:[/bold red] {_plain(str(error))}", highlight=False)
    if error.hint:
        err.print(f"[bold]next:[/bold]  {_plain(error.hint)}", highlight=False)
    return error.exit_status


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def _say(message: str) -> None:
    err.print(f"[dim]·[/dim] {_plain(message)}", highlight=False)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def _enter(name: str) -> Stage:
    """Load a stage; when it runs on the local cloud, point this process (and what it starts) there."""
    stage = load_stage(name)
    if stage.local_cloud is not None:
        from ops.local import cloud as local_cloud

        running = local_cloud.current()
        if running is not None:
            local_cloud.activate(running)
        elif "AWS_ENDPOINT_URL" not in os.environ:
            raise UsageError("the local cloud is not running", hint=f"Start it: ops up --stage {name}")
    return stage


def _running(stage: str) -> tuple[Any, Stage]:
    """The local cloud that runs for a stage, and the stage; raise UsageError when there is none."""
    from ops.local import bringup
    from ops.local import cloud as local_cloud

    settings = _enter(stage)
    bringup.require_local(settings)
    running = local_cloud.current()
    if running is None:
        raise UsageError("the local cloud is not running", hint=f"Start it: ops up --stage {stage}")
    return running, settings


@contextmanager
def _bar(what: str, total: int, quiet: bool) -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=quiet) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


# --- the local cloud ---------------------------------------------------------------------------------------------


@app.command(rich_help_panel="Local cloud")
def up(stage: StageOption = "local") -> None:
    """Start the local cloud, deploy every region, provision the global resources. Safe to repeat.

    Example: ops up
    """
    from ops.local import bringup

    settings = load_stage(stage)
    with bringup.ended_if_interrupted(_say):
        cloud = bringup.start(settings, _say)
        bringup.deploy_regions(cloud, _say)
        bringup.provision_global(settings, _say)
        bringup.await_edge(cloud, _say)
    out.print(f"The local cloud is up: {cloud.edge_url}  (look around: ops status, make lab; end it: ops down)")


@app.command(rich_help_panel="Local cloud")
def down(stage: StageOption = "local") -> None:
    """Stop the local cloud and everything it started; what it held is gone.

    Example: ops down
    """
    from ops.local import bringup
    from ops.local import cloud as local_cloud

    bringup.require_local(load_stage(stage))
    stopped = local_cloud.down(_say)
    out.print(f"Stopped: {', '.join(stopped)}" if stopped else "The local cloud was not running.")


@app.command(rich_help_panel="Local cloud")
def lab(
    stage: StageOption = "local", browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True
) -> None:
    """JupyterLab on the runbooks, bound to loopback, with the stage's environment; it opens with what there is to run.

    Example: ops lab --stage local --no-browser
    """
    from ops.lab import start
    from ops.stage import ROOT

    _enter(stage)
    command = [sys.executable, "-m", "ops.lab.server", "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={ROOT}"]
    opened = start.write(stage).relative_to(ROOT).as_posix()
    command += [f"--LabApp.default_url=/lab/tree/{opened}", "--LabApp.extension_manager=readonly"]
    # Nothing but the operator's own pages: no news, no search for updates.
    command += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    command += [f"--LabApp.app_settings_dir={start.SETTINGS}", f"--LabApp.workspaces_dir={state_dir() / 'lab'}"]
    command += [] if browser else ["--no-browser"]
    # A container has no other user, and the server is bound to loopback with a token.
    command += ["--ServerApp.allow_root=True"] if os.geteuid() == 0 else []
    os.chdir(ROOT)
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter, fixed arguments


# --- deploy and look ---------------------------------------------------------------------------------------------


@app.command(rich_help_panel="Stage")
def deploy(stage: StageOption, region: RegionsOption = None, as_json: JsonOption = False) -> None:
    """Deploy the regional stack with `sls deploy`, in waves; a red region stops it and all go back.

    Example: ops deploy --stage prod
    Example: ops deploy --stage dev --region eu-west-1
    """
    from dataclasses import asdict

    from ops import deploy as operation
    from ops.aws import connect

    cloud = connect(_enter(stage))
    outcomes = operation.deploy(cloud, region, _say)
    if as_json:
        _print_json({"stage": stage, "regions": [asdict(outcome) for outcome in outcomes]})
    else:
        table = Table("region", "outcome", "seconds", "detail")
        for outcome in outcomes:
            table.add_row(outcome.region, outcome.outcome, f"{outcome.seconds:.1f}", _plain(outcome.detail))
        out.print(table)
    raise typer.Exit(EXIT_PASS if all(outcome.ok for outcome in outcomes) else EXIT_FAIL)


@app.command(rich_help_panel="Stage")
def status(stage: StageOption = "local", as_json: JsonOption = False) -> None:
    """One row a region: stack, API, table replica, archive, queues, DLQs. Exits 1 when a region is not healthy.

    Example: ops status --stage local --json
    """
    from ops.aws import connect
    from ops.stack import MISSING
    from ops.status import status as operation

    seen = operation(connect(_enter(stage)))
    if as_json:
        _print_json(seen.as_json())
    else:
        headings = ("healthy", "stack", "/status", "table", "archive", "journal", "queues", "DLQs")
        table = Table(Column("region", no_wrap=True), *headings, title=f"Stage {seen.stage}")
        for row in seen.regions:
            table.add_row(
                row.region,
                "✔ yes" if row.healthy else "✘ no",
                row.stack,
                "evacuated" if row.evacuated else str(row.api_status or "no answer"),
                row.table_status,
                row.archive or MISSING,
                row.journal_archive or "-",
                str(sum(queue.depth for queue in row.queues)),
                str(sum(dlq.depth for dlq in row.dlqs)),
            )
        out.print(table)
        for row in seen.regions:
            for problem in row.problems:
                out.print(f"✘ {row.region}: {_plain(problem)}", highlight=False)
        out.print(f"edge {seen.edge_url}", highlight=False)
    raise typer.Exit(EXIT_PASS if seen.healthy else EXIT_FAIL)


# --- traffic -----------------------------------------------------------------------------------------------------


@app.command(rich_help_panel="Stage")
def send(
    stage: StageOption = "local",
    count: Annotated[int, typer.Option(help="How many requests.")] = 100,
    duplicates: Annotated[float, typer.Option(help="Share of them that repeat an earlier event, 0 to 1.")] = 0.0,
    invalid: Annotated[float, typer.Option(help="Share of them that lack a required attribute, 0 to 1.")] = 0.0,
    city: Annotated[list[str] | None, typer.Option("--from", help="A caller's city; repeatable.")] = None,
    region: Annotated[str, typer.Option(help="Send to this region's API, past the edge.")] = "",
    client: ClientOption = "",
    again: Annotated[Path | None, typer.Option(help="Send the valid events of this --out file again.")] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Where a line for each event goes; default: .atoll/sent/.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Requests in flight at once.")] = 16,
    batch: Annotated[
        int, typer.Option("--batch", metavar="N", help="Events of a city that go out as one request, at most.")
    ] = 1,
    linger_ms: Annotated[
        float, typer.Option("--linger", metavar="MS", help="How long an event waits for others to go with.")
    ] = 20.0,
    seed: Annotated[int | None, typer.Option(help="Makes the mix of traffic repeatable.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Send real CloudEvents through the edge and record what became of each. Exits 1 when one got no final answer.

    Example: ops send --count 500 --duplicates 0.2 --from Mumbai --from London --out sent.jsonl
    Example: ops send --again sent.jsonl --region ap-south-1
    Example: ops send --count 10 --client atoll/local/atoll-local-second
    Example: ops send --count 500 --batch 10 --linger 50
    """
    from ops import send as operation
    from ops import stack, token
    from ops.aws import connect, explained
    from ops.batching import Aggregation

    aggregation = Aggregation(batch, linger_ms)
    cloud = connect(_enter(stage))
    if again is not None:
        requests = operation.again(again)
    else:
        cities = tuple(city) if city else operation.CITIES
        if cloud.stage.local_cloud is not None:
            from ops.local.cities import require_city

            cities = tuple(require_city(name) for name in cities)
        requests = operation.Traffic(count, duplicates, invalid, cities, seed).plan()
    base_url = cloud.edge_url
    if region:
        with explained(f"{region}: reading stack {cloud.stage.stack}"):
            api_id = stack.read(cloud, cloud.stage.require_region(region)).api_id
        if api_id is None:
            raise UsageError(f"region: {region} has no stack yet", hint=f"Deploy it: ops deploy --stage {stage}")
        base_url = cloud.api_url(api_id, region)
    record = out_file or state_dir() / "sent" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl"
    with _bar("sending", len(requests), quiet=as_json) as advance:
        results = operation.send(
            base_url,
            requests,
            token.for_stage(cloud, client=client),
            concurrency=concurrency,
            aggregation=aggregation if batch > 1 else None,
            out=record,
            progress=lambda _: advance(),
        )
    figures = operation.summary(results, aggregation if batch > 1 else None)
    if as_json:
        _print_json(figures)
    else:
        table = Table("figure", "value")
        for name, value in figures.items():
            table.add_row(name, json.dumps(value) if isinstance(value, dict) else str(value))
        out.print(table)
        out.print(f"a line for each event: {os.path.relpath(record)}", highlight=False, soft_wrap=True)
    raise typer.Exit(EXIT_FAIL if figures["failed"] else EXIT_PASS)


@app.command("token", rich_help_panel="Stage")
def print_token(
    stage: StageOption = "local",
    access: Annotated[
        list[AccessChoice] | None,
        typer.Option("--access", help="What it lets its bearer do; repeatable; default: both."),
    ] = None,
    client: ClientOption = "",
) -> None:
    """Print an access token for the API. It is as good as a password while it lives: keep it out of files and logs.

    Example: curl -H "Authorization: Bearer $(ops token)" "$URL/events?limit=10"
    Example: ops token --stage dev --access read
    """
    from ops import token as operation
    from ops.aws import connect

    wanted = [one.value for one in access or list(AccessChoice)]
    value = operation.for_stage(connect(_enter(stage)), wanted, client).get()
    sys.stdout.write(value + "\n")


# --- runbooks ----------------------------------------------------------------------------------------------------


@app.command("list", rich_help_panel="Runbooks")
def list_runbooks(as_json: JsonOption = False) -> None:
    """The runbooks: what each is for, and its parameters with types and defaults.

    Example: ops list
    """
    from dataclasses import asdict

    from ops.runbooks import catalogue

    books = catalogue()
    if as_json:
        _print_json([asdict(book) for book in books])
        return
    for book in books:
        out.print(f"[bold]{book.name}[/bold]  {_plain(book.summary)}", highlight=False)
        for parameter in book.parameters:
            shown = f"    {parameter.name}: {parameter.type_text} = {parameter.default_text}"
            out.print(f"{_plain(shown)}  [dim]{_plain(parameter.help)}[/dim]", highlight=False)
        out.print()


@app.command(rich_help_panel="Runbooks")
def run(
    runbook: Annotated[str, typer.Argument(help="A runbook's name: ops list. Not with --resume.")] = "",
    stage: StageOption = "local",
    parameter: Annotated[list[str] | None, typer.Option("-p", help="name=value; repeatable.")] = None,
    apply: Annotated[str, typer.Option(help="Token of the plan to apply; without it, nothing is changed.")] = "",
    timeout: Annotated[int, typer.Option(min=1, help="Seconds the whole run may take.")] = 1800,
    resume: Annotated[
        str, typer.Option(help="Go on with a run that failed or was stopped: its directory's name, or `latest`.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Execute a runbook with papermill and keep the record under reports/.

    Example: ops run divergence --stage local
    Example: ops run replay --stage local -p region=us-east-1 -p window_start=2h
    Example: ops run provision --stage prod --apply 0123456789abcdef
    Example: ops run metrics --stage prod -p source=monday.json.gz
    Example: ops run --stage prod --resume 20261120T060000Z-provision
    """
    from ops import report, runbooks
    from ops.lab import start

    earlier = _to_resume(resume, stage, runbook, parameter, apply) if resume else None
    book = runbooks.find(earlier.runbook if earlier else runbook)
    values = runbooks.validate(book, _named_values(parameter or []))
    outcome = runbooks.run(
        book,
        # Recorded data are looked at without a cloud.
        load_stage(stage) if values.get(runbooks.RECORDED) else _enter(stage),
        values,
        apply,
        progress=lambda event: _say(str(event)),
        timeout_s=timeout,
        # Who gives the run more time than usual gives it to its longest cell.
        cell_timeout_s=max(runbooks.CELL_TIMEOUT_S, timeout - runbooks.CELL_TIMEOUT_S),
        resumes=earlier,
    )
    report.write_index()
    start.refresh(stage)
    if as_json:
        _print_json({**outcome.result, "directory": str(outcome.directory)})
    else:
        _show_outcome(outcome, applied=bool((outcome.result["plan"] or {}).get("applied")) or bool(apply))
    raise typer.Exit(outcome.exit_status)


@app.command(rich_help_panel="Runbooks")
def policy(
    runbook: Annotated[str, typer.Argument(help="A runbook's name, or one of edge, send, status, token.")],
    stage: StageOption = "local",
    apply: Annotated[bool, typer.Option("--apply", help="With what applying a plan needs, besides a dry run.")] = False,
    part: Annotated[int, typer.Option(min=0, help="Only this one of several, where one would be too large.")] = 0,
    leaving: Annotated[
        list[str] | None, typer.Option(help="provision: a region whose replica it may remove; repeatable.")
    ] = None,
    bus: Annotated[
        list[str] | None, typer.Option(help="replay, redrive: a bus that is not the stage's; repeatable.")
    ] = None,
    archive: Annotated[list[str] | None, typer.Option(help="replay: an archive of such a bus; repeatable.")] = None,
    queue: Annotated[
        list[str] | None,
        typer.Option(help="redrive: a DLQ that is not the stage's, or the queue it serves; repeatable."),
    ] = None,
    keep: Annotated[str, typer.Option(help="replay, redrive: s3://bucket/prefix of the records, as given to -p.")] = "",
    table: Annotated[
        list[str] | None,
        typer.Option(help="divergence, divergence-repair: a table that is not the stage's, or its ARN; repeatable."),
    ] = None,
) -> None:
    """Print the IAM policy that a role needs to run a runbook on a stage, and nothing more than that.

    Without --apply it lets nothing be changed: for a scheduler, or for whoever only looks.

    Example: ops policy parity --stage prod
    Example: ops policy provision --stage prod --apply > provision.json
    Example: ops policy replay --stage prod --apply --bus orders --archive orders-2026 --keep s3://records/orders
    Example: ops policy divergence --stage prod --table orders --table arn:aws:dynamodb:eu-west-1:123456789012:table/x
    Example: aws iam create-policy --policy-name atoll-prod-replay --policy-document "$(ops policy replay --stage prod)"
    """
    from ops import policies
    from ops.aws import connect

    settings = load_stage(stage)
    # The name is checked before anybody is asked for the account.
    besides = policies.Besides(tuple(bus or ()), tuple(archive or ()), tuple(queue or ()), keep, tuple(table or ()))
    policies.grants(runbook, settings, "", apply, leaving or (), besides=besides)
    account = settings.account or connect(_enter(stage)).account
    document = policies.policy(runbook, settings, account, apply, leaving or (), besides=besides)
    several = policies.parts(document)
    if part > len(several):
        raise UsageError(f"--part: {part} is too high; accepted: 1 to {len(several)}, or 0 for all in one")
    if len(several) > 1 and not part:
        _say(
            f"{policies.size(document):,} characters are more than a managed policy holds "
            f"({policies.MANAGED_POLICY_CHARACTERS:,}): make {len(several)} of it, with --part 1 to "
            f"--part {len(several)}, and attach them all"
        )
    _print_json(several[part - 1] if part else document)


@app.command("report", rich_help_panel="Runbooks")
def report_(
    suite: Annotated[str, typer.Argument(help="A suite of notebooks/suites.yml.")],
    stage: StageOption = "local",
    at_once: Annotated[int, typer.Option(min=0, help="Runbooks side by side; 0: as the suite says.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Run a suite of runbooks side by side, and write its page: the verdict, and what changed since the run before.

    Nothing is changed: runbooks that could make their plan only. Status 1 when a verdict is fail, 3 when a run did not
    come to its end. Records, retention and who is told of a change of verdict: `reports` in the stage file.

    Example: ops report daily --stage local
    Example: ops report weekly --stage prod --json
    """
    from ops import aws, report
    from ops.lab import start

    settings = _enter(stage)
    chosen = report.find(suite)
    ran = report.run_suite(chosen, settings, aws.connect(settings), at_once=at_once, progress=_say)
    report.write_index()
    start.refresh(stage)
    if as_json:
        _print_json({**ran.record(), "directory": str(ran.directory)})
    else:
        for entry in ran.entries:
            mark = "✔" if entry.verdict == "pass" else "✘"
            out.print(
                _plain(f"{mark} {entry.runbook}: {entry.verdict}, {entry.seconds:.1f} s  {entry.why}"), highlight=False
            )
        for due in ran.missed:
            out.print(f"! missed: it was due {due}, and nobody ran it", highlight=False)
        out.print(f"{ran.title} on {stage}: {ran.verdict}  {ran.page}", highlight=False)
    raise typer.Exit(ran.exit_status)


def _named_values(given: list[str]) -> dict[str, str]:
    """What was given with -p, by name."""
    values: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"-p: {text!r} is not name=value", hint="Example: -p region=us-east-1")
        values[name] = value
    return values


def _to_resume(run: str, stage: str, runbook: str, parameter: list[str] | None, apply: str) -> Any:
    """The run to go on with; everything about it is its own."""
    from ops import resuming

    load_stage(stage)
    found = resuming.find(run, stage)
    if parameter or apply:
        raise UsageError(
            "--resume: goes on with the run's own parameters and token; accepted beside it: --stage, --timeout, --json",
            hint=f"ops run --stage {stage} --resume {run}",
        )
    if runbook not in ("", found.runbook):
        raise UsageError(f"--resume: {found.name} is a run of {found.runbook}, not of {runbook}")
    return found


class ScheduleForm(StrEnum):
    """Whose words a schedule is printed in."""

    systemd = "systemd"
    crontab = "crontab"
    github = "github"


@app.command(rich_help_panel="Runbooks")
def schedule(
    suite: Annotated[str, typer.Argument(help="A suite of notebooks/suites.yml.")],
    stage: StageOption = "local",
    form: Annotated[
        ScheduleForm | None, typer.Option("--as", help="What to print: a timer, a crontab's line, a workflow.")
    ] = None,
    cron: Annotated[
        str, typer.Option(help="Other times than the stage file's, in EventBridge Scheduler's words.")
    ] = "",
    time_zone: Annotated[str, typer.Option(help="Of these times, as the IANA database calls it.")] = "",
) -> None:
    """Print what has a suite reported on by itself: a systemd timer, a crontab's line, a workflow of GitHub Actions.

    Without --as it says when the suite is due. On AWS the stage's own stack does it: `schedule` in the stage file.

    Example: ops schedule daily --stage prod
    Example: (crontab -l; ops schedule daily --stage prod --as crontab) | crontab -
    Example: ops schedule weekly --stage prod --as systemd --cron 'cron(30 6 ? * MON *)' --time-zone Asia/Kolkata
    Example: ops schedule daily --stage prod --as github > .github/workflows/report.yml
    """
    from ops import schedule as schedules
    from ops.report.suites import find

    table = schedules.timetable(load_stage(stage), find(suite).name, cron, time_zone)
    if form is None:
        due = table.next(datetime.now(UTC))
        out.print(f"{suite} of stage {stage}: {table.cron.written} in {table.zone}; next at {due:%Y-%m-%d %H:%M} UTC")
    elif form is ScheduleForm.systemd:
        for name, content in schedules.systemd(table).items():
            sys.stdout.write(f"# {name}\n{content}\n")
    else:
        write = {ScheduleForm.crontab: schedules.crontab, ScheduleForm.github: schedules.github}[form]
        sys.stdout.write(write(table))


def _show_outcome(outcome: Any, applied: bool) -> None:
    """The checks, the plan, how to apply it, and the page of one run."""
    result = outcome.result
    for check in result["checks"]:
        out.print(f"{'✔' if check['ok'] else '✘'} {check['name']}: {_plain(check['detail'])}", highlight=False)
    plan = result["plan"]
    if plan and not applied:
        for step in plan["steps"]:
            where = f" ({step['region']})" if step["region"] else ""
            line = f"  {step['action']:7} {step['resource']}{where}  {step['detail']}"
            out.print(_plain(line), highlight=False)
        for warning in plan["warnings"]:
            out.print(f"! {_plain(warning)}", highlight=False)
        if result["verdict"] == "pass" and any(step["action"] not in ("keep", "refuse") for step in plan["steps"]):
            from ops.plan import apply_command

            out.print(f"to apply it: {apply_command(plan)}", highlight=False, soft_wrap=True)
    page = os.path.relpath(outcome.page)
    out.print(f"[bold]{result['verdict'].upper()}[/bold]  {page}", highlight=False, soft_wrap=True)


# --- the edge ----------------------------------------------------------------------------------------------------


@edge_app.command("explain")
def edge_explain(
    stage: StageOption = "local",
    caller: Annotated[
        str,
        typer.Option("--from", help="A city, or all of them; for a stage on AWS the IP address of a resolver."),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Which region answers a caller, and why: latency, health checks, weights, and what the resolver still has.

    Example: ops edge explain --from Mumbai
    Example: ops edge explain --from all --json
    Example: ops edge explain --stage prod --from 8.8.8.8
    """
    from ops import edgetable

    settings = load_stage(stage)
    if settings.local_cloud is None:
        from ops import edge
        from ops.aws import connect

        edge.require_address(caller)
        found = edge.explain(connect(_enter(stage)), caller)
        if as_json:
            _print_json(found)
        else:
            edgetable.show_answer(out, found)
        return
    from ops.local.edge import asking

    asking.require_caller(caller)
    running, _ = _running(stage)
    explanations = asking.explain(running.edge_url, caller)
    if as_json:
        _print_json(explanations if caller == asking.EVERY_CITY else explanations[0])
    elif len(explanations) == 1:
        edgetable.show_city(out, explanations[0])
    else:
        edgetable.show_cities(out, explanations)


# --- drills ------------------------------------------------------------------------------------------------------


@drill_app.command("list")
def drill_list(stage: StageOption = "local", region: RegionsOption = None, as_json: JsonOption = False) -> None:
    """What drills break now: where, since and until when. A region that gives no answer is named; then it exits 3.

    Example: ops drill list
    Example: ops drill list --stage prod --region us-east-1 --json
    """
    from ops.aws import connect
    from ops.failover import drilltable, experiments

    found = experiments.look(connect(_enter(stage)), region or [])
    if as_json:
        _print_json({"stage": stage, **found.as_json()})
    else:
        drilltable.show(out, found)
    if found.unanswered:
        raise OpsError(
            "\n".join(found.unanswered.values()),
            hint="A drill may run there; it ends by itself. Repeat: ops drill list",
        )


@drill_app.command("stop")
def drill_stop(
    stage: StageOption = "local",
    region: RegionsOption = None,
    wait_s: Annotated[
        float, typer.Option("--wait", min=1, max=600, help="Seconds to wait until each has ended.")
    ] = 120,
    as_json: JsonOption = False,
) -> None:
    """End every running drill and wait until it has ended. Safe to repeat; exits 3 and says where if one was not ended.

    Example: ops drill stop
    Example: ops drill stop --stage prod --region us-east-1
    """
    from ops.aws import connect
    from ops.failover import drilltable, experiments

    stopped = experiments.stop_all(connect(_enter(stage)), region or [], deadline_s=wait_s, progress=_say)
    if as_json:
        _print_json({"stage": stage, **stopped.as_json()})
    else:
        drilltable.show_stopped(out, stopped)
    if stopped.failed:
        raise OpsError(
            "\n".join(stopped.failed.values()),
            hint=f"What could not be stopped ends by itself. Repeat: {experiments.healing_command(load_stage(stage))}",
        )


# --- faults ------------------------------------------------------------------------------------------------------


def _faults(stage: str) -> tuple[Any, Any, Stage]:
    from ops.local import faults

    return faults, *_running(stage)


@fault_app.command("region-down")
def fault_region_down(
    region: str,
    part: Annotated[
        list[str] | None, typer.Option(help="api, calls or processing; repeatable; default: all three.")
    ] = None,
    how: Annotated[str, typer.Option(help="What AWS calls to it end with: reset, timeout or throttle.")] = "reset",
    stage: StageOption = "local",
) -> None:
    """Take a region away, or parts of it: its APIs fail, calls to it end as --how says, its processing stops.

    Example: ops fault region-down us-east-1 --part calls --how timeout
    """
    faults, running, settings = _faults(stage)
    fault = faults.region_down(running, settings, region, parts=part or faults.PARTS, how=how)
    out.print(str(fault), highlight=False)


@fault_app.command("replication-cut")
def fault_replication_cut(
    a: str,
    b: str,
    lose: Annotated[bool, typer.Option("--lose", help="Drop for ever what is written while it is cut.")] = False,
    stage: StageOption = "local",
) -> None:
    """Stop replication between two regions, both ways.

    Example: ops fault replication-cut us-east-1 ap-south-1 --lose
    """
    faults, running, settings = _faults(stage)
    out.print(str(faults.replication_cut(running, settings, a, b, lose=lose)), highlight=False)


API_FAULTS = {
    "throttle": "Let calls to a service fail as throttled ones do.",
    "latency": "Let calls to a service take a second longer.",
    "reset": "Cut the connection of calls to a service.",
    "timeout": "Let calls to a service hang until the caller gives up.",
}


def _api_fault(kind: str) -> None:
    @fault_app.command(
        kind, help=f"{API_FAULTS[kind]}\n\nExample: ops fault {kind} dynamodb --region us-east-1 --rate 0.3"
    )
    def command(
        service: str,
        region: Annotated[str | None, typer.Option(help="Only calls to this region.")] = None,
        rate: Annotated[float, typer.Option(help="Share of the calls: above 0, up to 1.")] = 1.0,
        stage: StageOption = "local",
    ) -> None:
        faults, running, settings = _faults(stage)
        out.print(str(faults.api_fault(running, settings, kind, service, region=region, rate=rate)), highlight=False)


for _kind in API_FAULTS:
    _api_fault(_kind)


@fault_app.command("list")
def fault_list(stage: StageOption = "local", as_json: JsonOption = False) -> None:
    """What is broken now, in words; what an experiment broke with the time of its end.

    Example: ops fault list
    """
    from dataclasses import asdict

    faults, running, settings = _faults(stage)
    current = faults.list_faults(running, settings)
    if as_json:
        _print_json([asdict(fault) for fault in current])
    elif not current:
        out.print("Nothing is broken.")
    for fault in [] if as_json else current:
        out.print(str(fault), highlight=False)


@fault_app.command("heal")
def fault_heal(
    fault: Annotated[
        str, typer.Argument(help="Id of a fault or of an experiment (ops fault list); all of them without it.")
    ] = "",
    stage: StageOption = "local",
) -> None:
    """Mend one fault, or all.

    Example: ops fault heal
    """
    faults, running, settings = _faults(stage)
    healed = faults.heal(running, settings, fault or None)
    out.print(
        f"Healed: {', '.join(str(each) for each in healed)}" if healed else "Nothing was broken.", highlight=False
    )


if __name__ == "__main__":
    main()
