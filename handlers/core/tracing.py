"""Trace ids: which one an invocation bears, and the header that takes it on to whatever the invocation causes.

A trace id is written as X-Ray does, ``1-<8 hex>-<24 hex>``; the 32 digits of a W3C ``traceparent`` are the same number
without the dashes. Every invocation has one: Lambda's own, else the caller's, else a new one.
https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

LAMBDA_VARIABLE = "_X_AMZN_TRACE_ID"  # Lambda sets it anew for each invocation
MAX_HEADER_CHARS = 500  # of PutEvents' TraceHeader: botocore's model of EventBridge
ID = re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}")
_PARENT = re.compile(r"[0-9a-f]{16}")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace. ``members`` are those of its header beside ``Root``: Parent, Sampled, Lineage, ..."""

    id: str
    members: Mapping[str, str] = field(default_factory=dict)

    def header(self, rate: float) -> str:
        """What goes on as ``X-Amzn-Trace-Id``: sampled when Lambda records the trace already, or by ``rate``.

        ``rate`` is the share of traces, chosen by their id, so that every region and every retry decides alike.
        """
        sampled = self.members.get("Sampled") == "1" or int(self.id[-8:], 16) < rate * 2**32
        members = {"Parent": secrets.token_hex(8)} | dict(self.members) | {"Sampled": str(int(sampled))}
        text = ";".join([f"Root={self.id}", *(f"{name}={value}" for name, value in members.items())])
        return text if len(text) <= MAX_HEADER_CHARS else f"Root={self.id};Sampled={members['Sampled']}"


def of_invocation(variable: str | None, headers: Mapping[str, str]) -> Trace:
    """The trace of an invocation.

    ``variable`` is Lambda's own, ``headers`` the request's, with names in lower case. The caller's ``Sampled`` counts
    for nothing: what is recorded is paid for here.
    """
    return of_header(variable) or of_caller(headers) or _new()


def of_caller(headers: Mapping[str, str]) -> Trace | None:
    """The trace that a request came with: its ``traceparent``, else its ``x-amzn-trace-id``; None without a valid one.

    ``traceparent`` comes first: it is the caller's own, while API Gateway adds an ``x-amzn-trace-id`` to every request.
    """
    if match := _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip()):
        digits, parent = match.groups()
        return Trace(f"1-{digits[:8]}-{digits[8:]}", {"Parent": parent})
    found = of_header(headers.get("x-amzn-trace-id"))
    if found is None:
        return None
    parent = found.members.get("Parent", "")
    return Trace(found.id, {"Parent": parent} if _PARENT.fullmatch(parent) else {})


def of_header(text: str | None) -> Trace | None:
    """Read an ``X-Amzn-Trace-Id`` or ``AWSTraceHeader``; None when it holds no valid trace id."""
    members = dict(part.strip().split("=", 1) for part in (text or "").split(";") if "=" in part)
    root = members.pop("Root", "")
    return Trace(root, members) if ID.fullmatch(root) else None


def is_trace_id(value: object) -> bool:
    """Whether it is a trace id in X-Ray's form."""
    return isinstance(value, str) and ID.fullmatch(value) is not None


def _new() -> Trace:
    return Trace(f"1-{int(time.time()):08x}-{secrets.token_hex(12)}")
