"""One holder at a time."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops import bucket, lease
from ops.aws import Cloud
from ops.bucket import Place
from ops.errors import OpsError

NAME = "report-daily"
KEY = f"{lease.LEASES}/{NAME}.json"


@pytest.fixture
def kept(account: Cloud) -> Place:
    """The home region's operations bucket."""
    place = bucket.place(account, account.stage.home_region)
    account.client("s3", place.region).create_bucket(Bucket=place.bucket)
    return place


def test_hold_when_nobody_does_is_held_until_the_block_ends(account: Cloud, kept: Place) -> None:
    with lease.hold(account, NAME) as held:
        held.check()
        found = lease.holder(account, NAME)
        assert found is not None
        assert "process" in found.process

    assert lease.holder(account, NAME) is None
    assert bucket.get(account, kept, KEY) is None


def test_hold_when_somebody_does_is_refused_and_says_who(account: Cloud, kept: Place) -> None:
    says = rf"^{NAME}: already under way: .* since 20"
    with lease.hold(account, NAME), pytest.raises(lease.HeldError, match=says), lease.hold(account, NAME):
        pytest.fail("two hold it")


def test_hold_when_its_holder_was_killed_follows_once_it_has_run_out(account: Cloud, kept: Place) -> None:
    left = {"by": "somebody", "process": "a@b, process 1", "since": "2026-11-20T06:00:00Z", "lasts_s": 120}
    bucket.put(account, kept, KEY, json.dumps(left).encode())

    with pytest.raises(lease.HeldError, match="somebody") as refused, lease.hold(account, NAME):
        pytest.fail("it has not run out")
    assert "free again at" in refused.value.hint

    bucket.put(account, kept, KEY, json.dumps(left | {"lasts_s": 0}).encode())
    with lease.hold(account, NAME) as held:
        held.check()


def test_hold_when_many_ask_at_once_lets_one_in(account: Cloud, kept: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # S3 decides on one write at a time; moto looks at the condition first and writes then.
    writing, write = threading.Lock(), lease._Kept.write

    def one_at_a_time(*args: Any, **condition: str) -> str:
        with writing:
            return write(*args, **condition)

    monkeypatch.setattr(lease._Kept, "write", one_at_a_time)
    inside, most, refused = 0, 0, 0
    lock, start, asked = threading.Lock(), threading.Barrier(8), threading.Barrier(8)

    def work() -> None:
        nonlocal inside, most, refused
        start.wait()
        try:
            with lease.hold(account, NAME):
                with lock:
                    inside += 1
                    most = max(most, inside)
                asked.wait(timeout=30)  # held until all have asked
                with lock:
                    inside -= 1
        except lease.HeldError:
            with lock:
                refused += 1
            asked.wait(timeout=30)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, refused) == (1, 7)


def test_held_when_somebody_else_took_it_says_so_and_leaves_theirs(account: Cloud, kept: Place) -> None:
    with lease.hold(account, NAME, lasts_s=0.2) as held:
        bucket.put(account, kept, KEY, b"theirs")
        held._renewing.join(timeout=10)
        with pytest.raises(OpsError, match="somebody else took it"):
            held.check()
    assert bucket.get(account, kept, KEY) == b"theirs"


def test_holder_when_the_lease_is_not_readable_takes_it_for_held(account: Cloud, kept: Place) -> None:
    bucket.put(account, kept, KEY, b"{")
    found = lease.holder(account, NAME)
    assert found is not None
    assert found.by == "unknown"
    assert found.lasts_until is not None
    assert found.lasts_until > datetime.now(UTC) - timedelta(seconds=1)


def test_hold_when_the_bucket_is_missing_says_who_makes_it(account: Cloud) -> None:
    with pytest.raises(OpsError, match="no such bucket") as missing, lease.hold(account, NAME):
        pytest.fail("nothing keeps it")
    assert "ops run provision" in missing.value.hint
