from __future__ import annotations

import pytest

from ops import cli
from ops.errors import OpsError, RefusedError


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OpsError("it broke", hint="Mend it."), 3, "it broke"),
        (RefusedError("no"), 2, "no"),
        (KeyboardInterrupt(), 3, "stopped"),
        (RuntimeError("a fault of ours"), 3, "a fault of ours"),
    ],
)
def test_main_when_a_command_raises_exits_as_the_contract_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, status: int, said: str
) -> None:
    def raises(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", raises)
    with pytest.raises(SystemExit) as left:
        cli.main()

    assert left.value.code == status
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("returned", "status"), [(0, 0), (None, 0), (1, 1), (cli.INTERRUPTED, 3)])
def test_main_passes_on_the_status_of_the_command(
    monkeypatch: pytest.MonkeyPatch, returned: int | None, status: int
) -> None:
    monkeypatch.setattr(cli, "app", lambda **_: returned)
    with pytest.raises(SystemExit) as left:
        cli.main()

    assert left.value.code == status
