"""The network of the packaged stages: what is there, what is not, and that the endpoints admit what the roles allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ops import network
from ops.stage import load_stage, stage_names

Template = dict[str, Any]
NETWORKED = [name for name in stage_names() if load_stage(name).network]
HTTPS = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
# Calls that a role allows and that never leave a function for the network: Lambda itself writes logs, polls the queues,
# sends what an asynchronous invocation gave up on and plugs functions into the VPC; services use keys on behalf of us.
NOT_FROM_INSIDE = {
    ("logs", None),
    ("sqs:ReceiveMessage", None),
    ("sqs:DeleteMessage", None),
    ("sqs:GetQueueAttributes", None),
    ("sqs:SendMessage", "{'Fn::GetAtt': ['AsyncDlq', 'Arn']}"),
    ("ec2", None),
    ("kms", None),
}


def of_type(template: Template, type_: str) -> dict[str, dict[str, Any]]:
    """The properties of each resource of a type, by logical name."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template["Resources"].items()
        if resource["Type"] == f"AWS::{type_}"
    }


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allowed(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each (action, resource) that a policy allows."""
    for statement in document["Statement"]:
        if statement["Effect"] == "Allow":
            for action in as_list(statement["Action"]):
                for resource in as_list(statement["Resource"]):
                    yield action, str(resource)


def called_from_inside(template: Template) -> set[tuple[str, str]]:
    """What the roles of the functions let their code call."""
    pairs: set[tuple[str, str]] = set()
    for function in of_type(template, "Lambda::Function").values():
        role = of_type(template, "IAM::Role")[function["Role"]["Fn::GetAtt"][0]]
        for policy in role["Policies"]:
            pairs.update(allowed(policy["PolicyDocument"]))
        for attached in role.get("ManagedPolicyArns", []):
            pairs.update(allowed(of_type(template, "IAM::ManagedPolicy")[attached["Ref"]]["PolicyDocument"]))
    return {
        (action, resource)
        for action, resource in pairs
        if not {(action, None), (action, resource), (action.partition(":")[0], None)} & NOT_FROM_INSIDE
    }


def endpoints(template: Template) -> dict[str, dict[str, Any]]:
    """The VPC endpoints by service: ``events`` and the like."""
    return {
        made["ServiceName"]["Fn::Sub"].rsplit(".", 1)[1]: made
        for made in of_type(template, "EC2::VPCEndpoint").values()
    }


def test_template_without_a_network_has_nothing_of_one(deployed: Callable[[str], Template]) -> None:
    template = deployed("local")

    assert not [r["Type"] for r in template["Resources"].values() if r["Type"].startswith("AWS::EC2::")]
    assert not [name for name, made in of_type(template, "Lambda::Function").items() if "VpcConfig" in made]
    assert not [name for name, made in of_type(template, "IAM::Role").items() if made.get("ManagedPolicyArns")]


@pytest.mark.parametrize("name", NETWORKED)
def test_every_function_is_in_all_subnets_and_in_the_functions_group(
    deployed: Callable[[str], Template], name: str
) -> None:
    template, stage = deployed(name), load_stage(name)
    assert stage.network
    subnets = of_type(template, "EC2::Subnet")

    assert len(subnets) == stage.network.zones
    assert {str(made["AvailabilityZone"]) for made in subnets.values()} == {
        str({"Fn::Select": [index, {"Fn::GetAZs": ""}]}) for index in range(stage.network.zones)
    }
    for function, made in of_type(template, "Lambda::Function").items():
        assert made["VpcConfig"] == {
            "SecurityGroupIds": [{"Ref": "FunctionsGroup"}],
            "SubnetIds": [{"Ref": subnet} for subnet in subnets],
        }, function


@pytest.mark.parametrize("name", NETWORKED)
def test_there_is_no_way_in_or_out_but_the_endpoints(deployed: Callable[[str], Template], name: str) -> None:
    template = deployed(name)
    network_types = {r["Type"] for r in template["Resources"].values() if r["Type"].startswith("AWS::EC2::")}

    # No internet gateway, NAT, VPN, peering, transit gateway, elastic address or route of ours.
    assert network_types == {
        "AWS::EC2::VPC",
        "AWS::EC2::Subnet",
        "AWS::EC2::RouteTable",
        "AWS::EC2::SubnetRouteTableAssociation",
        "AWS::EC2::SecurityGroup",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::EC2::VPCEndpoint",
        "AWS::EC2::FlowLog",
    }
    assert not [name for name, made in of_type(template, "EC2::Subnet").items() if made["MapPublicIpOnLaunch"]]
    associated = [made["SubnetId"]["Ref"] for made in of_type(template, "EC2::SubnetRouteTableAssociation").values()]
    assert sorted(associated) == sorted(of_type(template, "EC2::Subnet"))


@pytest.mark.parametrize("name", NETWORKED)
def test_security_groups_admit_and_emit_exactly_https_to_the_endpoints(
    deployed: Callable[[str], Template], name: str
) -> None:
    template, stage = deployed(name), load_stage(name)
    assert stage.network
    groups = of_type(template, "EC2::SecurityGroup")

    def bare(rule: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in rule.items() if key != "Description"}

    assert set(groups) == {"FunctionsGroup", "EndpointsGroup"}
    assert [bare(rule) for rule in groups["FunctionsGroup"]["SecurityGroupEgress"]] == [
        HTTPS | {"DestinationSecurityGroupId": {"Ref": "EndpointsGroup"}},
        *(
            HTTPS | {"DestinationPrefixListId": {"Fn::FindInMap": [f"{of}PrefixLists", {"Ref": "AWS::Region"}, "Id"]}}
            for of in ("DynamoDb", "S3")
        ),
    ]
    assert [bare(rule) for rule in groups["EndpointsGroup"]["SecurityGroupEgress"]] == [
        {"IpProtocol": "-1", "CidrIp": "127.0.0.1/32"}
    ]
    assert not [name for name, made in groups.items() if "SecurityGroupIngress" in made]
    assert [bare(rule) for rule in of_type(template, "EC2::SecurityGroupIngress").values()] == [
        HTTPS | {"GroupId": {"Ref": "EndpointsGroup"}, "SourceSecurityGroupId": {"Ref": "FunctionsGroup"}}
    ]
    for of, ids in (("DynamoDb", stage.network.dynamodb_prefix_lists), ("S3", stage.network.s3_prefix_lists)):
        assert template["Mappings"][f"{of}PrefixLists"] == {region: {"Id": id_} for region, id_ in ids.items()}


@pytest.mark.parametrize("name", NETWORKED)
def test_endpoints_are_those_of_the_services_that_functions_call(
    deployed: Callable[[str], Template], name: str
) -> None:
    template, stage = deployed(name), load_stage(name)
    made = endpoints(template)
    called = {action.partition(":")[0] for action, _ in called_from_inside(template)}

    interface = {service for service, endpoint in made.items() if endpoint["VpcEndpointType"] == "Interface"}
    assert interface == called - {"dynamodb", "s3"} == set(network.interface_endpoints(stage))
    assert set(made) - interface == {"dynamodb", "s3"}
    for service in ("dynamodb", "s3"):
        assert made[service]["RouteTableIds"] == [{"Ref": "RouteTable"}]


@pytest.mark.parametrize("name", NETWORKED)
def test_endpoint_policies_admit_exactly_what_the_roles_allow(deployed: Callable[[str], Template], name: str) -> None:
    template = deployed(name)

    admitted = [pair for made in endpoints(template).values() for pair in allowed(made["PolicyDocument"])]

    assert set(admitted) == called_from_inside(template)
    assert len(admitted) == len(set(admitted)), "something is admitted twice"


@pytest.mark.parametrize("name", NETWORKED)
def test_endpoint_policies_admit_only_this_account_and_name_no_action_by_pattern(
    deployed: Callable[[str], Template], name: str
) -> None:
    for made in endpoints(deployed(name)).values():
        for statement in made["PolicyDocument"]["Statement"]:
            assert statement["Condition"] == {"StringEquals": {"aws:PrincipalAccount": {"Ref": "AWS::AccountId"}}}
            assert not [action for action in as_list(statement["Action"]) if "*" in action]


@pytest.mark.parametrize("name", NETWORKED)
def test_interface_endpoints_have_private_dns_and_stand_in_the_stages_zones(
    deployed: Callable[[str], Template], name: str
) -> None:
    template, stage = deployed(name), load_stage(name)
    assert stage.network
    vpc = of_type(template, "EC2::VPC")["Vpc"]
    assert vpc["EnableDnsSupport"]
    assert vpc["EnableDnsHostnames"]

    for service, made in endpoints(template).items():
        if made["VpcEndpointType"] == "Interface":
            assert made["PrivateDnsEnabled"] is True, service
            assert made["SecurityGroupIds"] == [{"Ref": "EndpointsGroup"}], service
            assert len(made["SubnetIds"]) == stage.network.endpoint_zones, service


def test_prod_with_endpoints_in_one_zone_keeps_its_functions_in_three(
    deployed_with: Callable[..., Template],
) -> None:
    template = deployed_with("prod", network={"endpoint_zones": 1})

    for made in endpoints(template).values():
        if made["VpcEndpointType"] == "Interface":
            assert made["SubnetIds"] == [{"Ref": "SubnetA"}]
    for made in of_type(template, "Lambda::Function").values():
        assert len(made["VpcConfig"]["SubnetIds"]) == 3


def test_dev_with_endpoints_in_both_zones_and_no_tracing_has_no_xray_endpoint(
    deployed_with: Callable[..., Template],
) -> None:
    off = {"enabled": False, "rate": 0, "reservoir_per_s": 0}
    made = endpoints(deployed_with("dev", network={"endpoint_zones": 2}, tracing=off))

    assert set(made) == {"dynamodb", "s3", "events", "sqs"}
    assert made["events"]["SubnetIds"] == [{"Ref": "SubnetA"}, {"Ref": "SubnetB"}]


@pytest.mark.parametrize("name", NETWORKED)
def test_flow_logs_record_all_traffic_and_are_kept_as_long_as_the_stage_says(
    deployed: Callable[[str], Template], name: str
) -> None:
    template, stage = deployed(name), load_stage(name)
    assert stage.network
    (log,) = of_type(template, "EC2::FlowLog").values()
    group = of_type(template, "Logs::LogGroup")[log["LogGroupName"]["Ref"]]

    assert (log["ResourceType"], log["ResourceId"], log["TrafficType"]) == ("VPC", {"Ref": "Vpc"}, "ALL")
    assert group["RetentionInDays"] == stage.network.flow_log_retention_days
    role = of_type(template, "IAM::Role")[log["DeliverLogsPermissionArn"]["Fn::GetAtt"][0]]
    pairs = dict(allowed(role["Policies"][0]["PolicyDocument"]))
    assert pairs["logs:PutLogEvents"] == str({"Fn::GetAtt": [log["LogGroupName"]["Ref"], "Arn"]})
    assert not [resource for resource in pairs.values() if resource == "*"]


@pytest.mark.parametrize("name", NETWORKED)
def test_network_interfaces_are_lambdas_to_make_and_not_the_codes(
    deployed: Callable[[str], Template], name: str
) -> None:
    template = deployed(name)
    policy = "NetworkAccess"
    made = of_type(template, "IAM::ManagedPolicy")[policy]
    roles = of_type(template, "IAM::Role")

    for function in of_type(template, "Lambda::Function").values():
        assert roles[function["Role"]["Fn::GetAtt"][0]]["ManagedPolicyArns"].count({"Ref": policy}) == 1
    (denied,) = [s for s in made["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
    assert (denied["Action"], denied["Resource"]) == ("ec2:*", "*")
    pattern = denied["Condition"]["ArnLike"]["lambda:SourceFunctionArn"]["Fn::Sub"]
    prefix = pattern.rsplit(":", 1)[1].removesuffix("*")
    for function in of_type(template, "Lambda::Function").values():
        assert function["FunctionName"].startswith(prefix)
