"""The emulated AWS as one ASGI application: ministack with the replacements in place, FIS, ticks, the control part."""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

from ops.local.emulator import workerlog
from ops.local.emulator.alarms import Alarms
from ops.local.emulator.apis import Apis
from ops.local.emulator.archives import Archives
from ops.local.emulator.compatibility import owner_of
from ops.local.emulator.conditions import Conditions
from ops.local.emulator.control import PREFIX, Control
from ops.local.emulator.enforcement import Enforcement
from ops.local.emulator.executions import Executions
from ops.local.emulator.exports import Exports
from ops.local.emulator.fis import Experiments, FaultInjection, Resources
from ops.local.emulator.gateway import Receive, Send
from ops.local.emulator.healthchecks import HealthChecks
from ops.local.emulator.invocations import Invocations, is_asynchronous
from ops.local.emulator.lambdas import Lambdas
from ops.local.emulator.metrics import Metrics
from ops.local.emulator.outages import Outages
from ops.local.emulator.queues import Queues
from ops.local.emulator.replacements import REPLACEMENTS
from ops.local.emulator.replays import Replays
from ops.local.emulator.rules import RuleTargets
from ops.local.emulator.statistics import Statistics
from ops.local.emulator.tables import GlobalTables
from ops.local.emulator.userpools import UserPools
from ops.local.record import Record

TICK_S = 1.0

logger = logging.getLogger("atoll")


class Emulator:
    """Holds the parts that replace internals of ministack; each takes at its making what it stands in for."""

    def __init__(self, *, lag_ms: float, cloud_id: str, state_dir: Path) -> None:
        self.metrics = Metrics()
        self.statistics = Statistics()
        self.alarms = Alarms()
        self.tables = GlobalTables(lag_ms, self.metrics.replication)
        self.exports = Exports()
        self.outages = Outages(self.tables.change)
        self.rules = RuleTargets(self.outages, self.metrics.rule)
        self.archives = Archives(self.metrics.rule)
        self.replays = Replays()
        self.queues = Queues()
        self.invocations = Invocations()
        self.lambdas = Lambdas(self.outages, self.metrics)
        self.workerlog = workerlog  # plain functions: they become methods of the emulator's workers
        self.apis = Apis(self.outages, self.metrics)
        self.userpools = UserPools()
        self.conditions = Conditions()
        self.enforcement = Enforcement()
        self.healthchecks = HealthChecks()
        self.executions = Executions()
        self.fis = FaultInjection(Experiments(Record(state_dir), self.outages.apply, Resources()))
        self._control = Control(
            cloud_id=cloud_id,
            outages=self.outages,
            metrics=self.metrics,
            tables=self.tables,
            rules=self.rules,
            replays=self.replays,
            faults_changed=self.fis.experiments.wake,
        )
        self._ministack = importlib.import_module("ministack.app").app
        self._on_tick: tuple[Callable[[], None], ...] = (
            self.rules.tick,
            lambda: self.queues.tasks.tick(TICK_S),
            lambda: self.metrics.tick(time.time()),
            lambda: self.alarms.tick(time.time()),
        )
        self._ticks: asyncio.Task[None] | None = None

    def install(self) -> None:
        """Put every replacement in its place."""
        for one in REPLACEMENTS:
            owner, name = owner_of(one.target)
            setattr(owner, name, attrgetter(one.by)(self))

    async def serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI application: the control endpoint, FIS, else ministack."""
        if scope["type"] == "lifespan":
            self._ticks = asyncio.get_running_loop().create_task(self._tick())
            self.fis.experiments.keep()
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await self._control.serve(scope, receive, send)
            return
        if scope["type"] == "http" and self.fis.is_asked(scope):
            await self.fis.serve(scope, receive, send)
            return
        if is_asynchronous(scope):
            await self.invocations.serve(self._ministack, scope, receive, send)
            return
        await self._ministack(scope, receive, send)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for tick in self._on_tick:
                try:
                    tick()
                except Exception:  # the emulator must outlive a metric that could not be stored
                    logger.exception("tick failed")
