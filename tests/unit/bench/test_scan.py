"""A scan names exactly what is planted, whatever happens to it on the way."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ops.divergence import Survey
from ops.divergence.scanning import Pace, scan
from ops.errors import OpsError
from ops.stage import ROOT
from tests.bench.divergence import SCHEMA, UNITS_PER_S, EndpointCloud, compare, expected, replicas, suspected
from tests.bench.scan import Shape, Stub, server
from tests.unit.bench.conftest import SHAPE

pytestmark = pytest.mark.enable_socket
SEGMENTS = 12
PAGES = 2 * SHAPE.items // SHAPE.per_page
PACE = Pace(segments=SEGMENTS, read_units_per_s=UNITS_PER_S, workers=4, max_throttles=0)
# A scan that keeps what it read after each page, as a long one does every few seconds.
SCAN = """
import sys
from pathlib import Path
from ops.divergence import lockstep, scanning
from tests.bench.divergence import SCHEMA, EndpointCloud, replicas
from tests.bench.scan import Shape
from tests.unit.bench.test_scan import PACE
scanning.CHECKPOINT_S = lockstep.TICK_S = 0.01
lockstep.KEEP_S = 0
endpoint, checkpoint, shape = sys.argv[1:]
scanning.scan(EndpointCloud(endpoint), replicas(Shape.from_json(shape)), SCHEMA, pace=PACE, checkpoint=Path(checkpoint))
"""


def answer(survey: Survey) -> Any:
    """What must not depend on how a scan went."""
    return (
        sorted((one.key, one.digests) for one in survey.suspects),
        [(side.label, side.items, side.checksum) for side in survey.sides],
    )


def pages_read(stub: Stub) -> int:
    """Those looked through again for long keys not counted."""
    found = stub.counts()
    return int(found["Scan"] - found.get("projected", 0))


@pytest.fixture(scope="module")
def undisturbed(running: Stub) -> Survey:
    running.control()
    return compare(running, pace=PACE)


def test_scan_suspects_exactly_what_was_planted(undisturbed: Survey, stub: Stub) -> None:
    missing = {region: stub.shape.items - len(expected(stub.shape)) for region in stub.shape.regions}

    assert suspected(undisturbed) == expected(stub.shape)
    assert all(side.items > missing[side.label] for side in undisturbed.sides)


@pytest.mark.parametrize(
    "fault", ["throttle_every", "fail_every", "reset_every", "truncate_every", "crc_every"], ids=lambda name: name
)
def test_scan_through_a_fault_gives_the_same_answer(stub: Stub, undisturbed: Survey, fault: str) -> None:
    stub.control(**{fault: 7})
    found = scan(EndpointCloud(stub.endpoint), replicas(stub.shape), SCHEMA, pace=PACE, sleep=lambda seconds: None)

    assert answer(found) == answer(undisturbed)
    assert stub.counts()[fault.removesuffix("_every")] >= 10


def test_scan_over_tls_gives_the_same_answer(stub: Stub, undisturbed: Survey) -> None:
    assert answer(compare(stub, tls=True, pace=PACE)) == answer(undisturbed)


def test_scan_over_tls_without_its_authority_says_what_to_name(stub: Stub) -> None:
    cloud = EndpointCloud(stub.tls_endpoint, stub.authority)

    with pytest.raises(OpsError, match="shows a certificate that is not trusted") as refused:
        scan(cloud, replicas(stub.shape), SCHEMA, pace=PACE)
    assert "AWS_CA_BUNDLE" in refused.value.hint


def test_scan_of_replicas_that_cut_their_segments_otherwise_suspects_the_same() -> None:
    with server(Shape(2_000, copies=2, per_page=40, shift_pages=2)) as stub:
        assert suspected(compare(stub, pace=PACE)) == expected(stub.shape)


@pytest.mark.parametrize("seed", range(3))
def test_scan_whose_credentials_expired_goes_on_where_it_stopped(
    stub: Stub, undisturbed: Survey, tmp_path: Path, seed: int
) -> None:
    stopped_at = random.Random(seed).randrange(2, 190)
    stub.control(expired_from=stopped_at)
    checkpoint = tmp_path / "checkpoint"

    with pytest.raises(OpsError, match=r"(us-east-1|ap-south-1): the credentials expired while bench was read") as said:
        scan(EndpointCloud(stub.endpoint), replicas(stub.shape), SCHEMA, pace=PACE, checkpoint=checkpoint)
    assert "Sign in again" in said.value.hint
    assert str(checkpoint) in said.value.hint
    stub.control()
    found = scan(EndpointCloud(stub.endpoint), replicas(stub.shape), SCHEMA, pace=PACE, checkpoint=checkpoint)

    assert answer(found) == answer(undisturbed)
    # Only what was under way is asked for again.
    assert pages_read(stub) <= PAGES - stopped_at + 4 * PACE.workers


@pytest.mark.parametrize("seed", range(3))
def test_scan_killed_and_resumed_gives_the_same_answer(
    stub: Stub, undisturbed: Survey, tmp_path: Path, seed: int
) -> None:
    killed_at = random.Random(seed).randrange(20, 190)
    stub.control(hold_from=killed_at)
    checkpoint = tmp_path / "checkpoint"
    command = [sys.executable, "-c", SCAN, stub.endpoint, str(checkpoint), stub.shape.to_json()]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ) as process:
        try:
            # Held for good: every worker waits for a page, so there is all the time to write a checkpoint. The first
            # may have been under way.
            _wait_until(lambda: stub.counts().get("Scan", 0) >= killed_at + PACE.workers - 1)
            for _ in range(2):
                written = checkpoint.stat().st_mtime_ns
                _wait_until(lambda before=written: checkpoint.stat().st_mtime_ns > before)
        finally:
            process.kill()
    stub.control()
    found = scan(EndpointCloud(stub.endpoint), replicas(stub.shape), SCHEMA, pace=PACE, checkpoint=checkpoint)

    assert answer(found) == answer(undisturbed)
    assert pages_read(stub) <= PAGES - killed_at + 4 * PACE.workers


def _wait_until(holds: Any, timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
