"""FIS over HTTP: which operation a request is for, its answer, its error. Protocol ``restJson1``, as boto3 speaks it.

The account and the region are those for which the request is signed, so what one region holds another does not see.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote

from ops.local.emulator.fis.errors import (
    AccessDeniedException,
    ConflictException,
    FisError,
    ResourceNotFoundException,
    ValidationException,
)
from ops.local.emulator.fis.experiments import Experiment, Experiments
from ops.local.emulator.fis.templates import Template, check_shape, check_template, new_id
from ops.local.emulator.gateway import FIS, Receive, Send, signed_for
from ops.local.emulator.scopes import Scope

MAX_RESULTS = 100
Answer = dict[str, Any]
_PATHS: dict[tuple[str, str], str] = {
    ("POST", r"/experimentTemplates"): "CreateExperimentTemplate",
    ("GET", r"/experimentTemplates"): "ListExperimentTemplates",
    ("GET", r"/experimentTemplates/(?P<id>[^/]+)"): "GetExperimentTemplate",
    ("DELETE", r"/experimentTemplates/(?P<id>[^/]+)"): "DeleteExperimentTemplate",
    ("POST", r"/experiments"): "StartExperiment",
    ("GET", r"/experiments"): "ListExperiments",
    ("GET", r"/experiments/(?P<id>[^/]+)"): "GetExperiment",
    ("DELETE", r"/experiments/(?P<id>[^/]+)"): "StopExperiment",
    ("POST", r"/tags/(?P<resourceArn>.+)"): "TagResource",
    ("DELETE", r"/tags/(?P<resourceArn>.+)"): "UntagResource",
    ("GET", r"/tags/(?P<resourceArn>.+)"): "ListTagsForResource",
}


# Whether the policies of a caller, by its authorization header, let it take an action on the resource with an ARN, with
# what their conditions may ask for.
Allows = Callable[[str, str, str, Mapping[str, str]], bool]


def by_policies(authorization: str, action: str, arn: str, context: Mapping[str, str]) -> bool:
    """Ask the emulator's IAM, which lets everybody do everything unless it is told to enforce."""
    app = importlib.import_module("ministack.app")
    headers = {"authorization": authorization}
    denied = app._enforce_data_plane(FIS, action, headers, {}, "", resource_arn=arn, service_context=dict(context))
    return denied is None


class FaultInjection:
    """Templates and experiments of every account and region."""

    def __init__(self, experiments: Experiments, allows: Allows = by_policies) -> None:
        self.experiments = experiments
        self._allows = allows
        self._templates: dict[str, Template] = {}
        # (scope, operation, client token) -> what was asked, and what was made of it.
        self._tokens: dict[tuple[Scope, str, str], tuple[str, Template | Experiment]] = {}
        self._operations: dict[str, Callable[[Scope, dict[str, Any]], Answer]] = {
            "CreateExperimentTemplate": self._create_template,
            "ListExperimentTemplates": self._list_templates,
            "GetExperimentTemplate": lambda scope, asked: {"experimentTemplate": self._template(scope, asked).shown()},
            "DeleteExperimentTemplate": self._delete_template,
            "StartExperiment": self._start,
            "ListExperiments": self._list_experiments,
            "GetExperiment": lambda scope, asked: {"experiment": self._experiment(scope, asked["id"]).shown()},
            "StopExperiment": self._stop,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsForResource": lambda scope, asked: {"tags": dict(self._tagged(scope, asked).tags)},
        }

    def is_asked(self, scope: Mapping[str, Any]) -> bool:
        """Whether an ASGI request is signed for FIS."""
        return signed_for(_header(scope, b"authorization"))[0] == FIS

    async def serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, as an ASGI application."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        authorization = _header(scope, b"authorization")
        path = scope["raw_path"].decode() if scope.get("raw_path") else scope["path"]
        status, headers, answer = self.answer(
            authorization, scope["method"], path, scope["query_string"].decode(), body
        )
        payload = json.dumps(answer).encode()
        headers = {"content-type": "application/json", "content-length": str(len(payload)), **headers}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": payload})

    def answer(
        self, authorization: str, method: str, path: str, query: str, body: bytes
    ) -> tuple[int, dict[str, str], Answer]:
        """Status, headers and body for one request, signed by ``authorization``."""
        try:
            operation, asked = _operation(method, path)
            fields = json.loads(body or b"{}")
            if not isinstance(fields, dict):
                raise ValidationException(f"body: expected an object, not {type(fields).__name__}")
            asked = {**fields, **_queried(query), **asked}
            check_shape(operation, asked)
            where = self._where(authorization)
            self._check_access(authorization, operation, where, asked)
            return 200, {}, self._operations[operation](where, asked)
        except json.JSONDecodeError as error:
            refused: FisError = ValidationException(f"body is not valid JSON: {error}")
        except FisError as error:
            refused = error
        return refused.status, {"x-amzn-errortype": refused.code}, {"message": str(refused)}

    @staticmethod
    def _where(authorization: str) -> Scope:
        responses = importlib.import_module("ministack.core.responses")
        router = importlib.import_module("ministack.core.router")
        responses.set_request_account_id(router.extract_access_key_id({"authorization": authorization}))
        return Scope(str(responses.get_account_id()), signed_for(authorization)[1])

    def _check_access(self, authorization: str, operation: str, where: Scope, asked: Mapping[str, Any]) -> None:
        requested = _as_keys("aws:requesttag/", asked.get("tags") or {})
        for arn in _held_against(operation, where, asked):
            held = _as_keys("aws:resourcetag/", self._tags_of(where, arn))
            if not self._allows(authorization, f"fis:{operation}", arn, requested | held):
                raise AccessDeniedException(f"User is not authorized to perform: fis:{operation} on resource: {arn}")

    # --- templates ---------------------------------------------------------------------------------------------

    def _create_template(self, scope: Scope, asked: dict[str, Any]) -> Answer:
        def create() -> Template:
            check_template(asked)
            kept = {name: value for name, value in asked.items() if name not in ("clientToken", "tags")}
            made = Template(new_id("EXT"), scope, self.experiments.clock(), kept, dict(asked.get("tags") or {}))
            self._templates[made.id] = made
            return made

        template = self._once(scope, "CreateExperimentTemplate", asked, create)
        assert isinstance(template, Template)
        return {"experimentTemplate": template.shown()}

    def _template(self, scope: Scope, asked: Mapping[str, Any], field: str = "id") -> Template:
        template = self._templates.get(asked[field])
        if template is None or template.scope != scope:
            raise ResourceNotFoundException(f"experiment template {asked[field]} does not exist in {scope.region}")
        return template

    def _list_templates(self, scope: Scope, asked: dict[str, Any]) -> Answer:
        there = [one for one in reversed(self._templates.values()) if one.scope == scope]
        page, token = _page(there, asked)
        return {"experimentTemplates": [one.summary() for one in page], **token}

    def _delete_template(self, scope: Scope, asked: dict[str, Any]) -> Answer:
        template = self._template(scope, asked)
        del self._templates[template.id]
        return {"experimentTemplate": template.shown()}

    # --- experiments -------------------------------------------------------------------------------------------

    def _start(self, scope: Scope, asked: dict[str, Any]) -> Answer:
        mode = (asked.get("experimentOptions") or {}).get("actionsMode", "run-all")

        def start() -> Experiment:
            template = self._template(scope, asked, "experimentTemplateId")
            return self.experiments.start(template, asked.get("tags") or {}, mode)

        experiment = self._once(scope, "StartExperiment", asked, start)
        assert isinstance(experiment, Experiment)
        return {"experiment": experiment.shown()}

    def _experiment(self, scope: Scope, wanted: str) -> Experiment:
        for one in self.experiments.of(scope):
            if one.id == wanted:
                return one
        raise ResourceNotFoundException(f"experiment {wanted} does not exist in {scope.region}")

    def _list_experiments(self, scope: Scope, asked: dict[str, Any]) -> Answer:
        template = asked.get("experimentTemplateId")
        there = [one for one in self.experiments.of(scope) if template in (None, one.template["id"])]
        page, token = _page(there, asked)
        return {"experiments": [one.summary() for one in page], **token}

    def _stop(self, scope: Scope, asked: dict[str, Any]) -> Answer:
        experiment = self._experiment(scope, asked["id"])
        if not self.experiments.stop(experiment):
            raise ValidationException(f"experiment {experiment.id} has ended already: it is {experiment.status}")
        return {"experiment": experiment.shown()}

    # --- tags --------------------------------------------------------------------------------------------------

    def _found(self, scope: Scope, arn: str) -> Template | Experiment | None:
        everything: list[Template | Experiment] = [*self._templates.values(), *self.experiments.of(scope)]
        return next((one for one in everything if one.arn == arn and one.scope == scope), None)

    def _tags_of(self, scope: Scope, arn: str) -> Mapping[str, str]:
        found = self._found(scope, arn)
        return found.tags if found else {}

    def _tagged(self, scope: Scope, asked: Mapping[str, Any]) -> Template | Experiment:
        found = self._found(scope, asked["resourceArn"])
        if found is None:
            raise ResourceNotFoundException(f"{asked['resourceArn']} does not exist in {scope.region}")
        return found

    def _tag(self, scope: Scope, asked: dict[str, Any]) -> Answer:
        self._tagged(scope, asked).tags.update(asked["tags"])
        return {}

    def _untag(self, scope: Scope, asked: dict[str, Any]) -> Answer:
        tagged = self._tagged(scope, asked)
        for key in asked.get("tagKeys") or list(tagged.tags):
            tagged.tags.pop(key, None)
        return {}

    # --- inside ------------------------------------------------------------------------------------------------

    def _once(
        self, scope: Scope, operation: str, asked: dict[str, Any], make: Callable[[], Template | Experiment]
    ) -> Template | Experiment:
        """What a client token made the first time; a token that comes with another request is a conflict."""
        key, content = (scope, operation, asked["clientToken"]), json.dumps(asked, sort_keys=True)
        before = self._tokens.get(key)
        if before is None:
            self._tokens[key] = before = (content, make())
        elif before[0] != content:
            raise ConflictException(f"clientToken: {asked['clientToken']!r} was used with another request")
        return before[1]


def _held_against(operation: str, where: Scope, asked: Mapping[str, Any]) -> list[str]:
    """The resources that a call needs a grant for.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsfaultinjectionservice.html
    """
    own = f"arn:aws:fis:{where.region}:{where.account}:"
    template = own + f"experiment-template/{asked.get('experimentTemplateId', asked.get('id', '*'))}"
    match operation:
        case "StartExperiment":
            return [template, own + "experiment/*"]
        case "GetExperiment" | "StopExperiment":
            return [own + f"experiment/{asked['id']}"]
        case "TagResource" | "UntagResource" | "ListTagsForResource":
            return [asked["resourceArn"]]
        case "ListExperiments" | "ListExperimentTemplates":
            return ["*"]
    return [template]


def _as_keys(prefix: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as the condition keys that IAM knows them by, without regard to case."""
    return {f"{prefix}{name.lower()}": value for name, value in tags.items()}


def _header(scope: Mapping[str, Any], name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _operation(method: str, path: str) -> tuple[str, dict[str, Any]]:
    for (one, pattern), operation in _PATHS.items():
        if method == one and (found := re.fullmatch(pattern, path)):
            return operation, {name: unquote(value) for name, value in found.groupdict().items()}
    raise ValidationException(f"{method} {path}: not played by the local cloud")


def _queried(query: str) -> dict[str, Any]:
    asked: dict[str, Any] = {name: values[0] for name, values in parse_qs(query).items()}
    if "tagKeys" in asked:
        asked["tagKeys"] = parse_qs(query)["tagKeys"]
    if "maxResults" in asked:
        if not asked["maxResults"].isdecimal() or not 1 <= int(asked["maxResults"]) <= MAX_RESULTS:
            raise ValidationException(f"maxResults: {asked['maxResults']!r}; accepted: 1 to {MAX_RESULTS}")
        asked["maxResults"] = int(asked["maxResults"])
    return asked


def _page(there: Sequence[Any], asked: Mapping[str, Any]) -> tuple[Sequence[Any], dict[str, str]]:
    """One page, and the token of the next: the id of the last that was told."""
    first, token = 0, asked.get("nextToken")
    if token is not None:
        ids = [one.id for one in there]
        if token not in ids:
            raise ValidationException(f"nextToken: {token!r} is none that was given out")
        first = ids.index(token) + 1
    size = asked.get("maxResults", MAX_RESULTS)
    page = there[first : first + size]
    return page, ({"nextToken": page[-1].id} if first + size < len(there) else {})
