"""What holds for the packaged template of every stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ops.stage import load_stage, stage_names


@pytest.mark.parametrize("name", stage_names())
def test_template_has_a_function_queue_and_dlq_for_each_processor(
    template: Callable[[str], dict[str, Any]], name: str
) -> None:
    stage, resources = load_stage(name), template(name)["Resources"]

    named = {
        r["Properties"].get("QueueName") or r["Properties"].get("FunctionName")
        for r in resources.values()
        if r["Type"] in ("AWS::SQS::Queue", "AWS::Lambda::Function")
    }
    for processor in stage.processor_names:
        assert {stage.queue(processor), stage.dlq(processor), stage.function(processor)} <= named
