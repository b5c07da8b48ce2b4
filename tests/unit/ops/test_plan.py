from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.errors import RefusedError
from ops.plan import Plan, Step, authorize

STEP = Step(action="create", resource="archive atoll-local", region="us-east-1", after={"retention_days": 7})


def make(**changes: object) -> Plan:
    fields: dict[str, object] = {
        "runbook": "provision",
        "stage": "local",
        "account": "000000000000",
        "regions": ["us-east-1"],
        "parameters": {"window": "2h"},
        "steps": [STEP],
    }
    return Plan.model_validate({**fields, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"runbook": "replay"},
        {"stage": "dev"},
        {"account": "111111111111"},
        {"regions": ["us-east-1", "ap-south-1"]},
        {"parameters": {"window": "3h"}},
        {"steps": []},
        {"steps": [STEP, STEP]},
        {"steps": [STEP.model_copy(update={"after": {"retention_days": 8}})]},
    ],
)
def test_token_when_anything_bound_differs_is_another(changes: dict[str, object]) -> None:
    assert make(**changes).token != make().token


def test_token_when_only_estimates_and_warnings_differ_is_the_same() -> None:
    assert make(estimates={"duration_s": 3}, warnings=["slow"]).token == make().token


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_token_with_any_order_of_parameters_is_the_same(parameters: dict[str, object]) -> None:
    backwards = dict(reversed(list(parameters.items())))

    assert make(parameters=parameters).token == make(parameters=backwards).token


def test_record_read_back_makes_the_same_token() -> None:
    recorded = make().record()
    token = recorded.pop("token")

    assert Plan.model_validate(recorded).token == token


def test_authorize_with_the_plans_token_goes_on() -> None:
    authorize(make(), make().token)


@pytest.mark.parametrize("token", ["", "0" * 16, "yes"])
def test_authorize_with_another_token_refuses_and_says_how_to_go_on(token: str) -> None:
    with pytest.raises(RefusedError, match="is not this plan's") as caught:
        authorize(make(), token)

    assert caught.value.hint.endswith("ops run provision --stage local")


def test_authorize_when_the_plan_holds_a_refusal_refuses_even_its_own_token() -> None:
    plan = make(steps=[Step(action="refuse", resource="table", detail="holds items that others lack")])

    with pytest.raises(RefusedError, match="holds items that others lack"):
        authorize(plan, plan.token)
