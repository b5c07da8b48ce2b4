"""What is not well with a replica, and what to do next: a check for each thing that was looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ops.divergence import settings
from ops.divergence.settings import NONE, UNKNOWN, Settings
from ops.record import Check

ACTIVE = "ACTIVE"
NEXT = {
    "CREATING": "wait: it becomes ACTIVE by itself",
    "UPDATING": "wait: it becomes ACTIVE by itself",
    "DELETING": "it is being removed: compare without it",
    "CREATION_FAILED": "remove the replica and add it again",
    "REGION_DISABLED": "enable the region in the account's settings",
    "INACCESSIBLE_ENCRYPTION_CREDENTIALS": "enable its KMS key, or cancel its deletion, and restore the key's grants",
    "REPLICATION_NOT_AUTHORIZED": "take the denial out of the table's resource policy, or end the drill that set it",
    "ARCHIVING": "its KMS key was gone for seven days: restore the table from the backup that DynamoDB makes",
    "ARCHIVED": "its KMS key was gone for seven days: restore the table from the backup that DynamoDB made",
}
AFTER = "then scan, and repair what was missed"


def of_table(one: Settings) -> Iterator[Check]:
    """What a replica tells of itself."""
    label = one.label
    state = NEXT.get(one.status, "look at the table")
    yield Check(
        f"{label}: table", one.status == ACTIVE, one.status if one.status == ACTIVE else f"{one.status}: {state}"
    )
    building = {name: state for name, state in one.indexes.items() if state not in (ACTIVE, "local")}
    listed = ", ".join(f"{name} is {state}" for name, state in (building or one.indexes).items()) or "it has none"
    wait = ": wait, a query of it misses items until it is ACTIVE" if building else ""
    yield Check(f"{label}: indexes", not building, f"{listed}{wait}")
    yield _of_key(one)
    if one.denial.startswith(UNKNOWN):
        yield Check(f"{label}: replication is allowed", True, one.denial)
    elif one.denial:
        yield Check(
            f"{label}: replication is allowed",
            False,
            f"the table's resource policy denies it ({one.denial}), as a drill of AWS FIS does: ops drill heal ends "
            f"the stage's own; else take the statement out of the policy within 20 h, {AFTER}",
        )
    else:
        yield Check(f"{label}: replication is allowed", True, "no resource policy denies it")
    if one.version not in (NONE, "2019.11.21"):
        yield Check(
            f"{label}: version", False, f"{one.version}, the legacy one: update it to 2019.11.21 in the console"
        )


def _of_key(one: Settings) -> Check:
    name = f"{one.label}: encryption key"
    if one.inaccessible_since:
        since = f"DynamoDB cannot use {one.key} since {one.inaccessible_since:%Y-%m-%d %H:%M}Z"
        return Check(name, False, f"{since} ({one.key_state}): {NEXT['INACCESSIBLE_ENCRYPTION_CREDENTIALS']}, {AFTER}")
    if one.key_state and not one.key_state.startswith(("Enabled", UNKNOWN)):
        return Check(
            name, False, f"{one.key} is {one.key_state}: enable it or cancel its deletion; the replica leaves its "
            "global table after 20 h without it"
        )  # fmt: skip
    return Check(name, True, f"{one.key}{f', {one.key_state}' if one.key_state else ''}")


def _kind_of_key(one: Settings) -> str:
    return one.key if one.key == settings.AWS_OWNED else "a key in the account"


_Value = Callable[[Settings], str]
_HARMLESS = "Each replica may have its own"
# What is compared: how it is called, its value, whether replicas of one global table must share it, and what to do.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2globaltables_HowItWorks.html
_COMPARED: tuple[tuple[str, _Value, bool, str], ...] = (
    ("time to live", lambda one: one.ttl, True, "Items expire in one region only: set the same attribute in all"),
    ("indexes", lambda one: ", ".join(sorted(one.indexes)) or NONE, True, "Make the index in all: queries differ"),
    ("kind of key", _kind_of_key, True, "Put all replicas under keys of one kind"),
    ("billing mode", lambda one: one.billing, True, "Set the same mode: a replica that throttles falls behind"),
    (
        "write capacity",
        lambda one: one.writes,
        True,
        "Give each replica the write units of the others: it falls behind",
    ),
    ("stream", lambda one: one.stream, False, ""),
    ("point-in-time recovery", lambda one: one.recovery.split(",")[0], False, ""),
    ("table class", lambda one: one.table_class, False, ""),
    ("deletion protection", lambda one: one.deletion_protection, False, ""),
    ("mode of settings", lambda one: one.settings_mode or NONE, False, ""),
)


def of_differences(found: Mapping[str, Settings], one_table: bool) -> Iterator[Check]:
    """What differs between the replicas: of one global table, a setting that it shares must not."""
    for what, value, matters, advice in _COMPARED:
        values = {label: value(one) for label, one in found.items()}
        if len(set(values.values())) == 1:
            yield Check(f"same {what}", True, next(iter(values.values())))
            continue
        listed = "; ".join(f"{label}: {text}" for label, text in values.items())
        fails = matters and one_table
        yield Check(f"same {what}", not fails, f"differs: {listed}. {advice if fails else _HARMLESS}")
