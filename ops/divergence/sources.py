"""Where the pages of a replica come from, as botocore has it: endpoint, credentials, trusted authorities, proxy.

What always holds: the rules are botocore's (``AWS_ENDPOINT_URL``, the credential chain, ``AWS_CA_BUNDLE`` and the
profile's ``ca_bundle``, then ``REQUESTS_CA_BUNDLE``, then the bundle that botocore itself trusts, ``HTTPS_PROXY`` and
``NO_PROXY``), so that what boto3 reaches is reached here.
"""

from __future__ import annotations

import http.client
import os
import ssl
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

from botocore.httpsession import get_cert_path
from botocore.session import Session
from botocore.utils import get_environ_proxies

from ops.aws import Cloud
from ops.divergence.replicas import Replica, client, credentials

CONNECT_S, READ_S = 5.0, 30.0


@dataclass(frozen=True)
class Source:
    """What it takes to read one replica. ``credentials`` are botocore's; ``bundle`` is a file of those it trusts."""

    label: str
    table: str
    region: str
    endpoint_url: str
    credentials: Any
    bundle: str

    @property
    def url(self) -> SplitResult:
        return urlsplit(self.endpoint_url)

    @property
    def host(self) -> str:
        """As in the Host header: with the port where it is not the scheme's own."""
        url = self.url
        usual = {"http": 80, "https": 443}[url.scheme]
        name = f"[{url.hostname}]" if ":" in (url.hostname or "") else str(url.hostname)
        return name if url.port in (None, usual) else f"{name}:{url.port}"


def source(cloud: Cloud, replica: Replica) -> Source:
    """Where and how this replica is read.

    Raises:
        UsageError: its profile is not there, or has no credentials.
    """
    made = client(cloud, replica)
    return Source(
        label=replica.label,
        table=replica.table,
        region=made.meta.region_name,
        endpoint_url=made.meta.endpoint_url,
        credentials=credentials(cloud, replica),
        bundle=ca_bundle(replica.profile),
    )


def ca_bundle(profile: str = "") -> str:
    """The file of the authorities that botocore would trust for this profile."""
    session = Session(profile=profile or None)
    found = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    return str(found or get_cert_path(True))


def connect(source: Source) -> http.client.HTTPConnection:
    """A new connection to the endpoint, through the environment's proxy if there is one for it.

    Raises:
        OSError: it cannot be reached.
    """
    made = _unconnected(source)
    try:
        made.connect()
    except BaseException:
        made.close()  # also a socket that is open and could not be made secure
        raise
    made.sock.settimeout(READ_S)
    return made


def _unconnected(source: Source) -> http.client.HTTPConnection:
    url = source.url
    host = url.hostname or ""
    if url.scheme != "https":
        return http.client.HTTPConnection(host, url.port, timeout=CONNECT_S)
    address = get_environ_proxies(source.endpoint_url).get("https", "")
    if not address:
        return http.client.HTTPSConnection(host, url.port, timeout=CONNECT_S, context=_context(source.bundle))
    proxy = urlsplit(address if "//" in address else f"http://{address}")
    made = http.client.HTTPSConnection(
        proxy.hostname or "", proxy.port or 8080, timeout=CONNECT_S, context=_context(source.bundle)
    )
    made.set_tunnel(host, url.port or 443)
    return made


@cache
def _context(bundle: str) -> ssl.SSLContext:
    """Shared by all connections, so that the bundle is parsed once and sessions are resumed."""
    return ssl.create_default_context(cafile=bundle)
