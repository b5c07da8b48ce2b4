"""``python -m ops.local.edge --port N --endpoint URL --zone Z --record NAME --home-region R``."""

from __future__ import annotations

import argparse
import logging

from aiohttp import web

from ops.local.edge.server import Edge, make_app
from ops.local.processes import HOST, hold_lifeline


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="ops.local.edge", description="Plays Route 53 and the custom domain.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--endpoint", required=True, help="the emulator")
    parser.add_argument("--zone", required=True)
    parser.add_argument("--record", required=True)
    parser.add_argument("--home-region", required=True)
    options = parser.parse_args(arguments)
    hold_lifeline()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    edge = Edge(endpoint=options.endpoint, zone=options.zone, record=options.record, home_region=options.home_region)
    web.run_app(make_app(edge), host=HOST, port=options.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
