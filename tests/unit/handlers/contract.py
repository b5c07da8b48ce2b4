"""The API's document as a judge: an answer that it does not describe, to the last member and header, is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

from handlers.core.openapi import document
from handlers.core.openapi.deployment import PROD

ROOT = "urn:document"
# What a caller may see that no operation's headers list: the content's own.
_UNLISTED = {"content-type"}


@cache
def openapi() -> dict[str, Any]:
    return document.document(PROD)


@cache
def _closed() -> Registry[Any]:
    """The document with every object closed: readers tolerate new members, these tests shall not."""
    resource = Resource.from_contents({"$schema": "https://json-schema.org/draft/2020-12/schema", **_close(openapi())})
    return Registry().with_resource(ROOT, resource)


def _close(value: Any) -> Any:
    if isinstance(value, list):
        return [_close(item) for item in value]
    if not isinstance(value, dict):
        return value
    closed = {name: _close(member) for name, member in value.items()}
    if value.get("type") == "object" and "required" in value and "additionalProperties" not in value:
        # A problem is put together with allOf, and its base must stay open for that: it has all members already.
        closed["additionalProperties"] = "openapi" in value["required"]
    return closed


def mistakes(schema: Mapping[str, Any], value: Any) -> list[str]:
    """What is wrong with a value, by a schema of the document."""
    rebased = json.loads(json.dumps(schema).replace('"#/', f'"{ROOT}#/'))
    validator = Draft202012Validator(_close(rebased), registry=_closed(), format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def check_answer(route: str, answer: Mapping[str, Any]) -> None:
    """Raise AssertionError when the document does not say that this route may answer so."""
    method, path = route.split(" ")
    responses = openapi()["paths"][path][method.lower()]["responses"]
    status, headers = str(answer["statusCode"]), answer["headers"]
    assert status in responses, f"{route} answered {status}; documented: {', '.join(responses)}"
    documented = responses[status]
    unknown = set(headers) - set(documented["headers"]) - _UNLISTED
    assert not unknown, f"{route} {status} has headers that are not documented: {unknown}"
    assert {"x-correlation-id", "cache-control"} <= set(headers)
    content = documented.get("content", {})
    if not content:
        assert answer["body"] == ""
        return
    assert headers["content-type"] in content, f"{route} {status} is {headers['content-type']}; {list(content)}"
    found = mistakes(content[headers["content-type"]]["schema"], json.loads(answer["body"]))
    assert not found, f"{route} {status}: {found}"
