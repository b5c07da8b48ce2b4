"""What the found keys are now, and what is decided of each: the part of a plan that reads the items."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ops.aws import Cloud
from ops.divergence import classes, lagging
from ops.divergence.comparison import LATELY
from ops.divergence.explaining import Image
from ops.divergence.findings import Findings, client_key
from ops.divergence.groups import pairs
from ops.divergence.judging import judge
from ops.divergence.naming import shown
from ops.divergence.repair import policies
from ops.divergence.repair.orders import Order, Row, digest
from ops.divergence.replicas import Described, Replica
from ops.divergence.rereading import strongly
from ops.divergence.reserved import is_heartbeat
from ops.divergence.survey import Suspicion
from sketch import keys
from sketch.canonical import item_digest

Progress = Callable[[str], None]


class Look:
    """What the found keys are now, and what is decided of them."""

    def __init__(
        self,
        cloud: Cloud,
        findings: Findings,
        described: Mapping[Replica, Described],
        *,
        policy: str,
        chosen: Mapping[bytes, str],
        clock: Callable[[], float],
    ) -> None:
        self._cloud, self._findings, self._described = cloud, findings, described
        self._policy, self._chosen, self._clock = policy, chosen, clock
        self._ignore = frozenset(findings.ignore) - frozenset(findings.schema.names)
        only = findings.only
        self._only = None if only is None else frozenset(only) | frozenset(findings.schema.names)
        self.at, self.expiry = clock(), sorted({one.ttl_attribute for one in described.values()} - {""})
        self.orders: list[Order] = []
        self.rows: list[Row] = []
        self.sizes: dict[str, int] = {}

    def read(self, attempts: int, settle_s: float, progress: Progress, sleep: Callable[[float], None]) -> None:
        findings, names = self._findings, self._findings.schema.names
        found = {keys.pack(key, names) for key in map(client_key, findings.findings) if not is_heartbeat(key, names)}
        judged = judge(
            self._cloud,
            findings.replicas,
            findings.schema,
            [Suspicion(key) for key in sorted(found)],
            described=self._described,
            ignore=findings.ignore,
            only=findings.only,
            attempts=attempts,
            settle_s=settle_s,
            latency_ms=None if settle_s else self._latency(),
            progress=progress,
            sleep=sleep,
            clock=self._clock,
        )
        confirmed = {one.key: one for one in judged.differences}
        for key in sorted(found - confirmed.keys()):
            text = shown(key, names)
            kind, why = ("unsettled", classes.MEANINGS["unsettled"])
            if text not in judged.unsettled:
                kind, why = "healed", "the replicas agree by now"
            self.rows.append(Row(key, text, kind, "nothing", why, decided=False))
        for key, images in strongly(self._cloud, findings.replicas, findings.schema, sorted(confirmed), sleep=sleep):
            held = dict(zip([one.label for one in findings.replicas], images, strict=True))
            if {label: self._compared(image) for label, image in held.items()} != dict(confirmed[key].digests):
                why = classes.MEANINGS["unsettled"]
                self.rows.append(Row(key, shown(key, names), "unsettled", "nothing", why, decided=False))
                continue
            self._decide(key, held)

    def _latency(self) -> dict[tuple[str, str], float]:
        """The longest that replication took of late, by pair that has data."""
        linked, _ = pairs(self._described)
        found = lagging.read(self._cloud, linked, self._described, window=LATELY)
        return {(one.source, one.target): one.max_ms for one in found if one.max_ms is not None}

    def _decide(self, key: bytes, held: Mapping[str, Image | None]) -> None:
        compared = {label: self._compared(image) for label, image in held.items()}
        groups = [
            [label for label in held if compared[label] == one] for one in dict.fromkeys(compared.values()) if one
        ]
        made = policies.decide(
            self._policy,
            held,
            groups,
            regions={one.label: one.region for one in self._findings.replicas},
            expiry=self.expiry,
            now=self.at,
            chosen=self._chosen.get(key),
        )
        text = shown(key, self._findings.schema.names)
        if not made.decided:
            self.rows.append(Row(key, text, made.kind, "nothing", made.why, decided=False))
            return
        seen = {label: digest(image) for label, image in held.items()}
        # What differs only in what does not count stays.
        right, whole = self._compared(made.image), digest(made.image)
        wanted = {label: seen[label] if compared[label] == right else whole for label in held}
        order = Order(key.hex(), seen, wanted)
        if not order.touched:
            # The union is what all hold.
            self.rows.append(Row(key, text, made.kind, "nothing", made.why, decided=False))
            return
        self.orders.append(order)
        self.sizes[order.key] = max(map(_size, [*held.values(), made.image]))
        does = f"{'delete' if made.image is None else 'write'} in {', '.join(order.touched)}"
        self.rows.append(Row(key, text, made.kind, does, made.why, decided=True))

    def _compared(self, image: Image | None) -> bytes | None:
        return None if image is None else item_digest(image, ignore=self._ignore, only=self._only)


def _size(image: Image | None) -> int:
    """About what DynamoDB counts: names and contents."""
    return 0 if image is None else sum(len(name) + len(str(value)) for name, value in image.items())
