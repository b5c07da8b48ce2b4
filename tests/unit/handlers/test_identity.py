from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.core.identity import event_key, tenant
from handlers.core.problem import ProblemError
from tests.unit.handlers.support import request

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
identities = st.tuples(names, names, names)


@given(identities, identities)
def test_event_key_of_any_two_identities_agrees_exactly_when_they_do(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    assert (event_key(*one) == event_key(*other)) == (one == other)


def test_event_key_when_parts_only_join_alike_differs() -> None:
    assert event_key("t", 'a","b', "c") != event_key("t", "a", 'b","c')
    assert event_key("tenant", "s", "i") != event_key("tenan", "ts", "i")


def test_event_key_is_the_name_based_uuid_of_the_contract() -> None:
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, "atoll:tenant:acme")
    name = json.dumps(["/caf\u00e9", "1"], ensure_ascii=False, separators=(",", ":"))
    assert event_key("acme", "/caf\u00e9", "1") == str(uuid.uuid5(namespace, name))


@pytest.mark.parametrize(
    ("claims", "expected"),
    [(None, "public"), ({"client_id": "acme", "sub": "u1"}, "acme"), ({"sub": "u1"}, "u1")],
)
def test_tenant_when_named_is_the_claim_else_public(claims: dict[str, str] | None, expected: str) -> None:
    assert tenant(request("GET /events", claims=claims)) == expected


@pytest.mark.parametrize("claims", [{"scope": "write"}, {"client_id": ""}, {"client_id": ["a"]}, {"sub": "x" * 257}])
def test_tenant_when_a_token_names_none_is_refused_and_never_public(claims: dict[str, object]) -> None:
    with pytest.raises(ProblemError) as caught:
        tenant(request("GET /events", claims=claims))
    assert caught.value.status == 403
