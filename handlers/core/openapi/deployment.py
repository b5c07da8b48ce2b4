"""What the document says of one stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from handlers.core.settings import SettingsError

# Field of Deployment -> environment variable; serverless.yml sets them from the stage file.
_VARIABLES = {
    "record": "ATOLL_RECORD",
    "token_url": "ATOLL_TOKEN_URL",
    "write_scope": "ATOLL_WRITE_SCOPE",
    "read_scope": "ATOLL_READ_SCOPE",
}


@dataclass(frozen=True, slots=True)
class Deployment:
    """``record`` leads to the nearest healthy region; ``token_url`` gives tokens for the two scopes."""

    record: str
    token_url: str
    write_scope: str
    read_scope: str

    def scope(self, access: Literal["read", "write"]) -> str:
        return self.write_scope if access == "write" else self.read_scope


# Stage prod as deploy/stages/prod.yml has it (a test compares them).
PROD = Deployment("api.atoll.example", "https://login.atoll.example/oauth2/token", "events:write", "events:read")


def load(environment: Mapping[str, str]) -> Deployment:
    """Read a deployment from an environment; ``{endpoint_url}`` in a token URL is the AWS endpoint in use.

    Raises:
        SettingsError: a variable is missing or empty; the message has a line for each.
    """
    missing = [variable for variable in _VARIABLES.values() if not environment.get(variable)]
    if missing:
        lines = [f"{variable}: is not set" for variable in missing]
        raise SettingsError("\n".join([*lines, "Set them for the status function in serverless.yml and deploy again."]))
    values = {field: environment[variable] for field, variable in _VARIABLES.items()}
    values["token_url"] = values["token_url"].replace("{endpoint_url}", environment.get("AWS_ENDPOINT_URL", ""))
    return Deployment(**values)
