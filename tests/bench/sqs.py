"""A stand-in for SQS that does nothing but what a redrive asks of it, so that the client is what is measured.

``python -m tests.bench.sqs LATENCY_MS`` prints its port. Queues are made by name as they are asked for.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
import uuid
from collections import deque
from typing import Any

from aiohttp import web

Answer = dict[str, Any]


class Queue:
    """Messages, waiting and hidden; what is hidden comes back only when it is given back."""

    def __init__(self) -> None:
        self.waiting: deque[Answer] = deque()
        self.hidden: dict[str, Answer] = {}
        self._receipts = itertools.count()

    def send(self, entry: Answer) -> Answer:
        message_id = str(uuid.uuid4())
        attributes = entry.get("MessageAttributes", {})
        self.waiting.append({"MessageId": message_id, "Body": entry["MessageBody"], "MessageAttributes": attributes})
        return {"MessageId": message_id}

    def receive(self, request: Answer) -> Answer:
        found = []
        for _ in range(min(request.get("MaxNumberOfMessages", 1), len(self.waiting))):
            message = self.waiting.popleft()
            receipt = f"{next(self._receipts):0350d}"  # as long as one of SQS
            self.hidden[receipt] = message
            found.append({**message, "ReceiptHandle": receipt, "Attributes": {"SentTimestamp": "1764000000000"}})
        return {"Messages": found} if found else {}

    def delete(self, entry: Answer) -> Answer:
        self.hidden.pop(entry["ReceiptHandle"], None)
        return {}

    def show(self, entry: Answer) -> Answer:
        if (message := self.hidden.pop(entry["ReceiptHandle"], None)) is not None:
            self.waiting.append(message)
        return {}


class Server:
    """SQS's JSON protocol, for the calls of a redrive."""

    def __init__(self, latency_s: float) -> None:
        self._latency_s = latency_s
        self._queues: dict[str, Queue] = {}

    async def answer(self, request: web.Request) -> web.Response:
        action = request.headers["X-Amz-Target"].rpartition(".")[2]
        asked = json.loads(await request.read())
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        body = await self._do(action, asked, f"http://{request.host}/000000000000/")
        return web.Response(body=json.dumps(body), content_type="application/x-amz-json-1.0")

    async def _do(self, action: str, asked: Answer, base: str) -> Answer:
        if action == "GetQueueUrl":
            return {"QueueUrl": base + asked["QueueName"]}
        queue = self._queues.setdefault(asked["QueueUrl"].rpartition("/")[2], Queue())
        batch = {
            "SendMessageBatch": queue.send,
            "DeleteMessageBatch": queue.delete,
            "ChangeMessageVisibilityBatch": queue.show,
        }.get(action)
        if batch is not None:
            return {"Successful": [{"Id": entry["Id"], **batch(entry)} for entry in asked["Entries"]], "Failed": []}
        if action == "GetQueueAttributes":
            counts = {"": len(queue.waiting), "NotVisible": len(queue.hidden), "Delayed": 0}
            return {"Attributes": {f"ApproximateNumberOfMessages{name}": str(n) for name, n in counts.items()}}
        if action == "ReceiveMessage":
            end = time.monotonic() + asked.get("WaitTimeSeconds", 0)
            while not (answer := queue.receive(asked)) and time.monotonic() < end:
                await asyncio.sleep(0.01)
            return answer
        return {"SendMessage": queue.send, "DeleteMessage": queue.delete}[action](asked)


async def serve(latency_s: float) -> None:
    """Until the process is ended."""
    application = web.Application(client_max_size=8 * 1024 * 1024)
    application.router.add_post("/{path:.*}", Server(latency_s).answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) / 1000))
