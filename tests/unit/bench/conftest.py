from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bench.scan import Shape, Stub, server

# Pages small enough that a few thousand items are many of them.
SHAPE = Shape(4_000, copies=2, seed=7, per_page=40)


@pytest.fixture(scope="module")
def running() -> Iterator[Stub]:
    with server(SHAPE) as made:
        yield made


@pytest.fixture
def stub(running: Stub) -> Iterator[Stub]:
    """Two replicas with planted differences, without faults until a test sets some."""
    running.control()
    yield running
    running.control()
