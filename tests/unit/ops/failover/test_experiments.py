from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from typer.testing import CliRunner

from ops import cli
from ops.aws import Cloud
from ops.errors import EXIT_ERROR, OpsError, UsageError
from ops.failover import experiments
from ops.failover.experiments import Experiment
from tests.unit.ops.conftest import Calls, Stacks, slow_experiments

US, AP = "us-east-1", "ap-south-1"
RUN = "20261122T220000Z-failover"
Hook = Callable[..., Any]


def now(_: float) -> None:
    """Instead of sleeping."""


@pytest.fixture
def cloud(deployed: Cloud, stacks: Stacks) -> Iterator[Cloud]:
    for region in deployed.stage.regions:
        stacks.outputs[region] = {"DrillRoleArn": f"arn:aws:iam::123456789012:role/atoll-unit-drill-{region}"}
    with slow_experiments():
        yield deployed


@pytest.fixture
def answering(cloud: Cloud) -> Iterator[Callable[[str, str, Hook], None]]:
    """``answering(US, "StopExperiment", f)``: f(...) answers that call in that region, or lets it pass with None."""
    registered: list[tuple[str, str]] = []

    def register(region: str, operation: str, hook: Hook) -> None:
        events = cloud.client("fis", region).meta.events
        events.register(f"before-call.fis.{operation}", lambda **call: hook(), unique_id=f"test-{operation}")
        registered.append((region, operation))

    yield register
    for region, operation in registered:
        events = cloud.client("fis", region).meta.events
        events.unregister(f"before-call.fis.{operation}", unique_id=f"test-{operation}")


def start(
    cloud: Cloud, region: str = US, parts: tuple[str, ...] = ("api", "replication"), run: str = RUN
) -> Experiment:
    return experiments.start(cloud, region, parts, 600, run, sleep=now)


def refused(code: str, message: str = "no") -> Any:
    return SimpleNamespace(status_code=400), {"Error": {"Code": code, "Message": message}}


def unreachable() -> None:
    raise EndpointConnectionError(endpoint_url="https://fis.us-east-1.amazonaws.com")


# --- start -------------------------------------------------------------------------------------------------------


def test_start_runs_the_template_with_the_tags_of_stage_run_and_parts(cloud: Cloud) -> None:
    begun = start(cloud, parts=("replication", "api"))

    assert (begun.region, begun.parts, begun.state, begun.run) == (US, ("api", "replication"), "running", RUN)
    assert begun.started is not None
    assert begun.until == begun.started + timedelta(seconds=600)
    told = cloud.client("fis", US).get_experiment(id=begun.id)["experiment"]
    assert told["tags"] == {"atoll:stage": "unit", "atoll:run": RUN, "atoll:parts": "api+replication"}
    assert set(told["actions"]) == {"api", "replication"}
    template = cloud.client("fis", US).get_experiment_template(id=begun.template)["experimentTemplate"]
    assert template["tags"] == told["tags"]


def test_start_again_with_the_same_run_and_parts_finds_the_same_experiment(cloud: Cloud) -> None:
    first = start(cloud)

    assert start(cloud).id == first.id
    assert start(cloud, parts=("api",)).id != first.id
    assert start(cloud, run="another").id != first.id


def test_start_when_fis_does_not_start_it_leaves_no_template(
    cloud: Cloud, answering: Callable[[str, str, Hook], None]
) -> None:
    answering(US, "StartExperiment", lambda: refused("ServiceQuotaExceededException", "5 experiments run already"))

    with pytest.raises(OpsError, match=r"us-east-1: starting an experiment .*ServiceQuotaExceeded.*5 experiments"):
        start(cloud)

    assert cloud.client("fis", US).list_experiment_templates()["experimentTemplates"] == []


def test_start_when_an_alarm_stops_it_at_once_says_so_and_leaves_no_template(
    cloud: Cloud, answering: Callable[[str, str, Hook], None]
) -> None:
    stopped = {"id": "EXP1", "experimentTemplateId": "EXT1", "state": {"status": "stopped", "reason": "alarm is on"}}
    answering(US, "GetExperiment", lambda: (SimpleNamespace(status_code=200), {"experiment": stopped}))

    with pytest.raises(OpsError, match=r"us-east-1: experiment EXP1 stopped: alarm is on") as caught:
        start(cloud)

    assert "docs/failover-experiments.md" in caught.value.hint


def test_start_when_it_does_not_begin_in_time_says_how_to_end_it(cloud: Cloud) -> None:
    with pytest.raises(OpsError, match=r"is still pending; it may begin yet") as caught:
        experiments.start(cloud, US, ["api"], 600, RUN, deadline_s=0, sleep=now)

    assert caught.value.hint == "End it: ops drill stop --stage unit"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("eu-west-1", ("api",), RUN), "region: 'eu-west-1' is not in stage 'unit'"),
        ((US, ("calls",), RUN), "parts: 'calls' cannot be taken away here"),
        ((US, ("api",), "two words"), "run: 'two words' cannot name an experiment"),
        ((US, ("api",), ""), "run: '' cannot name"),
    ],
)
def test_start_of_what_no_drill_can_have_creates_nothing(
    cloud: Cloud, calls: Calls, asked: tuple[str, tuple[str, ...], str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        start(cloud, *asked)

    assert calls.mutating == []


# --- find --------------------------------------------------------------------------------------------------------


def test_find_lists_the_stages_own_of_every_region_newest_first(cloud: Cloud) -> None:
    first, second = start(cloud, AP, ("api",)), start(cloud, US, ("processing",))
    foreign = start(cloud, US, ("api",))
    told = cloud.client("fis", US).get_experiment(id=foreign.id)["experiment"]
    cloud.client("fis", US).tag_resource(resourceArn=told["arn"], tags={"atoll:stage": "other"})

    assert [one.id for one in experiments.find(cloud)] == [second.id, first.id]
    assert [one.id for one in experiments.find(cloud, [AP])] == [first.id]


def test_find_reads_every_page_and_tells_of_few_that_have_ended(
    cloud: Cloud, calls: Calls, answering: Callable[[str, str, Hook], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = iter(range(3))

    def page() -> Any:
        number = next(pages)
        listed: list[dict[str, Any]] = [
            {
                "id": f"EXP{number}-{index}",
                "state": {"status": "completed"},
                "tags": {"atoll:stage": "unit", "atoll:parts": "api"},
                "creationTime": datetime(2026, 11, 20 + number, index // 60, index % 60, tzinfo=UTC),
            }
            for index in range(100)
        ]
        if number == 1:
            listed[7]["state"] = {"status": "running"}
        more = {"nextToken": "more"} if number < 2 else {}
        return SimpleNamespace(status_code=200), {"experiments": listed} | more

    def refresh(_: Cloud, one: Experiment) -> Experiment:
        asked.append(one.id)
        return one

    asked: list[str] = []
    answering(US, "ListExperiments", page)
    monkeypatch.setattr(experiments, "refresh", refresh)
    found = experiments.find(cloud, [US])

    assert [one.id for one in found if one.running] == ["EXP1-7"]
    assert len(found) == len(asked) == experiments.ENDED_SHOWN + 1
    assert found[0].id == "EXP2-99"
    assert len([call for call in calls.made if "ListExperiments" in call]) == 3


def test_find_when_a_region_gives_no_answer_names_it(cloud: Cloud, answering: Callable[[str, str, Hook], None]) -> None:
    running = start(cloud, AP)
    answering(US, "ListExperiments", unreachable)

    with pytest.raises(OpsError, match=r"us-east-1: listing experiments: no answer"):
        experiments.find(cloud)
    found = experiments.look(cloud)
    assert [one.id for one in found.running] == [running.id]
    assert set(found.unanswered) == {US}


# --- stop --------------------------------------------------------------------------------------------------------


def test_stop_waits_until_it_has_ended_and_deletes_its_template(cloud: Cloud) -> None:
    ended = experiments.stop(cloud, start(cloud), sleep=now)

    assert (ended.state, ended.running) == ("stopped", False)
    assert ended.ended is not None
    assert cloud.client("fis", US).list_experiment_templates()["experimentTemplates"] == []


def test_stop_of_one_that_has_ended_is_fine(cloud: Cloud, answering: Callable[[str, str, Hook], None]) -> None:
    ended = experiments.stop(cloud, start(cloud), sleep=now)
    answering(US, "StopExperiment", lambda: refused("ValidationException", "it has ended"))

    assert experiments.stop(cloud, ended, sleep=now).state == "stopped"


def test_stop_when_fis_refuses_and_it_runs_on_says_so(
    cloud: Cloud, answering: Callable[[str, str, Hook], None]
) -> None:
    running = start(cloud)
    answering(US, "StopExperiment", lambda: refused("ValidationException", "not now"))

    with pytest.raises(OpsError, match=r"stopping experiment .*: ValidationException: not now"):
        experiments.stop(cloud, running, sleep=now)


def test_stop_when_it_does_not_end_in_time_says_when_it_will(cloud: Cloud) -> None:
    running = start(cloud)

    with pytest.raises(OpsError, match=r"is stopping after 0 s; it ends by itself at 20\d\d-.*Z") as caught:
        experiments.stop(cloud, running, deadline_s=0, sleep=now)

    assert caught.value.hint == "Repeat: ops drill stop --stage unit"


def test_stop_all_ends_each_region_though_one_gives_no_answer(
    cloud: Cloud, answering: Callable[[str, str, Hook], None]
) -> None:
    running = start(cloud, AP)
    answering(US, "ListExperiments", unreachable)
    said: list[str] = []

    stopped = experiments.stop_all(cloud, progress=said.append, sleep=now)

    assert [one.id for one in stopped.ended] == [running.id]
    assert set(stopped.failed) == {US}
    assert any(line.startswith("us-east-1: FIS gives no answer") for line in said)


# --- ops drill ---------------------------------------------------------------------------------------------------


@pytest.fixture
def command(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(cli, "_enter", lambda name: cloud.stage)
    monkeypatch.setattr("ops.cli.load_stage", lambda name: cloud.stage)
    monkeypatch.setattr("ops.aws.connect", lambda stage: cloud)
    monkeypatch.setattr(experiments, "POLL_S", 0)
    return lambda *arguments: CliRunner().invoke(cli.app, ["drill", *arguments, "--stage", "unit"])


def test_drill_list_when_nothing_runs_says_so(command: Callable[..., Any]) -> None:
    for arguments in (["list"], ["stop"]):
        done = command(*arguments)
        assert (done.exit_code, done.exception) == (0, None), done.output
    assert json.loads(command("list", "--json").stdout) == {"stage": "unit", "running": [], "unanswered": {}}


def test_drill_list_shows_what_runs_since_until_and_what_it_breaks(cloud: Cloud, command: Callable[..., Any]) -> None:
    begun = start(cloud)

    (shown,) = json.loads(command("list", "--json").stdout)["running"]

    assert (shown["region"], shown["breaks"], shown["id"]) == (US, ["api", "replication"], begun.id)
    assert shown["since"] < shown["until"]
    assert shown["until"].endswith("Z")


def test_drill_stop_heals_and_may_be_repeated(cloud: Cloud, command: Callable[..., Any]) -> None:
    begun = start(cloud)

    done, again = command("stop", "--json"), command("stop", "--json")

    assert (done.exit_code, again.exit_code) == (0, 0)
    (ended,) = json.loads(done.stdout)["ended"]
    assert (ended["id"], ended["state"]) == (begun.id, "stopped")
    assert json.loads(again.stdout) == {"stage": "unit", "ended": [], "failed": {}}


def test_drill_stop_when_a_region_gives_no_answer_stops_the_others_and_exits_3(
    cloud: Cloud, command: Callable[..., Any], answering: Callable[[str, str, Hook], None]
) -> None:
    begun = start(cloud, AP)
    answering(US, "ListExperiments", unreachable)

    done = command("stop", "--json")

    assert [one["id"] for one in json.loads(done.stdout)["ended"]] == [begun.id]
    assert isinstance(done.exception, OpsError)
    assert done.exception.exit_status == EXIT_ERROR
    assert "us-east-1" in str(done.exception)
    assert "ops drill stop --stage unit" in done.exception.hint


def test_drill_commands_have_examples_in_their_help() -> None:
    for name in ("list", "stop"):
        assert f"Example: ops drill {name}" in CliRunner().invoke(cli.app, ["drill", name, "--help"]).output
