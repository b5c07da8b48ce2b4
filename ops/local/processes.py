"""Processes of the local cloud: what they inherit, which ports they get, how they end.

Always: a child dies with the supervisor, however that ended. The supervisor holds the only write end of a pipe and
each child the read end; when the pipe closes the child kills its own process group, Lambda workers included. No
child sees the operator's AWS credentials, profiles or endpoints.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LIFELINE_VARIABLE = "ATOLL_LIFELINE_FD"
HOST = "127.0.0.1"

# Settings of the emulator that a shell may carry from elsewhere and that would change what runs.
_FOREIGN_PREFIXES = ("AWS_", "MINISTACK_", "LAMBDA_", "LOCALSTACK_", "POWERTOOLS_", "PERSIST_", "S3_", "COV_CORE_")
_FOREIGN_NAMES = frozenset(
    {
        "AUTH",
        "BIND_HOST",
        "DOCKER_HOST",
        "EDGE_PORT",
        "GATEWAY_PORT",
        "IOT_MTLS_ENABLED",
        "LOG_LEVEL",
        "SFTP_ENABLED",
        "USE_SSL",
        "PYTHONWARNINGS",
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    }
)

TEST_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def clean_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """``inherited`` without credentials, endpoints, HTTP proxies and foreign emulator settings; test credentials."""
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(_FOREIGN_PREFIXES) and name not in _FOREIGN_NAMES
    }
    return {
        **kept,
        **TEST_CREDENTIALS,
        # An operator's profile must not be found either, nor an instance role looked for.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


# Loopback calls must not go through an HTTP proxy that the operator's shell names.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(method: str, url: str, body: Any = None, *, timeout_s: float = 10.0) -> Any:
    """One JSON request to a process of the local cloud.

    Raises:
        OSError: no answer, or an answer of 400 and more (urllib.error.HTTPError).
    """
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)  # noqa: S310 (loopback)
    with _opener.open(request, timeout=timeout_s) as answer:
        return json.load(answer)


def port_is_free(port: int) -> bool:
    """Whether a listener could bind it now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def choose_port(wanted: int, taken: set[int]) -> int:
    """``wanted`` if it is free and not in ``taken``, else one that the system gives."""
    if wanted not in taken and port_is_free(wanted):
        return wanted
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port


def hold_lifeline() -> None:
    """In a child: end this process group as soon as the supervisor is gone. Does nothing when run by hand."""
    descriptor = os.environ.pop(LIFELINE_VARIABLE, None)
    if descriptor is not None:
        threading.Thread(target=_wait_for_end, args=(int(descriptor),), daemon=True, name="lifeline").start()


def _wait_for_end(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)  # the workers of the emulator share its group
    os._exit(1)


def last_lines(path: Path, count: int = 15) -> str:
    """The end of a log, for an error message."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(lines[-count:]) or "(the log is empty)"
