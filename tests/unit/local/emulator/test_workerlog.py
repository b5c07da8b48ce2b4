"""A worker's log is taken whole, at once, whoever reads it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import IO, Any

import pytest

from ops.local.emulator.workerlog import StderrTap


@pytest.fixture
def pipe() -> Iterator[tuple[IO[Any], IO[Any]]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb", buffering=0) as sink:
        yield source, sink


def test_take_gives_what_was_written_since_the_last_time(pipe: tuple[IO[Any], IO[Any]]) -> None:
    source, sink = pipe
    tap = StderrTap(source)
    sink.write(b"one\ntwo\n")
    assert tap.take() == "one\ntwo"
    sink.write(b"without an end of line")
    assert tap.take() == "without an end of line"


def test_take_of_nothing_does_not_wait(pipe: tuple[IO[Any], IO[Any]]) -> None:
    tap = StderrTap(pipe[0])
    started = time.monotonic()
    assert not tap.take()
    assert time.monotonic() - started < 0.04  # the emulator's own took 50 ms


def test_handler_that_writes_more_than_the_pipe_holds_is_not_stopped_and_loses_nothing(
    pipe: tuple[IO[Any], IO[Any]],
) -> None:
    source, sink = pipe
    tap = StderrTap(source)
    reader = threading.Thread(target=tap.keep_reading)
    reader.start()
    text = b"".join(b"line %d\n" % number for number in range(40_000))
    left = memoryview(text)
    while left:  # blocks while the pipe is full, until the reader empties it
        left = left[sink.write(left) :]
    assert tap.take() == text.decode().rstrip("\n")
    sink.close()
    reader.join(timeout=5)
    assert not reader.is_alive()


def test_take_after_the_process_ended_gives_its_last_words(pipe: tuple[IO[Any], IO[Any]]) -> None:
    source, sink = pipe
    tap = StderrTap(source)
    sink.write(b"last words")
    sink.close()
    source.close()  # a closed stream must not matter: the tap has a descriptor of its own
    assert tap.take() == "last words"
    assert not tap.take()
