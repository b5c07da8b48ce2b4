"""The stub serves what a table would: each item once, whatever the segments, and the same whichever way it is read."""

from __future__ import annotations

import json
import zlib
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from sketch.canonical import item_digest
from tests.bench.divergence import NAMES, EndpointCloud, expected
from tests.bench.scan import TABLE, Shape, Stub
from tests.bench.scan.pages import Template, key_of
from tests.planted import text

pytestmark = pytest.mark.enable_socket
Items = dict[str, dict[str, Any]]


def scanned(stub: Stub, region: str, segments: int = 1) -> Items:
    client = EndpointCloud(stub.endpoint).client("dynamodb", region)
    found: Items = {}
    for segment in range(segments):
        pages = client.get_paginator("scan").paginate(
            TableName=TABLE, Segment=segment, TotalSegments=segments, ReturnConsumedCapacity="TOTAL"
        )
        for page in pages:
            assert page["Count"] == page["ScannedCount"] == len(page["Items"])
            for item in page["Items"]:
                assert found.setdefault(text(item, NAMES), item) is item
    return found


def test_replicas_of_the_stub_differ_in_exactly_what_was_planted(stub: Stub) -> None:
    first, second = (
        {key: item_digest(item) for key, item in scanned(stub, region).items()} for region in stub.shape.regions
    )

    assert len(first.keys() | second.keys()) == stub.shape.items
    assert {key for key in first.keys() | second.keys() if first.get(key) != second.get(key)} == expected(stub.shape)


def test_segments_of_the_stub_hold_each_item_once(stub: Stub) -> None:
    whole = scanned(stub, "ap-south-1")

    assert scanned(stub, "ap-south-1", segments=7) == whole
    assert scanned(stub, "ap-south-1", segments=150) == whole


def test_items_read_by_key_are_those_that_were_scanned(stub: Stub) -> None:
    for region in stub.shape.regions:
        client = EndpointCloud(stub.endpoint).client("dynamodb", region)
        found = scanned(stub, region)
        made = stub.shape.planted().items[region]
        chosen = [item for key, item in found.items() if len(key) < 60][::40][:100]
        got: list[dict[str, Any]] = []
        for items in (chosen, made[:100]):
            wanted = [{name: item[name] for name in NAMES} for item in items]
            answer = client.batch_get_item(RequestItems={TABLE: {"Keys": wanted}})
            got += answer["Responses"][TABLE]
            assert len(answer["Responses"][TABLE]) == len(items)
        assert all(found[text(item, NAMES)] == item for item in got)
        assert client.get_item(TableName=TABLE, Key=wanted[0])["Item"] == made[0]
        assert "Item" not in client.get_item(TableName=TABLE, Key=key_of(stub.shape.items, 0))


def test_items_in_flight_are_old_on_a_page_and_current_when_read() -> None:
    from tests.bench.scan.tables import Table, in_flight

    shape = Shape(400, in_flight=3, per_page=40)
    first, second = (Table(shape, region) for region in shape.regions)
    places = in_flight(shape, 0)

    assert len(set(places)) == 3
    for page, slot in places:
        scanned = json.loads(b"[" + bytes(second.body(second.template, second.template.buffer(), page)[1]) + b"]")[slot]
        key = {name: scanned[name] for name in NAMES}
        read = [json.loads(table.get(key) or b"null") for table in (first, second)]
        assert item_digest(read[0]) == item_digest(read[1]) != item_digest(scanned)


@pytest.mark.parametrize("region", [0, 1])
@pytest.mark.parametrize("number", [0, 1, 0xABCDEF, 0xFFFFFF])
def test_checksum_of_a_page_is_that_of_its_bytes(region: int, number: int) -> None:
    template = Template(region, per_page=40)
    rows = bytes(template.page(template.buffer(), number))

    assert template.crc(b'{"Items":[', number) == zlib.crc32(b'{"Items":[' + rows)
    assert template.item(number, 17) in rows


def test_projection_to_the_keys_shows_the_same_keys(stub: Stub) -> None:
    client = EndpointCloud(stub.endpoint).client("dynamodb", "us-east-1")
    pages = client.get_paginator("scan").paginate(
        TableName=TABLE, ProjectionExpression="#a, sk", ExpressionAttributeNames={"#a": "pk"}
    )
    found = [item for page in pages for item in page["Items"]]

    assert {frozenset(item) for item in found} == {frozenset(NAMES)}
    assert [text(item, NAMES) for item in found] == list(scanned(stub, "us-east-1"))
    with pytest.raises(ClientError, match="only the keys are projected"):
        client.scan(TableName=TABLE, ProjectionExpression="amount")


def test_unknown_tables_and_operations_are_refused_as_the_service_does(stub: Stub) -> None:
    client = EndpointCloud(stub.endpoint).client("dynamodb", "us-east-1")

    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.scan(TableName="another")
    with pytest.raises(ClientError, match="UnknownOperation"):
        client.list_tables()
    with pytest.raises(ValueError, match="faults: unknown"):
        stub.control(nonsense=1)


def test_tls_is_served_with_a_certificate_that_only_its_own_authority_vouches_for(stub: Stub) -> None:
    scan = {"TableName": TABLE, "TotalSegments": 100, "Segment": 0}
    client = EndpointCloud(stub.tls_endpoint, stub.authority).client("dynamodb", "us-east-1")

    assert client.scan(**scan)["Count"] == 40
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        httpx.get(stub.tls_endpoint)
