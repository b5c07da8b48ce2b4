"""The errors of the toolkit, and the exit status each ends a command with.

::

    OpsError                  status 3: something failed while it ran
    ├── UsageError            status 2: wrong input; nothing was changed
    ├── RefusedError          status 2: understood, and declined; nothing was changed
    └── InterruptedRunError   status 3: stopped by the operator, the system left safe

A message says what happened and where; ``hint`` says what to do next.
"""

from __future__ import annotations

EXIT_PASS = 0
EXIT_FAIL = 1
EXIT_REFUSED = 2
EXIT_ERROR = 3


class OpsError(Exception):
    """Something failed. ``hint`` is the next thing to try, in one sentence or one command."""

    exit_status = EXIT_ERROR

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(OpsError):
    """The input is wrong: names the field, its problem and what is accepted."""

    exit_status = EXIT_REFUSED


class RefusedError(OpsError):
    """The request is well formed and is declined, with the reason."""

    exit_status = EXIT_REFUSED


class InterruptedRunError(OpsError):
    """The operator stopped it; the message says what state it left."""
