from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from ops.errors import UsageError
from ops.stage import REGION_SETS, STAGES_DIR, Stage, load_stage, stage_names


def write(directory: Path, **changes: object) -> Path:
    """A copy of the local stage file, changed; a value of None removes the key."""
    data = yaml.safe_load((STAGES_DIR / "local.yml").read_text())
    for key, value in changes.items():
        section, _, name = key.rpartition("__")
        target = data[section] if section else data
        if value is None:
            target.pop(name)
        else:
            target[name] = value
    (directory / "local.yml").write_text(yaml.safe_dump(data))
    return directory


@pytest.mark.parametrize("name", stage_names())
def test_load_stage_with_a_committed_file_reads_it(name: str) -> None:
    stage = load_stage(name)

    assert stage.stage == name
    assert stage.stack == stage.bus == stage.table_name == f"atoll-{name}"


def test_load_stage_when_unknown_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"'staging' has no file; accepted: dev, local, prod"):
        load_stage("staging")


@pytest.mark.parametrize("name", ["../local", "", "Local", "local.yml"])
def test_load_stage_with_a_name_that_is_no_name_refuses(name: str) -> None:
    with pytest.raises(UsageError, match="has no file"):
        load_stage(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"home_region": "eu-west-1"}, r"home_region: 'eu-west-1' is not one of regions"),
        ({"regions": ["us-east-1", "us-east-1"]}, "regions: a region is named twice"),
        ({"regions": ["us-east-1", "Mumbai"]}, r"regions\.1: .*pattern.*'Mumbai'"),
        ({"lambda__memory_mb": 64}, r"lambda\.memory_mb: .*greater than or equal to 128 \(is 64\)"),
        ({"lambda__memory": 256}, r"lambda\.memory: unknown key"),
        ({"archive__retention_days": None}, r"archive\.retention_days: missing"),
        ({"dns__record": "api.elsewhere.example"}, r"record 'api.elsewhere.example' is not inside zone"),
        ({"waves": [["us-east-1"]]}, "waves: they must name each of regions"),
        ({"account": 123}, "account: "),
        ({"api_url": "http://example.com"}, "api_url: "),
        ({"access__issuer": "http://login.example"}, r"access\.issuer: .*pattern"),
        ({"access__audience": []}, r"access\.audience: "),
        (
            {"service_levels__availability": {"objective": 0.99, "threshold_ms": 10}},
            "service_levels: availability: threshold_ms: it has none",
        ),
        ({"service_levels__latency": {"objective": 0.99}}, "service_levels: latency: threshold_ms: it is needed"),
        ({"service_levels__period_s": 45}, r"service_levels\.period_s: .*10, 30 or 60"),
        ({"access__routes": {"PUT /events": {}}}, r"access\.routes\.PUT /events"),
        ({"domain": {"certificates": {}}}, "api_url: with a domain"),
        (
            {
                "concurrency": {"ingest": 9, "query": 9, "status": 9, "store": 9, "activity": 2},
                "processors__max_concurrency": 3,
            },
            r"concurrency: activity: 2 is less than processors\.max_concurrency, 3",
        ),
        ({"tracing__rate": 0.5}, "tracing: rate and reservoir_per_s: must be 0 where tracing is not enabled"),
        ({"alarms__period_s": 45}, r"alarms\.period_s: "),
        ({"failover__lambda_extension": "1.x.x"}, "failover: lambda_extension: the local cloud has no layers"),
        ({"failover__lambda_extension": "latest"}, r"failover\.lambda_extension: .*pattern"),
        (
            {"local_cloud": None, "failover__parts": ["replication", "api"]},
            "failover: lambda_extension: api can be taken away only by FIS's extension",
        ),
        (
            {"local_cloud": None, "failover__parts": ["replication"]},
            "failover: parts: a drill is stopped by composite alarms",
        ),
        ({"stage": "other"}, "stage: says 'other', but the file is named 'local'"),
    ],
)
def test_load_stage_with_a_mistake_names_file_key_and_reason(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_stage("local", write(tmp_path, **changes))

    assert "local.yml" in str(caught.value)


def test_load_stage_with_several_mistakes_names_each(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_stage("local", write(tmp_path, lambda__memory_mb=64, archive__retention_days=-1))

    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["regions: [", "- a list", "just text", ""])
def test_load_stage_when_not_a_mapping_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "local.yml").write_text(text)

    with pytest.raises(UsageError, match=r"local\.yml: (not valid YAML|expected a mapping)"):
        load_stage("local", tmp_path)


def test_deploy_waves_by_default_take_one_region_first(tmp_path: Path) -> None:
    stage = load_stage("local", write(tmp_path, regions=["us-east-1", "ap-south-1", "eu-west-1"]))

    assert stage.deploy_waves == [["us-east-1"], ["ap-south-1", "eu-west-1"]]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_journals_form_a_ring_over_the_regions(tmp_path: Path, count: int) -> None:
    regions = ["us-east-1", "ap-south-1", "eu-west-1"][:count]
    stage = load_stage("local", write(tmp_path, regions=regions))

    if count == 1:
        assert stage.journal_region("us-east-1") is stage.journaled_region("us-east-1") is None
        return
    assert {stage.journal_region(region) for region in regions} == set(regions)
    for region in regions:
        following = stage.journal_region(region)
        assert following is not None
        assert following != region
        assert stage.journaled_region(following) == region


def test_dlqs_are_those_of_the_processors_of_async_invocations_of_the_buses_and_with_two_regions_of_the_journal(
    tmp_path: Path,
) -> None:
    two, one = load_stage("local"), load_stage("local", write(tmp_path, regions=["us-east-1"]))

    assert one.dlqs == tuple(f"atoll-local-{part}-dlq" for part in ("store", "activity", "async", "bus"))
    assert two.dlqs == (*one.dlqs, "atoll-local-journal-dlq")


def test_require_region_when_not_in_the_stage_names_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"'eu-west-1' is not in stage 'local'; accepted: us-east-1, ap-south-1"):
        load_stage("local").require_region("eu-west-1")


NETWORK: dict[str, object] = {
    "cidr": "10.0.0.0/20",
    "zones": 2,
    "endpoint_zones": 1,
    "flow_log_retention_days": 7,
    "dynamodb_prefix_lists": {"us-east-1": "pl-02cd2c6b", "ap-south-1": "pl-66a7420f"},
    "s3_prefix_lists": {"us-east-1": "pl-63a5400a", "ap-south-1": "pl-78a54011"},
}


def test_load_stage_with_a_network_reads_it(tmp_path: Path) -> None:
    network = load_stage("local", write(tmp_path, network=NETWORK)).network

    assert network is not None
    assert network.dynamodb_prefix_lists["ap-south-1"] == "pl-66a7420f"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"endpoint_zones": 3}, r"network: endpoint_zones: 3 is more than zones: 2"),
        ({"zones": 1}, r"network\.zones: "),
        ({"cidr": "172.50.0.0/20"}, r"network\.cidr: 172\.50\.0\.0/20 is not inside 10\.0\.0\.0/8"),
        ({"cidr": "10.0.1.0/20"}, r"network\.cidr: 10\.0\.1\.0/20 has host bits set"),
        (
            {"dynamodb_prefix_lists": {"us-east-1": "pl-02cd2c6b"}},
            "dynamodb_prefix_lists: none for ap-south-1",
        ),
        ({"s3_prefix_lists": {"ap-south-1": "pl-78a54011"}}, r"s3_prefix_lists: none for us-east-1; .*us-east-1\.s3"),
        (
            {"dynamodb_prefix_lists": {"us-east-1": "com.amazonaws.us-east-1.dynamodb", "ap-south-1": "pl-66a7420f"}},
            r"network\.dynamodb_prefix_lists\.us-east-1: ",
        ),
    ],
)
def test_load_stage_with_a_mistake_in_its_network_names_it(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load_stage("local", write(tmp_path, network=NETWORK | change))


READS = {"min": 5, "max": 50, "target_percent": 70}
CAPACITY = {"read": READS, "write": READS}
AP_SET = "AP: ap-northeast-1, ap-northeast-2, ap-northeast-3"


def of_prod(regions: list[str], **table: object) -> Stage:
    data = yaml.safe_load((STAGES_DIR / "prod.yml").read_text())
    data |= {"regions": regions, "home_region": regions[0], "domain": None, "network": None}
    data["table"] |= table
    return Stage.model_validate(data)


@pytest.mark.parametrize(
    ("regions", "table", "message"),
    [
        (
            2,
            {"capacity": CAPACITY, "autoscaling": False},
            "capacity is autoscaled, and autoscaling is false",
        ),
        (2, {"capacity": CAPACITY | {"write": READS | {"max": 4}}}, "max: 4 is less than min: 5"),
        (2, {"capacity": CAPACITY | {"read": READS | {"target_percent": 95}}}, "less than or equal to 90"),
        (
            2,
            {"capacity": CAPACITY | {"read": READS | {"initial": 60}}},
            "initial: 60 is not between min: 5 and max",
        ),
        (2, {"capacity": CAPACITY | {"read_in": {"eu-west-1": READS}}}, "read_in: eu-west-1: not one of regions"),
        (2, {"capacity": {"read": READS}}, "write"),
        (2, {"witness": "us-west-2"}, "only a table whose consistency is strong has one"),
        (2, {"consistency": "strong"}, "exactly 3 regions, or 2 and a witness; the stage has 2 regions and no witness"),
        (1, {"consistency": "strong", "witness": "us-west-2"}, "the stage has 1 region and a witness"),
        (3, {"consistency": "strong", "witness": "us-west-1"}, "the stage has 3 regions and a witness"),
        (2, {"consistency": "strong", "witness": "us-east-2"}, "is one of regions, and a witness holds no replica"),
        (
            2,
            {"consistency": "strong", "witness": "us-west-1"},
            "one set of regions .US: us-east-1, us-east-2",
        ),
        (2, {"consistency": "strong", "witness": "eu-west-1"}, AP_SET),
        (2, {"consistency": "always"}, "eventual"),
    ],
)
def test_stage_with_a_table_that_cannot_be_says_why(regions: int, table: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        of_prod(["us-east-1", "us-east-2", "us-west-2"][:regions], **table)


@pytest.mark.parametrize("name", sorted(REGION_SETS))
def test_stage_with_a_strong_table_takes_three_regions_or_two_and_a_witness_of_each_set(name: str) -> None:
    first, second, third = REGION_SETS[name][:3]
    assert of_prod([first, second, third], consistency="strong").table.witness is None
    assert of_prod([first, second], consistency="strong", witness=third).table.witness == third


def test_stage_with_a_local_cloud_has_no_strong_table(tmp_path: Path) -> None:
    regions = ["us-east-1", "us-east-2", "us-west-2"]
    write(tmp_path, regions=regions, table__consistency="strong")
    with pytest.raises(UsageError, match="the local cloud replicates eventually only"):
        load_stage("local", tmp_path)


def test_capacity_begins_at_its_least_unless_told_and_reads_differ_by_region() -> None:
    capacity = CAPACITY | {"read_in": {"us-east-2": READS | {"max": 9, "initial": 7}}}
    made = of_prod(["us-east-1", "us-east-2"], capacity=capacity).table.capacity
    assert made is not None
    assert [(made.read_of(r).first, made.read_of(r).max) for r in ("us-east-1", "us-east-2")] == [(5, 50), (7, 9)]
