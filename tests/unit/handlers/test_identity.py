from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.core.identity import UnprotectedRouteError, event_key, tenant
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


@pytest.mark.parametrize(("claims", "expected"), [({"client_id": "acme", "sub": "u1"}, "acme"), ({"sub": "u1"}, "u1")])
def test_tenant_is_the_client_of_the_token_else_its_subject(claims: dict[str, str], expected: str) -> None:
    assert tenant(request("GET /events", claims=claims)) == expected


@pytest.mark.parametrize("claims", [{"scope": "write"}, {"client_id": ""}, {"client_id": ["a"]}, {"sub": "x" * 257}])
def test_tenant_when_a_token_names_none_is_refused(claims: dict[str, object]) -> None:
    with pytest.raises(ProblemError) as caught:
        tenant(request("GET /events", claims=claims))
    assert (caught.value.kind, caught.value.status) == ("no-tenant", 403)


@pytest.mark.parametrize("authorizer", [None, {}, {"iam": {"userArn": "arn"}}, {"lambda": {"client_id": "acme"}}])
def test_tenant_when_the_route_has_no_token_authorizer_is_refused(authorizer: dict[str, object] | None) -> None:
    event = request("GET /events")
    event["requestContext"]["authorizer"] = authorizer
    with pytest.raises(UnprotectedRouteError, match="GET /events was deployed without its authorizer"):
        tenant(event)
