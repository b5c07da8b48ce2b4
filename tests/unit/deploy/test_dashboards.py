"""The dashboards of every stage are valid bodies, about metrics that exist, with each region where it belongs.

The rules are those of
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from ops.stage import ROOT, load_stage, stage_file, stage_names
from tests.template import Stack
from tests.unit.deploy import metricmath, metrics

DASHBOARD = "AWS::CloudWatch::Dashboard"
REGIONS = [(name, region) for name in stage_names() for region in load_stage(name).regions]
SEARCH = re.compile(r"SEARCH\('\{([^}]+)\} MetricName=\"(\w+)\" TableName=\"([\w-]+)\"', 'Average', \d+\)")
METRIC_OPTIONS = {"stat", "label", "id", "visible", "region", "expression"}


@pytest.fixture(params=REGIONS, ids="-".join)
def shown(
    request: pytest.FixtureRequest, template: Callable[[str], dict[str, Any]]
) -> tuple[str, str, dict[str, dict[str, Any]]]:
    """A stage, one of its regions, and that region's dashboards by name."""
    stage, region = request.param
    resources = Stack(template(stage), region).of_type(DASHBOARD)
    return stage, region, {d["DashboardName"]: json.loads(d["DashboardBody"]) for d in resources.values()}


Shown = tuple[str, str, dict[str, dict[str, Any]]]


def widgets(shown: Shown) -> Iterator[dict[str, Any]]:
    for body in shown[2].values():
        yield from body["widgets"]


def lines(widget: dict[str, Any]) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Each line of a chart: namespace, name and dimensions (empty for an expression), and its options."""
    for metric in widget["properties"]["metrics"]:
        yield metric[:-1], metric[-1]


def test_regions_have_their_own_dashboard_and_home_the_one_across_regions(shown: Shown) -> None:
    stage, region, bodies = shown
    settings = load_stage(stage)
    own = {f"{settings.prefix}-{region}"}
    assert set(bodies) == own | ({settings.prefix} if region == settings.home_region else set())


def test_widgets_lie_in_the_grid_and_do_not_overlap(shown: Shown) -> None:
    for body in shown[2].values():
        assert 1 <= len(body["widgets"]) <= 500
        taken: set[tuple[int, int]] = set()
        for widget in body["widgets"]:
            x, y, width, height = (widget[name] for name in ("x", "y", "width", "height"))
            assert all(isinstance(value, int) for value in (x, y, width, height))
            assert x >= 0
            assert 1 <= width <= 24 - x
            assert 1 <= height <= 1000
            cells = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}
            assert not cells & taken, widget["properties"]["title"]
            taken |= cells


def test_charts_have_a_title_a_unit_a_period_and_labelled_lines(shown: Shown) -> None:
    stage, _region, bodies = shown
    assert len({widget["properties"]["title"] for widget in widgets(shown)}) > 10
    for body in bodies.values():
        titles = [widget["properties"]["title"] for widget in body["widgets"]]
        assert len(titles) == len(set(titles))
    for widget in widgets(shown):
        properties = widget["properties"]
        assert widget["type"] == "metric"
        assert properties["view"] == "timeSeries"
        assert properties["region"] in load_stage(stage).regions
        assert properties["yAxis"]["left"]["label"]
        assert properties["period"] == load_stage(stage).alarms.period_s
        assert 1 <= len(properties["metrics"]) <= 500
        for _, options in lines(widget):
            assert set(options) <= METRIC_OPTIONS
            assert "label" in options or options.get("visible") is False
            assert "stat" in options or "expression" in options
            assert re.fullmatch(r"[a-z]\w*", options.get("id", "a"))


def test_charts_name_only_metrics_that_somebody_publishes(
    shown: Shown, template: Callable[[str], dict[str, Any]]
) -> None:
    stage, region, _ = shown
    settings, stack = load_stage(stage), Stack(template(stage), region)
    named = {
        "FunctionName": {one["FunctionName"] for one in stack.of_type("AWS::Lambda::Function").values()},
        "QueueName": {one["QueueName"] for one in stack.of_type("AWS::SQS::Queue").values()},
        "TableName": {settings.table_name},
        "ReceivingRegion": set(settings.regions),
        "ApiId": {"HttpApi"},
    }
    for widget in widgets(shown):
        for metric, _options in lines(widget):
            if metric:
                dimensions = dict(zip(metric[2::2], metric[3::2], strict=True))
                metrics.check(metric[0], metric[1], dimensions, stage)
                for name, value in dimensions.items():
                    assert value in named.get(name, {value}), (name, value)


def test_expressions_use_lines_that_are_there(shown: Shown) -> None:
    stage, _, _ = shown
    for widget in widgets(shown):
        ids = [options["id"] for _, options in lines(widget) if "id" in options]
        assert len(ids) == len(set(ids))
        expressions = [options["expression"] for metric, options in lines(widget) if not metric]
        for expression in expressions:
            if search := SEARCH.fullmatch(expression):
                namespace, *dimensions = search[1].split(",")
                assert tuple(sorted(dimensions)) in metrics.AWS[namespace][1]
                assert search[2] in metrics.AWS[namespace][0]
                assert search[3] == load_stage(stage).table_name
                continue
            used = metricmath.names(expression)
            assert used <= set(ids)
            ones = metricmath.evaluate(expression, {name: [1.0, None, 3.0] for name in used})
            assert ones[0] is not None
            assert ones[1] is None


def test_alarm_thresholds_are_drawn(shown: Shown) -> None:
    stage, region, bodies = shown
    settings = load_stage(stage)
    drawn = {
        widget["properties"]["title"]: widget["properties"]["annotations"]["horizontal"][0]["value"]
        for widget in bodies[f"{settings.prefix}-{region}"]["widgets"]
        if "annotations" in widget["properties"]
    }
    alarms = settings.alarms
    assert sorted(drawn.values()) == sorted(
        [
            alarms.error_rate_percent,
            alarms.p99_latency_ms,
            alarms.function_errors,
            alarms.throttles,
            alarms.queue_age_s,
            alarms.dlq_depth,
            alarms.replication_latency_ms,
            0.5,
        ]
    )


def test_across_regions_every_chart_has_a_line_for_each_region_or_pair(shown: Shown) -> None:
    stage, region, bodies = shown
    settings = load_stage(stage)
    if region != settings.home_region:
        return
    regions = settings.regions
    pairs = [f"{source} to {target}" for source in regions for target in regions if source != target]
    for widget in bodies[settings.prefix]["widgets"]:
        seen = [options for _, options in lines(widget) if options.get("visible", True)]
        labels = [options["label"] for options in seen]
        assert labels == (pairs if widget["properties"]["title"] == "Replication latency" else regions)
        assert all(options["region"] == options["label"].split()[0] for options in seen)
        # A hidden line is of the region whose line it is part of.
        for _, options in lines(widget):
            if options.get("visible") is False:
                assert options["id"].startswith(options["region"].replace("-", ""))


def test_every_processor_function_and_dlq_is_on_the_dashboards(
    shown: Shown, template: Callable[[str], dict[str, Any]]
) -> None:
    stage, region, bodies = shown
    stack = Stack(template(stage), region)
    text = json.dumps(bodies[f"{load_stage(stage).prefix}-{region}"])
    names = [one["QueueName"] for one in stack.of_type("AWS::SQS::Queue").values()]
    names += [one["FunctionName"] for one in stack.of_type("AWS::Lambda::Function").values()]
    assert [name for name in names if f'"{name}"' not in text] == []


@pytest.mark.parametrize(("consistency", "drawn"), [("eventual", True), ("strong", False)])
def test_replication_latency_is_drawn_where_the_table_has_one(consistency: str, drawn: bool) -> None:
    prod = yaml.safe_load(stage_file("prod").read_text(encoding="utf-8"))
    prod["table"]["consistency"] = consistency
    custom = {"stage": prod, "prefix": "atoll-unit", "functions": ["ingest"], "processors": ["store"], "dlqs": ["bus"]}
    values = {f"self:custom.{name}": value for name, value in custom.items()}
    script = (
        f"const values = {json.dumps(values)}; const made = require('./deploy/dashboards.cjs');"
        "const variables = { resolveVariable: async (name) => values[name] };"
        "Promise.all(['region', 'across'].map((part) => made[part](variables)))"
        ".then((bodies) => console.log(JSON.stringify(bodies)));"
    )
    done = subprocess.run(["node", "-e", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert ["ReplicationLatency" in json.dumps(body) for body in json.loads(done.stdout)] == [drawn, drawn]
