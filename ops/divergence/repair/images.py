"""What a repair keeps in the operations bucket: its orders, every item as it was before, and what became of each.

Items are whole and exact, as DynamoDB's JSON has them with binary in base64, compressed, and encrypted as the bucket
is. They are nowhere else: not in a result, not on a page. What always holds: the items of a chunk are kept before the
first of them is written, and once kept they are never written over, so that a run that goes on keeps what was there
first.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from ops import bucket
from ops.aws import Cloud
from ops.bucket import REPAIR, Place
from ops.divergence.repair.orders import Image, RepairPlan, Work
from ops.errors import OpsError
from ops.plan import Plan

Images = dict[str, dict[str, Image | None]]
Outcomes = dict[str, dict[str, str]]

_WORK = TypeAdapter(Work)
_PLAN = TypeAdapter(Plan)
_OUTCOMES = TypeAdapter(Outcomes)


class Store:
    """The objects of one plan, by its token."""

    def __init__(self, cloud: Cloud, place: Place, token: str) -> None:
        self._cloud, self._place, self._token = cloud, place, token

    def save_plan(self, plan: RepairPlan) -> None:
        body = (
            b'{"plan":' + _PLAN.dump_json(Plan(**plan.model_dump())) + b',"work":' + _WORK.dump_json(plan.work) + b"}"
        )
        self._put("plan.json.gz", body)

    def plan(self) -> RepairPlan | None:
        """The plan as it was applied; None when there is none of this token.

        Raises:
            OpsError: what is there is no plan, or another one's.
        """
        raw = self._get("plan.json.gz")
        if raw is None:
            return None
        try:
            found = orjson.loads(raw)
            made = RepairPlan.of(_PLAN.validate_python(found["plan"]), _WORK.validate_json(orjson.dumps(found["work"])))
        except (ValueError, KeyError, ValidationError) as error:
            raise OpsError(f"{self._uri('plan.json.gz')} is no plan of a repair: {type(error).__name__}") from error
        if made.token != self._token:
            raise OpsError(f"{self._uri('plan.json.gz')} is the plan of {made.token}")
        return made

    def keep(self, chunk: int, images: Mapping[str, Mapping[str, Image | None]]) -> None:
        lines = [orjson.dumps({"key": key, "images": _wire(found)}) for key, found in images.items()]
        self._put(f"{chunk:06d}.images.jsonl.gz", b"\n".join(lines))

    def images(self, chunk: int) -> Images | None:
        """By key and label, what was there before; None when the chunk was never begun."""
        name = f"{chunk:06d}.images.jsonl.gz"
        raw = self._get(name)
        if raw is None:
            return None
        try:
            rows = [orjson.loads(line) for line in raw.split(b"\n") if line]
            return {row["key"]: _client(row["images"]) for row in rows}
        except (ValueError, KeyError, TypeError) as error:
            raise OpsError(f"{self._uri(name)} holds no images: {error}") from error

    def close(self, chunk: int, outcomes: Mapping[str, Mapping[str, str]]) -> None:
        self._put(f"{chunk:06d}.outcomes.json.gz", orjson.dumps(outcomes))

    def outcomes(self, chunk: int) -> Outcomes | None:
        """What became of a chunk; None when it was not gone through to its end."""
        raw = self._get(f"{chunk:06d}.outcomes.json.gz")
        return None if raw is None else _OUTCOMES.validate_json(raw)

    def _put(self, name: str, body: bytes) -> None:
        # Without the time, so that equal content is equal bytes.
        bucket.put(self._cloud, self._place, self._key(name), gzip.compress(body, 6, mtime=0), "application/gzip")

    def _get(self, name: str) -> bytes | None:
        found = bucket.get(self._cloud, self._place, self._key(name))
        if found is None:
            return None
        try:
            return gzip.decompress(found)
        except (OSError, EOFError) as error:
            raise OpsError(f"{self._uri(name)} cannot be unpacked: {error}") from error

    def _key(self, name: str) -> str:
        return f"{REPAIR}/{self._token}/{name}"

    def _uri(self, name: str) -> str:
        return self._place.uri(self._key(name))


def _wire(images: Mapping[str, Image | None]) -> dict[str, Any]:
    def text(value: Any) -> str:
        return base64.b64encode(bytes(value)).decode()

    return {label: None if one is None else _mapped(one, text) for label, one in images.items()}


def _client(images: Mapping[str, Any]) -> dict[str, Image | None]:
    return {label: None if one is None else _mapped(one, base64.b64decode) for label, one in images.items()}


def _mapped(item: Image, binary: Callable[[Any], Any]) -> dict[str, Any]:
    return {name: _value(value, binary) for name, value in item.items()}


def _value(value: Mapping[str, Any], binary: Callable[[Any], Any]) -> dict[str, Any]:
    ((kind, content),) = value.items()
    if kind == "B":
        return {kind: binary(content)}
    if kind == "BS":
        return {kind: [binary(one) for one in content]}
    if kind == "L":
        return {kind: [_value(one, binary) for one in content]}
    if kind == "M":
        return {kind: _mapped(content, binary)}
    return {kind: content}
