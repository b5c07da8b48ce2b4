"""``python -m ops.local.emulator --port N``: check the installed ministack, put the replacements in place, serve."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from ops.local.emulator.application import Emulator
from ops.local.emulator.compatibility import IncompatibleEmulatorError, check_compatible
from ops.local.emulator.gateway import Gateway, prepare_microburst
from ops.local.processes import HOST, hold_lifeline


def main(arguments: list[str] | None = None) -> NoReturn:
    parser = argparse.ArgumentParser(prog="ops.local.emulator", description="The emulated AWS of the local cloud.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--lag-ms", type=float, default=200.0, help="default lag of replication between two regions")
    parser.add_argument("--endpoint-port", type=int, default=0, help="where faults can be injected; 0: nowhere")
    parser.add_argument("--handlers-endpoint", default="", help="AWS endpoint for the functions (default: this port)")
    parser.add_argument(
        "--enforce-iam",
        action="store_true",
        help="let functions do only what their roles grant; the key `test` does all",
    )
    parser.add_argument("--state-dir", default="", help="where faults.json is (default: a directory for this run)")
    parser.add_argument("--cloud-id", default="", help="echoed by /_atoll/status")
    options = parser.parse_args(arguments)
    hold_lifeline()
    os.environ.update(
        GATEWAY_PORT=str(options.port),
        BIND_HOST="127.0.0.1",
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        # An authorizer that cannot fetch the pool's keys in time answers 401; a busy laptop may take a while.
        MINISTACK_APIGW_JWKS_TIMEOUT_SECONDS="30",
        # The keys that user pools sign with: of this cloud alone, and gone with it.
        STATE_DIR=str(Path(tempfile.gettempdir()) / "emulator"),
        AUTH=str(options.enforce_iam).lower(),
        AWS_ENDPOINT_URL=options.handlers_endpoint or f"http://127.0.0.1:{options.port}",
    )
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    try:
        check_compatible()
    except IncompatibleEmulatorError as error:
        sys.exit(str(error))
    prepare_microburst()
    state_dir = Path(options.state_dir or tempfile.mkdtemp(prefix="atoll-emulator-"))
    emulator = Emulator(lag_ms=options.lag_ms, cloud_id=options.cloud_id, state_dir=state_dir)
    emulator.install()
    # One loop serves all requests while threads wait on workers: it must not queue 5 ms behind each of them.
    sys.setswitchinterval(0.0005)
    # Every connection and every worker takes descriptors; 1024 is soon reached.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    gateway = Gateway(emulator.serve)
    emulator.rules.fault = gateway.fault
    emulator.outages.set_rules = gateway.faults.engine.set_rules
    asyncio.run(gateway.serve(HOST, options.port, options.endpoint_port))
    sys.exit(0)


if __name__ == "__main__":
    main()
