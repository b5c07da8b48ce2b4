"""``python -m tests.bench.scan SHAPE DIRECTORY``: the stub's process; prints its two ports, plain and TLS, as JSON."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from contextlib import suppress
from pathlib import Path

from tests.bench.scan.certificate import write_certificate
from tests.bench.scan.connection import Connection
from tests.bench.scan.service import Service
from tests.bench.scan.tables import Shape


def _accept(service: Service, listening: socket.socket, context: ssl.SSLContext | None) -> None:
    def serve(sock: socket.socket) -> None:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 21)
            Connection(service, context.wrap_socket(sock, server_side=True) if context else sock).serve()

    while True:
        threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()


def main() -> None:
    shape, directory = Shape.from_json(sys.argv[1]), Path(sys.argv[2])
    service = Service(shape)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write_certificate(directory))
    plain, tls = (socket.create_server(("127.0.0.1", 0), backlog=256) for _ in range(2))
    sys.stdout.write(json.dumps([plain.getsockname()[1], tls.getsockname()[1]]) + "\n")
    sys.stdout.flush()
    threading.Thread(target=_accept, args=(service, tls, context), daemon=True).start()
    _accept(service, plain, None)


if __name__ == "__main__":
    main()
