"""The document is what is committed, valid, and true of the routes that are deployed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from handlers import query, status
from handlers.core import cloudevents, parameters, problem, routes
from handlers.core.openapi import deployment, document, schemas
from handlers.core.openapi.deployment import PROD
from handlers.core.problem import ProblemError
from handlers.core.routes import ROUTES
from handlers.core.settings import SettingsError
from tests.unit.handlers.contract import mistakes, openapi
from tests.unit.handlers.support import ENVIRONMENT, Context, cloudevent, request
from tests.unit.handlers.test_package import ROOT

KEYS = [route.key for route in ROUTES]


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in openapi()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def examples_of(holder: dict[str, Any]) -> Iterator[Any]:
    if "example" in holder:
        yield holder["example"]
    yield from (example["value"] for example in holder.get("examples", {}).values())


def get(**headers: str) -> dict[str, Any]:
    return status.handler(request("GET /openapi.json", headers=headers), Context())


# --- one source ----------------------------------------------------------------------------------------------------


def test_committed_document_is_the_generated_one() -> None:
    committed = (ROOT / "docs" / "openapi.json").read_text()
    assert committed == document.text(PROD, indent=2) + "\n", "docs/openapi.json is out of date: run `make openapi`"


def test_module_prints_the_committed_document() -> None:
    command = [sys.executable, "-m", "handlers.core.openapi"]
    done = subprocess.run(command, cwd=ROOT, env={**ENVIRONMENT}, capture_output=True, text=True, check=True)
    assert done.stdout == (ROOT / "docs" / "openapi.json").read_text()


def test_document_is_valid_openapi_3_1() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(openapi()).iter_errors()] == []


def test_committed_document_describes_stage_prod() -> None:
    stage = yaml.safe_load((ROOT / "deploy" / "stages" / "prod.yml").read_text())
    access = stage["access"]
    scopes = access["scopes"]
    assert deployment.Deployment(stage["dns"]["record"], access["token_url"], scopes["write"], scopes["read"]) == PROD


# --- true of what is deployed --------------------------------------------------------------------------------------


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags, which say nothing here."""


Loader.add_multi_constructor("!", lambda *_: None)


def deployed() -> dict[str, str]:
    """Route -> function, of serverless.yml."""
    text = (ROOT / "serverless.yml").read_text()
    functions = yaml.load(text, Loader)["functions"]
    found = {}
    for name, function in functions.items():
        for event in function.get("events", []):
            if "httpApi" in event:
                api = event["httpApi"]
                key = api if isinstance(api, str) else f"{api['method'].upper()} {api['path']}"
                found[key] = name
    return found


def test_routes_are_those_of_serverless_yml_each_at_its_function() -> None:
    assert {route.key: route.function for route in ROUTES} == deployed()


def test_routes_are_those_of_the_document_and_of_the_query_function() -> None:
    assert sorted(key for key, _ in operations()) == sorted(KEYS)
    assert sorted(query._ROUTES) == sorted(route.key for route in ROUTES if route.function == "query")


def test_every_problem_is_one_that_some_route_declares() -> None:
    assert {kind for route in ROUTES for kind in route.problems} == set(problem.KINDS)


def test_every_parameter_of_a_route_is_in_the_document_with_its_schema() -> None:
    documented = dict(operations())
    for route in ROUTES:
        found = {p["name"]: p["schema"] for p in documented[route.key]["parameters"] if p.get("in") == "query"}
        assert found == {parameter.name: parameter.schema for parameter in route.query}


@pytest.mark.parametrize("route", ROUTES, ids=KEYS)
def test_open_routes_ask_for_no_token_and_others_for_their_scope(route: routes.Route) -> None:
    security = dict(operations())[route.key]["security"]
    assert security == ([] if route.scope is None else [{"token": [f"events:{route.scope}"]}])


# --- examples ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "operation"), list(operations()), ids=[key for key, _ in operations()])
def test_operation_is_described_and_its_examples_fit_their_schemas(key: str, operation: dict[str, Any]) -> None:
    assert all(operation[name] for name in ("operationId", "summary", "description", "tags"))
    contents = list(operation.get("requestBody", {}).get("content", {}).values())
    for response in operation["responses"].values():
        assert response["description"]
        contents += response.get("content", {}).values()
    holders = [content for content in contents if content["schema"]]
    holders += [parameter for parameter in operation["parameters"] if "schema" in parameter]
    checked = 0
    for holder in holders:
        for example in examples_of(holder):
            assert mistakes(holder["schema"], example) == []
            checked += 1
    assert checked or key == "GET /openapi.json"  # its example would be the document


def test_operation_ids_are_distinct_and_links_lead_to_them() -> None:
    ids = [operation["operationId"] for _, operation in operations()]
    links = [
        link["operationId"]
        for _, operation in operations()
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]
    assert len(set(ids)) == len(ids)
    assert set(links) == {"getEvent", "listEvents"}


# --- the schema of an event agrees with the parser ---------------------------------------------------------------


def accepted(event: Any) -> bool:
    try:
        cloudevents.from_json(event)
    except ProblemError:
        return False
    return True


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"id": ""},
        {"id": "x" * 256},
        {"id": "x" * 257},
        {"id": None},
        {"id": 1},
        {"id": "a\x07"},
        {"id": "\uffff"},
        {"id": "\U0001fffe"},
        {"id": "\U0001f600"},
        {"source": "/a b"},
        {"source": "urn:x:%2F"},
        {"source": "%2"},
        {"source": "a:b"},
        {"source": "1a:b"},
        {"source": "%41:b"},
        {"source": "./1a:b"},
        {"source": "//[::1]:8/x"},
        {"source": "//[1:2::1.2.3.4]"},
        {"source": "//[.]/x"},
        {"source": "//[1:2:3]"},
        {"source": "%752!:%CD"},
        {"source": "/a[b]"},
        {"source": "#a#b"},
        {"source": "?a?b#c"},
        {"source": "//a@b@c"},
        {"datacontenttype": 'a/b;c="\u0085"'},
        {"datacontenttype": "a/b;\tc=d"},
        {"data_base64": "AAAA="},
        {"data_base64": "QQ"},
        {"specversion": "0.3"},
        {"type": "x" * 129},
        {"time": "yesterday"},
        {"time": "2026-02-30T00:00:00Z"},
        {"time": None},
        {"dataschema": "relative"},
        {"dataschema": "https://example.com/s"},
        {"dataschema": "a:"},
        {"datacontenttype": "json"},
        {"datacontenttype": 'text/plain; a="b\\"c"'},
        {"subject": ""},
        {"subject": None},
        {"ext1": "x"},
        {"ext1": ""},
        {"ext1": True},
        {"ext1": 2**31 - 1},
        {"ext1": 2**31},
        {"ext1": -(2**31)},
        {"ext1": None},
        {"ext1": 1.5},
        {"ext1": []},
        {"Ext": "x"},
        {"x" * 20: "x"},
        {"x" * 21: "x"},
        {"a_b": "x"},
        {"ext1": "x" * 4096},
        {"ext1": "x" * 4097},
        {"ext1": "a\nb"},
        {"data_base64": "QUJD"},
        {"data": [1, {"a": None}]},
        {"data": 2**63 - 1},
    ],
    ids=repr,
)
def test_schema_of_an_event_accepts_exactly_what_the_parser_does(members: dict[str, Any]) -> None:
    event = {**cloudevent(data=None), **members}
    assert accepted(event) == (mistakes(schemas.ref("CloudEvent"), event) == [])


@given(st.text(alphabet="AQgw+/=-_ ", max_size=9), st.booleans(), st.booleans())
def test_schema_of_base64_accepts_exactly_what_the_parser_does(text: str, null: bool, with_data: bool) -> None:
    event = {**cloudevent(data=None), "data_base64": None if null else text}
    if with_data:
        event["data"] = None
    assert accepted(event) == (mistakes(schemas.ref("CloudEvent"), event) == [])


@pytest.mark.parametrize("name", cloudevents.REQUIRED)
def test_schema_of_an_event_without_a_required_attribute_refuses_it(name: str) -> None:
    assert mistakes(schemas.ref("CloudEvent"), cloudevent(**{name: None}))


def test_event_with_data_twice_is_refused_by_schema_and_parser() -> None:
    event = cloudevent(data={"a": 1}, data_base64="QUJD")
    assert (accepted(event), mistakes(schemas.ref("CloudEvent"), event) == []) == (False, False)


# --- served --------------------------------------------------------------------------------------------------------


def test_served_document_is_that_of_the_stage_and_may_be_cached() -> None:
    answer = get()
    assert (answer["statusCode"], answer["headers"]["content-type"]) == (200, "application/json")
    assert answer["headers"]["cache-control"] == "public, max-age=300"
    served = json.loads(answer["body"])
    assert served == document.document(deployment.load(ENVIRONMENT))
    scopes = served["components"]["securitySchemes"]["token"]["flows"]["clientCredentials"]["scopes"]
    assert set(scopes) == {"atoll/events:write", "atoll/events:read"}
    assert {**served, "components": None, "paths": None, "servers": None} == {
        **openapi(),
        "components": None,
        "paths": None,
        "servers": None,
    }


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_document_that_the_caller_has_is_304_without_a_body(form: str) -> None:
    etag = get()["headers"]["etag"]
    answer = get(**{"if-none-match": form.format(etag)})
    assert (answer["statusCode"], answer["body"], answer["headers"]["etag"]) == (304, "", etag)


def test_document_that_the_caller_has_in_another_version_is_200() -> None:
    assert get(**{"if-none-match": '"0123"'})["statusCode"] == 200


def test_token_url_of_a_local_stage_is_at_the_endpoint_in_use() -> None:
    environment = {**ENVIRONMENT, "ATOLL_TOKEN_URL": "{endpoint_url}/oauth2/token", "AWS_ENDPOINT_URL": "http://there"}
    assert deployment.load(environment).token_url == "http://there/oauth2/token"


def test_deployment_without_its_variables_names_each() -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if not name.endswith(("RECORD", "_SCOPE"))}
    with pytest.raises(SettingsError) as caught:
        deployment.load(environment)
    assert str(caught.value).count("is not set") == 3


def test_status_function_starts_without_building_the_document() -> None:
    code = "import sys, handlers.status; print('handlers.core.openapi.document' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**ENVIRONMENT}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


# --- parameters read what their schema says -----------------------------------------------------------------------


@given(st.one_of(st.integers(-3, 205).map(str), st.text(max_size=4)))
def test_limit_reads_exactly_what_its_schema_says(text: str) -> None:
    try:
        value: Any = parameters.LIMIT.of({"limit": text})
    except ProblemError:
        value = None
    canonical = text.isascii() and text.isdigit()
    assert (value is not None) == (canonical and mistakes(parameters.LIMIT.schema, int(text)) == [])
