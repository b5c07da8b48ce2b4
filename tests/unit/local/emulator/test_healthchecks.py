"""What the emulator keeps of a health check that an SDK sends."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

from ops.local.emulator.healthchecks import HealthChecks

CALCULATED = """
<HealthCheckConfig xmlns="https://route53.amazonaws.com/doc/2013-04-01/">
  <Type>CALCULATED</Type>
  <HealthThreshold>2</HealthThreshold>
  <ChildHealthChecks><ChildHealthCheck>one</ChildHealthCheck><ChildHealthCheck>two</ChildHealthCheck></ChildHealthChecks>
</HealthCheckConfig>
"""


def test_calculated_check_keeps_its_children() -> None:
    kept = HealthChecks().read(fromstring(CALCULATED))
    assert kept == {"Type": "CALCULATED", "HealthThreshold": 2, "ChildHealthChecks": ["one", "two"]}


def test_probe_has_no_children() -> None:
    probe = '<HealthCheckConfig xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Type>HTTPS</Type></HealthCheckConfig>'
    assert HealthChecks().read(fromstring(probe)) == {"Type": "HTTPS"}
