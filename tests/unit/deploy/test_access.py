"""Who may call the API, how often, and under which names, in the packaged template of every stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ops.stage import ROOT, Stage, load_stage, stage_names

# The routes that anyone may call.
OPEN = {"GET /status", "GET /evacuated/{region}", "GET /openapi.json"}
Templates = Callable[[str], dict[str, Any]]


def of_type(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    resources = template["Resources"].items()
    return {name: resource for name, resource in resources if resource["Type"] == f"AWS::ApiGatewayV2::{kind}"}


def scopes_of(stage: Stage, route: str) -> list[str]:
    return [stage.access.scopes.write if route.startswith("POST ") else stage.access.scopes.read]


def test_document_asks_for_the_scopes_that_the_routes_ask_for(template: Callable[[str], dict[str, Any]]) -> None:
    document = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    promised = {
        f"{method.upper()} {path}": [scope for way in operation["security"] for scope in way.get("token", [])]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    deployed = {
        route["Properties"]["RouteKey"]: route["Properties"].get("AuthorizationScopes", [])
        for route in of_type(template("prod"), "Route").values()
    }
    assert promised == deployed


@pytest.mark.parametrize("name", stage_names())
def test_every_route_but_the_open_ones_takes_tokens_of_the_stage_with_the_right_scope(
    template: Templates, name: str
) -> None:
    stage, packaged = load_stage(name), template(name)
    ((authorizer_id, authorizer),) = of_type(packaged, "Authorizer").items()

    assert authorizer["Properties"]["AuthorizerType"] == "JWT"
    assert authorizer["Properties"]["JwtConfiguration"] == {
        "Issuer": stage.access.issuer,
        "Audience": stage.access.audience,
    }
    routes = {r["Properties"]["RouteKey"]: r["Properties"] for r in of_type(packaged, "Route").values()}
    assert {"POST /events", "GET /events", "GET /events/{event_key}", "GET /activity", "GET /status"} <= set(routes)
    for route, properties in routes.items():
        if route in OPEN:
            assert "AuthorizationType" not in properties
        else:
            assert properties["AuthorizationType"] == "JWT"
            assert properties["AuthorizerId"] == {"Ref": authorizer_id}
            assert properties["AuthorizationScopes"] == scopes_of(stage, route)


@pytest.mark.parametrize("name", stage_names())
def test_throttles_are_those_of_the_stage_file_and_every_route_keeps_its_metrics(
    template: Templates, name: str
) -> None:
    stage, packaged = load_stage(name), template(name)
    ((_, api_stage),) = of_type(packaged, "Stage").items()
    routes = of_type(packaged, "Route")

    expected = {"DEFAULT": stage.access.throttle, **stage.access.routes}
    settings = {"DEFAULT": api_stage["Properties"]["DefaultRouteSettings"], **api_stage["Properties"]["RouteSettings"]}
    assert settings == {
        route: {
            "DetailedMetricsEnabled": True,
            "ThrottlingRateLimit": throttle.rate_per_s,
            "ThrottlingBurstLimit": throttle.burst,
        }
        for route, throttle in expected.items()
    }
    # API Gateway refuses settings of a route that it does not have, or not yet.
    assert stage.access.routes.keys() <= {route["Properties"]["RouteKey"] for route in routes.values()}
    assert set(routes) <= set(api_stage["DependsOn"])


@pytest.mark.parametrize("name", stage_names())
def test_domain_is_there_exactly_where_the_stage_file_has_one(template: Templates, name: str) -> None:
    stage, packaged = load_stage(name), template(name)
    (certificate, none) = packaged["Conditions"]["HasDomain"]["Fn::Not"][0]["Fn::Equals"]

    assert (certificate != none) == (stage.domain is not None)
    domains = of_type(packaged, "DomainName")
    for resource in (*domains.values(), *of_type(packaged, "ApiMapping").values()):
        assert resource["Condition"] == "HasDomain"
    (api,) = of_type(packaged, "Api").values()
    assert api["Properties"]["DisableExecuteApiEndpoint"] == {"Fn::If": ["HasDomain", True, False]}
    regional = f"{stage.home_region}.{stage.dns.record}"
    assert packaged["Outputs"]["ApiUrl"]["Value"]["Fn::If"][:2] == ["HasDomain", f"https://{regional}"]
    if stage.domain is None:
        return
    names = {resource["Properties"]["DomainName"]: logical for logical, resource in domains.items()}
    assert set(names) == {stage.dns.record, regional}
    for resource in domains.values():
        (configuration,) = resource["Properties"]["DomainNameConfigurations"]
        assert configuration == {
            "EndpointType": "REGIONAL",
            "SecurityPolicy": "TLS_1_2",
            "CertificateArn": stage.domain.certificates[stage.home_region],
        }
    mapped = {resource["Properties"]["DomainName"]["Ref"] for resource in of_type(packaged, "ApiMapping").values()}
    assert mapped == set(names.values())
