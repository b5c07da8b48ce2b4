"""A real boto3 client finds the shapes, errors and scopes that AWS's service model promises."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.unit.local.emulator.fis.conftest import ACCOUNT, INDIA, ROLE, US, Played, template


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_template_is_told_as_it_was_made(played: Played) -> None:
    client, asked = played.client(), template()
    made = client.create_experiment_template(**asked)["experimentTemplate"]
    assert {name: made[name] for name in asked} == asked
    assert made["arn"] == f"arn:aws:fis:{US}:{ACCOUNT}:experiment-template/{made['id']}"
    assert made["creationTime"].timestamp() == played.now
    assert client.get_experiment_template(id=made["id"])["experimentTemplate"] == made
    listed = client.list_experiment_templates()["experimentTemplates"]
    assert [(one["id"], one["tags"]) for one in listed] == [(made["id"], {"atoll:stage": "local"})]
    assert client.delete_experiment_template(id=made["id"])["experimentTemplate"]["id"] == made["id"]
    assert client.list_experiment_templates()["experimentTemplates"] == []


def test_experiment_outlives_its_template_and_tells_what_it_was_started_with(played: Played) -> None:
    client = played.client()
    made = client.create_experiment_template(**template())["experimentTemplate"]
    started = client.start_experiment(experimentTemplateId=made["id"], tags={"atoll:run": "r1"})["experiment"]
    assert started["state"]["status"] == "initiating"
    assert {one["state"]["status"] for one in started["actions"].values()} == {"pending"}
    client.delete_experiment_template(id=made["id"])
    played.passes(0)
    told = client.get_experiment(id=started["id"])["experiment"]
    assert told["state"]["status"] == "running"
    assert (told["experimentTemplateId"], told["roleArn"], told["tags"]) == (made["id"], ROLE, {"atoll:run": "r1"})
    assert told["actions"]["calls"]["startTime"].timestamp() == played.now
    (listed,) = client.list_experiments()["experiments"]
    assert (listed["id"], listed["state"]["status"], listed["tags"]) == (told["id"], "running", {"atoll:run": "r1"})


def test_client_token_makes_one_thing_and_conflicts_with_another_request(played: Played) -> None:
    client = played.client()
    first = client.create_experiment_template(clientToken="t", **template())["experimentTemplate"]
    again = client.create_experiment_template(clientToken="t", **template())["experimentTemplate"]
    assert first["id"] == again["id"]
    with pytest.raises(client.exceptions.ConflictException):
        client.create_experiment_template(clientToken="t", **template(description="other"))
    one = client.start_experiment(clientToken="s", experimentTemplateId=first["id"])["experiment"]
    assert client.start_experiment(clientToken="s", experimentTemplateId=first["id"])["experiment"]["id"] == one["id"]
    with pytest.raises(client.exceptions.ConflictException):
        client.start_experiment(clientToken="s", experimentTemplateId=first["id"], tags={"a": "b"})
    assert len(client.list_experiments()["experiments"]) == 1


def test_refused_request_uses_up_no_client_token(played: Played) -> None:
    client = played.client()
    with pytest.raises(client.exceptions.ValidationException):
        client.create_experiment_template(clientToken="t", **template(stopConditions=[{"source": "moon"}]))
    assert client.create_experiment_template(clientToken="t", **template())["experimentTemplate"]["id"]


def test_other_region_sees_nothing(played: Played) -> None:
    here, there = played.client(), played.client(INDIA)
    made = here.create_experiment_template(**template())["experimentTemplate"]
    experiment = here.start_experiment(experimentTemplateId=made["id"])["experiment"]
    assert there.list_experiment_templates()["experimentTemplates"] == there.list_experiments()["experiments"] == []
    for call, wanted in (
        (there.get_experiment_template, {"id": made["id"]}),
        (there.start_experiment, {"experimentTemplateId": made["id"]}),
        (there.stop_experiment, {"id": experiment["id"]}),
        (there.list_tags_for_resource, {"resourceArn": made["arn"]}),
    ):
        with pytest.raises(ClientError) as error:
            call(**wanted)
        assert code_of(error) == ("ResourceNotFoundException", 404)


def test_pages_hold_everything_once_newest_first(played: Played) -> None:
    client = played.client()
    ids = [
        client.create_experiment_template(**template(description=str(n)))["experimentTemplate"]["id"] for n in range(5)
    ]
    pages = list(client.get_paginator("list_experiment_templates").paginate(PaginationConfig={"PageSize": 2}))
    assert [len(page["experimentTemplates"]) for page in pages] == [2, 2, 1]
    assert [one["id"] for page in pages for one in page["experimentTemplates"]] == ids[::-1]
    for name in ids[:3]:
        client.start_experiment(experimentTemplateId=name)
    assert len(client.list_experiments(experimentTemplateId=ids[0])["experiments"]) == 1
    assert "nextToken" not in client.list_experiments(maxResults=3)
    with pytest.raises(client.exceptions.ValidationException, match="nextToken"):
        client.list_experiments(nextToken="mine")


def test_tags_of_templates_and_experiments_can_be_changed(played: Played) -> None:
    client = played.client()
    made = client.create_experiment_template(**template())["experimentTemplate"]
    run = client.start_experiment(experimentTemplateId=made["id"])["experiment"]
    for arn in (made["arn"], run["arn"]):
        client.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
        client.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert client.list_tags_for_resource(resourceArn=made["arn"])["tags"] == {"atoll:stage": "local", "b": "2"}
    assert client.list_tags_for_resource(resourceArn=run["arn"])["tags"] == {"b": "2"}


def test_stop_of_what_has_ended_or_is_not_there_is_refused(played: Played) -> None:
    client = played.client()
    made = client.create_experiment_template(**template())["experimentTemplate"]
    run = client.start_experiment(experimentTemplateId=made["id"])["experiment"]
    assert client.stop_experiment(id=run["id"])["experiment"]["state"]["status"] == "stopping"
    assert client.stop_experiment(id=run["id"])["experiment"]["state"]["status"] == "stopping"
    played.passes(0)
    with pytest.raises(client.exceptions.ValidationException, match="has ended already: it is stopped"):
        client.stop_experiment(id=run["id"])
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.stop_experiment(id="EXPnone")


def test_operation_that_is_not_played_is_refused_and_not_ignored(played: Played) -> None:
    client = played.client()
    with pytest.raises(ClientError, match="not played by the local cloud") as error:
        client.list_actions()
    assert code_of(error) == ("ValidationException", 400)


def test_conditions_may_ask_for_the_tags_of_the_request_and_of_what_it_addresses(played: Played) -> None:
    client = played.client()
    made = client.create_experiment_template(**template() | {"tags": {"atoll:Stage": "unit"}})["experimentTemplate"]
    run = client.start_experiment(experimentTemplateId=made["id"], tags={"atoll:run": "1"})["experiment"]
    client.get_experiment(id=run["id"])
    assert played.held == [
        ("fis:CreateExperimentTemplate", {"aws:requesttag/atoll:stage": "unit"}),
        ("fis:StartExperiment", {"aws:requesttag/atoll:run": "1", "aws:resourcetag/atoll:stage": "unit"}),
        ("fis:StartExperiment", {"aws:requesttag/atoll:run": "1"}),
        ("fis:GetExperiment", {"aws:resourcetag/atoll:run": "1"}),
    ]


def test_caller_without_a_grant_is_denied(played: Played) -> None:
    played.refused = {"fis:CreateExperimentTemplate"}
    with pytest.raises(ClientError, match="fis:CreateExperimentTemplate on resource: arn:aws:fis") as error:
        played.client().create_experiment_template(**template())
    assert code_of(error) == ("AccessDeniedException", 403)
    assert played.client().list_experiment_templates()["experimentTemplates"] == []
