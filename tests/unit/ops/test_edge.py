"""`ops edge explain` asks Route 53 itself on AWS and the edge on the local cloud, and shows what either said."""

from __future__ import annotations

import io
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from rich.console import Console

from ops import edge, edgetable
from ops.aws import Cloud
from ops.errors import OpsError, UsageError
from ops.local.edge import asking
from ops.stage import Stage, load_stage

TARGET = "abc.execute-api.{}.amazonaws.com"


class Route53:
    """What of Route 53 moto does not have, in front of moto's."""

    def __init__(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.client, self.asked, self.data, self.status = (
            client,
            {},
            [TARGET.format("ap-south-1") + "."],
            "Success: 200",
        )
        monkeypatch.setattr(client, "test_dns_answer", self.test_dns_answer, raising=False)
        monkeypatch.setattr(client, "get_health_check_status", self.get_health_check_status, raising=False)

    def test_dns_answer(self, **asked: Any) -> dict[str, Any]:
        self.asked = asked
        return {"RecordData": self.data, "ResponseCode": "NOERROR", "Nameserver": "ns-1.example"}

    def get_health_check_status(self, **_: Any) -> dict[str, Any]:
        if self.status == "InvalidInput":
            raise ClientError({"Error": {"Code": "InvalidInput", "Message": "no"}}, "GetHealthCheckStatus")
        seen = [self.status] * 5 + ["Success: HTTP Status Code 200, OK"]
        return {"HealthCheckObservations": [{"StatusReport": {"Status": status}} for status in seen]}

    def provision(self, **config: Any) -> str:
        """A zone with a latency record for each of two regions, the first with a health check."""
        zone = self.client.create_hosted_zone(Name="dev.atoll.example", CallerReference="z")["HostedZone"]["Id"]
        wanted = {"Type": "HTTPS", "FullyQualifiedDomainName": "x.example", "ResourcePath": "/status", **config}
        check = self.client.create_health_check(CallerReference="c", HealthCheckConfig=wanted)["HealthCheck"]["Id"]
        for region, more in (("us-east-1", {"HealthCheckId": check}), ("ap-south-1", {})):
            record = {
                "Name": "api.dev.atoll.example",
                "Type": "CNAME",
                "SetIdentifier": region,
                "Region": region,
                "TTL": 60,
                "ResourceRecords": [{"Value": TARGET.format(region)}],
                **more,
            }
            self.client.change_resource_record_sets(
                HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
            )
        return str(zone)


@pytest.fixture
def stage() -> Stage:
    return load_stage("dev")


@pytest.fixture
def route53(account: Cloud, monkeypatch: pytest.MonkeyPatch) -> Route53:
    return Route53(account.client("route53", account.stage.home_region), monkeypatch)


def test_explain_asks_route_53_as_the_callers_resolver(account: Cloud, route53: Route53, calls: Any) -> None:
    route53.provision()
    calls.clear()
    found = edge.explain(account, "8.8.8.8")

    assert calls.mutating == []
    assert {key: route53.asked[key] for key in ("RecordName", "RecordType", "ResolverIP")} == {
        "RecordName": "api.dev.atoll.example",
        "RecordType": "CNAME",
        "ResolverIP": "8.8.8.8",
    }
    assert (found["answers"], found["resolver"]) == ("ap-south-1", "8.8.8.8")
    assert found["reason"] == f"NOERROR from ns-1.example: {TARGET.format('ap-south-1')}"


def test_explain_without_a_caller_leaves_the_resolver_to_route_53(account: Cloud, route53: Route53) -> None:
    route53.provision()
    edge.explain(account)

    assert "ResolverIP" not in route53.asked


@pytest.mark.parametrize(
    ("status", "config", "expected"),
    [
        ("Success: HTTP Status Code 200, OK", {}, (True, "6 of 6 checkers see it healthy")),
        ("Failure: Timeout", {}, (False, "1 of 6 checkers see it healthy")),
        ("Failure: Timeout", {"Inverted": True}, (True, "inverted: 1 of 6 checkers see it healthy")),
        ("Failure: Timeout", {"Disabled": True}, (True, "disabled")),
        ("Failure: Timeout", {"Disabled": True, "Inverted": True}, (False, "inverted: disabled")),
        ("InvalidInput", {}, (None, "Route 53 tells no status of a HTTPS check")),
    ],
)
def test_health_is_what_the_checkers_report(
    account: Cloud, route53: Route53, status: str, config: dict[str, Any], expected: tuple[bool | None, str]
) -> None:
    route53.provision(**config)
    route53.status = status
    found = {one["set_id"]: (one["healthy"], one["health"]) for one in edge.explain(account)["candidates"]}

    assert found["us-east-1"] == expected
    assert found["ap-south-1"] == (True, "no health check")


def test_answer_that_is_no_record_of_ours_names_no_region(account: Cloud, route53: Route53) -> None:
    route53.provision()
    route53.data = ["192.0.2.1"]

    assert edge.explain(account)["answers"] is None


def test_explain_without_a_zone_says_run_provision(account: Cloud, route53: Route53) -> None:
    with pytest.raises(OpsError, match=r"api\.dev\.atoll\.example has no record") as caught:
        edge.explain(account)

    assert "ops run provision --stage dev" in caught.value.hint


def test_city_is_refused_on_aws_and_says_what_to_give() -> None:
    with pytest.raises(UsageError, match="'Mumbai' is not an IP address") as caught:
        edge.require_address("Mumbai")

    assert "--from 8.8.8.8" in caught.value.hint
    assert edge.require_address("2001:DB8::1") == "2001:db8::1"


# --- asking the edge ---------------------------------------------------------------------------------------------

CHECK = {
    "for_s": 65.2,
    "last_probe_age_s": 3.4,
    "interval_s": 10,
    "consecutive": 7,
    "failure_threshold": 2,
    "children": [],
}
NEAR = {
    "region": "ap-south-1",
    "set_id": "ap-south-1",
    "weight": None,
    "failover": None,
    "rtt_ms": 3.0,
    "rtt_source": "cloudping",
    "healthy": False,
    "health": "/status answered 503",
    "left_out": "unhealthy",
    "check": CHECK,
}
FAR = {**NEAR, "region": "us-east-1", "set_id": "us", "rtt_ms": 189.7, "healthy": True, "left_out": None, "check": None}
FOUND = {
    "city": "Mumbai",
    "record": "api.atoll.example",
    "answers": "ap-south-1",
    "region": "us-east-1",
    "reason": "the nearest healthy region; ap-south-1 is unhealthy",
    "ttl_s": 10,
    "cached": {"region": "ap-south-1", "set_id": "ap-south-1", "ttl_left_s": 4.2},
    "candidates": [NEAR, FAR],
    "error": None,
}


def serving(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response | Exception) -> list[httpx.Request]:
    seen: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = httpx.Client
    monkeypatch.setattr(asking.httpx, "Client", lambda **_: client(transport=httpx.MockTransport(respond)))
    return seen


def test_asking_for_a_city_returns_its_explanation(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = serving(monkeypatch, httpx.Response(200, json=FOUND))

    assert asking.explain("http://edge", "Mumbai") == [FOUND]
    assert str(seen[0].url) == "http://edge/_edge/explain?city=Mumbai"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.ConnectError("refused"), "the edge at http://edge does not answer"),
        (httpx.Response(502, text="<html>"), "the edge at http://edge does not answer"),
        (httpx.Response(501, json={"detail": "geolocation routing is not played"}), "geolocation routing"),
        (httpx.Response(200, json={**FOUND, "region": None, "reason": "no record"}), "no region answers: no record"),
    ],
)
def test_asking_in_vain_is_an_error_that_says_why(
    monkeypatch: pytest.MonkeyPatch, answer: httpx.Response | Exception, said: str
) -> None:
    serving(monkeypatch, answer)

    with pytest.raises(OpsError, match=said) as caught:
        asking.explain("http://edge")
    assert caught.value.exit_status == 3


def test_unknown_city_is_refused_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = serving(monkeypatch, httpx.Response(200, json=FOUND))

    with pytest.raises(UsageError, match=r"'Atlantis' is not a known city; accepted: .*Mumbai.*, all"):
        asking.explain("http://edge", "Atlantis")
    assert seen == []


# --- tables ------------------------------------------------------------------------------------------------------


def shown(show: Any, found: Any) -> str:
    out = Console(file=io.StringIO(), width=200)
    show(out, found)
    assert isinstance(out.file, io.StringIO)
    return " ".join(out.file.getvalue().split())


def test_table_of_a_city_says_what_answers_what_would_and_why() -> None:
    text = shown(edgetable.show_city, FOUND)

    assert "Mumbai -> ap-south-1" in text
    assert "its resolver keeps ap-south-1 for another 4.2 s" in text
    assert "Route 53 answers us-east-1, kept for 10 s: the nearest healthy region; ap-south-1 is unhealthy" in text
    assert "✘ no │ /status answered 503, for 65 s │ 3 s ago, every 10 s; 7 alike, 2 turn it │ unhealthy" in text
    assert "190 ms (cloudping)" in text


def test_table_of_a_city_whose_zone_was_not_read_says_so() -> None:
    text = shown(edgetable.show_city, {**FOUND, "cached": None, "error": "no [answer]"})

    assert "! Route 53 could not be read, this is as it was read last: no [answer]" in text
    assert "asks Route 53 next" in text


def test_table_of_every_city_has_a_row_each() -> None:
    text = shown(edgetable.show_cities, [FOUND, {**FOUND, "city": "London", "cached": None, "answers": "us-east-1"}])

    assert "4 s left │ cached; now us-east-1: the nearest healthy region" in text
    assert "London │ us-east-1 │ 190 ms (cloudping) │ - │ the nearest healthy region" in text


def test_table_of_an_answer_on_aws(account: Cloud, route53: Route53) -> None:
    route53.provision()
    text = shown(edgetable.show_answer, edge.explain(account, "8.8.8.8"))

    assert "a resolver at 8.8.8.8 -> ap-south-1" in text
    assert "6 of 6 checkers see it healthy" in text
