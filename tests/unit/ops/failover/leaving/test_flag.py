"""The flag is written where it can be, once, and taken away only by who read it."""

from __future__ import annotations

import pytest

from ops.aws import Cloud
from ops.errors import OpsError, UsageError
from ops.failover import flag
from tests.unit.ops.conftest import Calls
from tests.unit.ops.failover.leaving.conftest import AP, EU, US, Silence


def leave(cloud: Cloud, region: str = US, run: str = "run-1") -> flag.Written:
    return flag.set_flag(cloud, region, reason="gray failure", by="arn:ada", run=run)


def test_ways_begin_with_the_next_of_the_ring_and_end_with_the_region_itself(account: Cloud) -> None:
    assert flag.ways(account.stage, US) == [AP, EU, US]
    assert flag.ways(account.stage, EU) == [US, AP, EU]
    with pytest.raises(UsageError):
        flag.ways(account.stage, "sa-east-1")


def test_set_writes_through_the_next_region_and_only_there(replicas: Cloud, silence: Silence) -> None:
    written = leave(replicas)
    assert (written.done, written.via, written.tried) == ("set", AP, {})
    read = flag.read(replicas, US)
    assert {replica for replica, found in read.flags.items() if found} == {AP}
    assert read.flag == written.flag
    assert (read.flag.reason, read.flag.written_region, read.flag.version) == ("gray failure", AP, 1)  # type: ignore[union-attr]


@pytest.mark.parametrize(("silent", "via"), [({AP}, EU), ({AP, EU}, US)])
def test_set_takes_the_next_way_when_one_is_silent_and_says_so(
    replicas: Cloud, silence: Silence, silent: set[str], via: str
) -> None:
    silence.regions = silent
    written = leave(replicas)
    assert (written.via, set(written.tried)) == (via, silent)
    assert "gave no answer (EndpointConnectionError)" in str(written)


def test_set_when_no_replica_answers_names_each_and_the_second_way(replicas: Cloud, silence: Silence) -> None:
    silence.regions = {US, AP, EU}
    with pytest.raises(OpsError, match=r"ap-south-1.*eu-west-1.*us-east-1") as failure:
        leave(replicas)
    assert "Route 53" in failure.value.hint


def test_set_twice_keeps_the_first(replicas: Cloud, silence: Silence) -> None:
    first = leave(replicas)
    again = leave(replicas, run="run-2")
    assert (again.done, again.flag) == ("already so", first.flag)


def test_set_between_read_and_write_overwrites_nothing(replicas: Cloud, silence: Silence, calls: Calls) -> None:
    other = flag.Flag(US, "theirs", "2026-11-22T10:00:00.000Z", "bob", "run-0")

    def meanwhile() -> None:
        calls.hooks.clear()
        replicas.client("dynamodb", AP).put_item(TableName="atoll-unit", Item=other.item())

    calls.on("after", "GetItem", meanwhile)
    written = leave(replicas)
    assert (written.done, written.flag) == ("already so", other)


def test_clear_takes_away_what_was_read_and_nothing_else(replicas: Cloud, silence: Silence) -> None:
    first = leave(replicas).flag
    assert first is not None
    assert flag.clear_flag(replicas, first).done == "cleared"
    assert flag.read(replicas, US).flag is None
    assert flag.clear_flag(replicas, first).done == "cleared"  # nothing there: nothing to do
    leave(replicas, run="run-2")
    with pytest.raises(OpsError, match="another flag stands"):
        flag.clear_flag(replicas, first)
    assert flag.read(replicas, US).flag is not None


def test_read_names_the_silent_and_goes_on(replicas: Cloud, silence: Silence) -> None:
    leave(replicas)
    silence.regions = {US}
    found = flag.read_all(replicas)
    assert found[US].flag is not None
    assert found[AP].flag is None
    assert found[US].silent == {US: "EndpointConnectionError"}


def test_flags_are_written_and_cleared_by_the_data_plane_alone(replicas: Cloud, silence: Silence, calls: Calls) -> None:
    calls.clear()
    written = leave(replicas).flag
    assert written is not None
    flag.clear_flag(replicas, written)
    assert {call.split(":")[1].split("@")[0] for call in calls.made} == {"GetItem", "PutItem", "DeleteItem"}
    assert not [call for call in calls.made if call.endswith(f"@{US}")]
