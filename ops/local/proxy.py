"""The AWS endpoint of the local cloud: microburst in front of the emulator, so that API faults can be injected.

It passes everything through until a rule says otherwise (``ops.local.faults`` writes the rules). One internal of
microburst is replaced: the table that finds a service by a host name is built on the first request from all service
models of botocore, which takes 5 to 8 seconds. Callers reach this proxy as 127.0.0.1, so a host name never tells the
service (the signature does), and the table stays empty.

Run as ``python -m ops.local.proxy --port N --upstream URL``.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import logging
import sys
from typing import Any

from ops.local.processes import HOST, hold_lifeline

MICROBURST_VERSION = "0.10.0"


def replace_host_table() -> None:
    """Leave the table of host prefixes empty.

    Raises:
        SystemExit: the installed microburst is not the one that this was written for.
    """
    version = importlib.metadata.version("microburst")
    module: Any = importlib.import_module("microburst.detection.host")
    if version != MICROBURST_VERSION or not hasattr(module, "_endpoint_prefix_map"):
        sys.exit(f"microburst {version} does not fit ops/local/proxy.py: install microburst=={MICROBURST_VERSION}")
    module._endpoint_prefix_map = dict


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="ops.local.proxy", description="The AWS endpoint of the local cloud.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="the emulator")
    options = parser.parse_args(arguments)
    hold_lifeline()
    replace_host_table()
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)  # a line a call would cost more than the call
    cli = importlib.import_module("microburst.cli")
    sys.exit(cli.main(["--upstream", options.upstream, "--port", str(options.port), "--host", HOST, "--no-resign"]))


if __name__ == "__main__":
    main()
