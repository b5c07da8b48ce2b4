"""The launcher refuses an emulator that it was not written for, with every difference at once."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.local import emulator, gateway


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the emulator's modules, imported by the first test, leave their keys."""
    directory = tmp_path_factory.mktemp("emulator")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STATE_DIR", str(directory))
        yield directory


def test_check_compatible_with_the_pinned_version_passes() -> None:
    emulator.check_compatible()


def test_check_compatible_with_another_emulator_lists_every_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    dynamodb = __import__("ministack.services.dynamodb", fromlist=["_replicate_write"])

    def other_parameters(table: Any, event: Any) -> None:
        """Stands for an internal that has changed."""

    monkeypatch.setattr(dynamodb, "_replicate_write", other_parameters)
    monkeypatch.delattr(dynamodb, "_create_replica")
    monkeypatch.setattr(emulator, "MINISTACK_VERSION", "9.9.9")
    with pytest.raises(emulator.IncompatibleEmulatorError) as caught:
        emulator.check_compatible()
    message = str(caught.value)
    assert "version is 1.5.33, expected 9.9.9" in message
    assert "_replicate_write takes (table, event), expected (table, event_name, old_item, new_item)" in message
    assert "_create_replica is gone" in message


def test_every_replacement_has_a_reason() -> None:
    assert all(len(one.reason) > 40 for one in emulator.REPLACEMENTS)
    assert len({one.target for one in emulator.REPLACEMENTS}) == len(emulator.REPLACEMENTS)


def test_endpoint_refuses_another_microburst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.9.0")
    with pytest.raises(SystemExit, match=r"microburst 0\.9\.0 does not fit"):
        gateway.prepare_microburst()


def test_replacements_of_a_class_are_found_in_it() -> None:
    assert emulator._resolve("core.lambda_runtime.Worker._drain_stderr_bounded") is not None
    assert emulator._resolve("core.lambda_runtime.Worker._gone") is None


def test_user_pools_and_clients_get_the_ids_that_their_names_say_unless_taken() -> None:
    identities = emulator.NamedIdentities()
    scope: Any = importlib.import_module("ministack.core.responses").request_scope

    def pool(name: str, region: str) -> str:
        with scope("000000000000", region):
            return str(json.loads(identities.create_pool({"PoolName": name})[2])["UserPool"]["Id"])

    def client(name: str) -> str:
        with scope("000000000000", "eu-west-1"):
            answer = identities.create_client({"UserPoolId": "eu-west-1_named", "ClientName": name})
            return str(json.loads(answer[2])["UserPoolClient"]["ClientId"])

    assert pool("named", "eu-west-1") == "eu-west-1_named"
    assert pool("named", "eu-west-2") == "eu-west-2_named"
    again = pool("named", "eu-west-1")
    assert again.startswith("eu-west-1_")
    assert again != "eu-west-1_named"
    assert client("storefront") == "storefront"
    assert len(client("storefront")) == 26
    assert len(client("")) == 26
