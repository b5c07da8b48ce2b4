"""What boto3 reaches is reached without it: endpoints, trusted authorities, proxies."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.credentials import Credentials
from botocore.httpsession import get_cert_path
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ops.aws import Cloud
from ops.divergence import sources
from ops.divergence.budget import Budget
from ops.divergence.replicas import Replica
from ops.divergence.sources import Source, ca_bundle, source
from ops.divergence.wire import Buffer, Pages
from ops.errors import OpsError
from ops.stage import Stage
from tests.unit.ops.divergence.loopback import Server, Table, items, serving

US = "us-east-1"
NAMES = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cloud(stage: Stage) -> Cloud:
    return Cloud(stage, "123456789012", boto3.Session("test", "test"))


def made(url: str, bundle: str = "") -> Source:
    return Source("left", "t", US, url, Credentials("a", "b"), bundle)


def test_source_is_what_the_client_says(cloud: Cloud) -> None:
    found = source(cloud, Replica("left", "eu-west-1", "orders"))
    assert found.endpoint_url == "https://dynamodb.eu-west-1.amazonaws.com"
    assert found.host == "dynamodb.eu-west-1.amazonaws.com"
    assert (found.label, found.table, found.region) == ("left", "orders", "eu-west-1")
    assert found.credentials.access_key == "test"


def test_source_when_an_endpoint_is_set_is_that(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert source(cloud, Replica("left", US, "t")).endpoint_url == "http://127.0.0.1:4566"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.com", "example.com"),
        ("https://example.com:443/", "example.com"),
        ("https://example.com:8443", "example.com:8443"),
        ("http://example.com:80", "example.com"),
        ("http://[::1]:4566", "[::1]:4566"),
    ],
)
def test_host_is_spelled_as_clients_spell_it(url: str, host: str) -> None:
    assert made(url).host == host


def test_bundle_is_found_by_the_rules_of_botocore(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert ca_bundle() == get_cert_path(True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/requests.pem")
    assert ca_bundle() == "/etc/requests.pem"
    config = tmp_path / "config"
    config.write_text("[profile strict]\nca_bundle = /etc/strict.pem\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert ca_bundle("strict") == "/etc/strict.pem"
    monkeypatch.setenv("AWS_CA_BUNDLE", "/etc/aws.pem")
    assert ca_bundle() == "/etc/aws.pem"


@pytest.mark.parametrize("address", ["http://proxy.example:3128", "proxy.example:3128"])
def test_connection_through_a_proxy_is_tunnelled(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    found = sources._unconnected(made("https://dynamodb.eu-west-1.amazonaws.com", get_cert_path(True)))
    assert isinstance(found, http.client.HTTPSConnection)
    assert (found.host, found.port) == ("proxy.example", 3128)
    assert (found._tunnel_host, found._tunnel_port) == ("dynamodb.eu-west-1.amazonaws.com", 443)  # type: ignore[attr-defined]
    monkeypatch.setenv("NO_PROXY", "amazonaws.com")
    direct = sources._unconnected(made("https://dynamodb.eu-west-1.amazonaws.com", get_cert_path(True)))
    assert direct.host == "dynamodb.eu-west-1.amazonaws.com"


# --- TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "authority.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def secure(authority: Path) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    with serving({(US, "t"): Table(items(5))}, context) as server:
        yield server


@pytest.mark.enable_socket
def test_pages_over_tls_arrive_when_the_authority_is_trusted(secure: Server, authority: Path) -> None:
    reader = Pages(made(secure.url, str(authority)), Budget("left", 1e9), Buffer())
    for _ in range(2):
        assert json.loads(bytes(reader.read(0, 1)))["Count"] == 5
    reader.close()
    assert secure.connections == 1


@pytest.mark.enable_socket
def test_pages_over_tls_are_refused_at_once_when_it_is_not(secure: Server) -> None:
    waits: list[float] = []
    reader = Pages(made(secure.url, get_cert_path(True)), Budget("left", 1e9), Buffer(), sleep=waits.append)
    with pytest.raises(OpsError, match=r"left: https:.* shows a certificate that is not trusted") as refused:
        reader.read(0, 1)
    assert "AWS_CA_BUNDLE" in refused.value.hint
    assert waits == []
    assert secure.scans == []
