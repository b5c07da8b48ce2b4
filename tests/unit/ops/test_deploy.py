from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from ops import deploy
from ops.aws import Cloud
from ops.errors import OpsError, RefusedError, UsageError
from ops.stack import Stack
from ops.stage import DomainSettings, Stage, load_stage
from ops.token import Token, Tokens

TOKENS = Tokens(lambda: Token("the-token", 3600))


class Framework:
    """Stands in for sls: packages a file, and fails where it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.code = {"us-east-1": b"code", "ap-south-1": b"code"}
        self.red: set[tuple[str, str]] = set()
        self.previous: dict[str, str | None] = {"us-east-1": "1700", "ap-south-1": "1800"}

    def sls(self, arguments: list[str], stage: Stage, region: str, workspace: Path) -> str:
        self.calls.append(
            (" ".join(arguments[:1] + arguments[2:] if arguments[0] == "rollback" else arguments[:1]), region)
        )
        if (arguments[0], region) in self.red:
            raise OpsError(f"{region}: sls {arguments[0]} failed")
        if arguments[0] == "package":
            assert region in workspace.name
            directory = workspace / arguments[2]
            directory.mkdir()
            (directory / "atoll.zip").write_bytes(self.code[region])
        return ""


@pytest.fixture
def framework(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Framework:
    fake = Framework()
    monkeypatch.setenv("ATOLL_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(deploy, "_sls", fake.sls)
    monkeypatch.setattr(
        deploy, "smoke", lambda cloud, region, tokens: fake.sls(["smoke"], cloud.stage, region, tmp_path)
    )
    monkeypatch.setattr(deploy.token, "for_stage", lambda _: TOKENS)
    monkeypatch.setattr(deploy, "_latest_deployment", lambda _, region: fake.previous[region])
    return fake


@pytest.fixture
def cloud() -> Cloud:
    return Cloud(load_stage("local"), "000000000000", None)  # type: ignore[arg-type]


def test_deploy_takes_the_regions_in_waves_after_packaging_all(framework: Framework, cloud: Cloud) -> None:
    outcomes = deploy.deploy(cloud)

    assert [(outcome.region, outcome.outcome) for outcome in outcomes] == [
        ("us-east-1", "deployed"),
        ("ap-south-1", "deployed"),
    ]
    assert framework.calls == [
        ("package", "us-east-1"),
        ("package", "ap-south-1"),
        ("deploy", "us-east-1"),
        ("smoke", "us-east-1"),
        ("deploy", "ap-south-1"),
        ("smoke", "ap-south-1"),
    ]
    assert [path.name for path in deploy._workspaces(cloud.stage).iterdir()] == ["lock"]


@pytest.mark.parametrize("what", ["deploy", "smoke"])
def test_deploy_when_the_second_region_is_red_rolls_back_both(framework: Framework, cloud: Cloud, what: str) -> None:
    framework.red = {(what, "ap-south-1")}
    outcomes = deploy.deploy(cloud)

    assert {outcome.region: outcome.outcome for outcome in outcomes} == {
        "us-east-1": "rolled back",
        "ap-south-1": "rolled back",
    }
    assert framework.calls[-2:] == [("rollback 1700", "us-east-1"), ("rollback 1800", "ap-south-1")]


def test_deploy_when_the_first_region_is_red_does_not_reach_the_second(framework: Framework, cloud: Cloud) -> None:
    framework.red = {("deploy", "us-east-1")}
    outcomes = deploy.deploy(cloud)

    assert [(outcome.region, outcome.outcome) for outcome in outcomes] == [
        ("us-east-1", "rolled back"),
        ("ap-south-1", "not reached"),
    ]
    assert ("deploy", "ap-south-1") not in framework.calls


def test_deploy_when_red_and_nothing_ran_before_says_so(framework: Framework, cloud: Cloud) -> None:
    framework.red, framework.previous["us-east-1"] = {("deploy", "us-east-1")}, None
    outcome = deploy.deploy(cloud)[0]

    assert outcome.outcome == "failed"
    assert "it ran nothing before" in outcome.detail


def test_deploy_when_the_rollback_fails_too_tells_both(framework: Framework, cloud: Cloud) -> None:
    framework.red = {("deploy", "us-east-1"), ("rollback", "us-east-1")}
    outcome = deploy.deploy(cloud)[0]

    assert outcome.outcome == "failed"
    assert "sls deploy failed" in outcome.detail
    assert "rollback failed too" in outcome.detail


def test_deploy_when_regions_were_packaged_from_different_code_deploys_nothing(
    framework: Framework, cloud: Cloud
) -> None:
    framework.code["ap-south-1"] = b"other"

    with pytest.raises(OpsError, match="the packaged code differs between regions"):
        deploy.deploy(cloud)

    assert all(call == "package" for call, _ in framework.calls)


def test_deploy_while_another_runs_from_this_checkout_is_refused(framework: Framework, cloud: Cloud) -> None:
    with deploy._alone(cloud.stage), pytest.raises(RefusedError, match="is being deployed from this checkout already"):
        deploy.deploy(cloud)

    assert framework.calls == []


def test_deploy_with_a_region_outside_the_stage_refuses(framework: Framework, cloud: Cloud) -> None:
    with pytest.raises(UsageError, match="'eu-west-1' is not in stage 'local'"):
        deploy.deploy(cloud, ["eu-west-1"])

    assert framework.calls == []


def test_deploy_without_a_token_to_check_the_regions_with_deploys_nothing(
    framework: Framework, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> Token:
        raise UsageError("no secret")

    monkeypatch.setattr(deploy.token, "for_stage", lambda _: Tokens(refused))
    with pytest.raises(UsageError, match="no secret"):
        deploy.deploy(cloud)

    assert framework.calls == []


def test_sls_when_not_installed_says_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(deploy, "SLS", tmp_path / "none")

    with pytest.raises(UsageError) as caught:
        deploy.package_regions(load_stage("local"), ["us-east-1"])

    assert caught.value.hint == "Run: make setup"


# --- smoke -------------------------------------------------------------------------------------------------------


class Api:
    """The API of every region: gives one answer to the right token; refuses its first connections if told to."""

    def __init__(self) -> None:
        self.status, self.text, self.unreachable = 202, "", 0
        self.requests: list[httpx.Request] = []

    def __call__(self, status: int, text: str) -> None:
        self.status, self.text = status, text

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if len(self.requests) <= self.unreachable:
            raise httpx.ConnectError("name not known")
        if request.headers["authorization"] != "Bearer the-token":
            return httpx.Response(401, text='{"message": "Unauthorized"}')
        return httpx.Response(self.status, text=self.text)


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Api:
    """Let the API of every region give one answer."""
    api, real = Api(), httpx.Client
    monkeypatch.setattr(deploy.stack, "read", lambda *_: Stack("CREATE_COMPLETE", {"ApiId": "abc"}))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(
        deploy.httpx, "Client", lambda **options: real(transport=httpx.MockTransport(api.handle), **options)
    )
    return api


def test_smoke_when_the_api_accepts_for_the_region_passes(cloud: Cloud, answered: Api) -> None:
    answered(202, '{"region": "ap-south-1", "accepted": 0}')
    deploy.smoke(cloud, "ap-south-1", TOKENS)


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [
        (500, '{"message": "Internal Server Error"}', "answers 500"),
        (202, '{"region": "us-east-1"}', "not as region ap-south-1"),
        (202, "[]", "not as region"),
        (502, "<html>", "gives no usable answer"),
    ],
)
def test_smoke_with_another_answer_is_red(cloud: Cloud, answered: Api, status: int, text: str, message: str) -> None:
    answered(status, text)

    with pytest.raises(OpsError, match=message):
        deploy.smoke(cloud, "ap-south-1", TOKENS)


@pytest.fixture
def named(cloud: Cloud, answered: Api, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A stage with a domain, whose names DNS does not have yet."""
    certificates = {r: f"arn:aws:acm:{r}:{'0' * 12}:certificate/0" for r in cloud.stage.regions}
    domain = DomainSettings(certificates=certificates)
    cloud.stage = cloud.stage.model_copy(update={"domain": domain, "api_url": None})
    outputs = {"ApiId": "abc", "RegionalDomainTarget": "d-own.execute-api.ap-south-1.amazonaws.com"}
    monkeypatch.setattr(deploy.stack, "read", lambda *_: Stack("CREATE_COMPLETE", outputs))
    monkeypatch.setattr(deploy, "NEW_NAME_POLL_S", 0)
    return cloud


def test_smoke_with_a_domain_asks_its_target_under_the_regions_own_name(named: Cloud, answered: Api) -> None:
    answered(202, '{"region": "ap-south-1"}')
    answered.unreachable = 2
    deploy.smoke(named, "ap-south-1", TOKENS)

    request = answered.requests[-1]
    assert len(answered.requests) == 3
    assert str(request.url) == "https://d-own.execute-api.ap-south-1.amazonaws.com/events"
    assert request.headers["host"] == request.extensions["sni_hostname"] == "ap-south-1.api.atoll.example"


def test_smoke_with_a_domain_that_stays_unknown_is_red(
    named: Cloud, answered: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "NEW_NAME_S", 0)
    answered.unreachable = 99
    with pytest.raises(OpsError, match=r"https://ap-south-1\.api\.atoll\.example/events gives no usable answer"):
        deploy.smoke(named, "ap-south-1", TOKENS)


def test_smoke_without_an_api_is_red(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy.stack, "read", lambda *_: Stack())

    with pytest.raises(OpsError, match="the stack has no API"):
        deploy.smoke(cloud, "ap-south-1", TOKENS)
