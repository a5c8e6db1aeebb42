"""Feeds a response as its producer "python", over NATS: python producer.py RESPONSE"""

import asyncio
import json
import os
import sys

import nats
from nats.errors import Error
from nats.js.errors import APIError

NATS_URL = os.environ.get("NATS_URL", "nats://river:bank@127.0.0.1:4222")
EPOCH = 0  # whoever starts this producer anew for the same response raises it


def events(*pieces):
    """What an agent says: one message, piece by piece. What is left out, Midstream fills in."""
    message = {"id": "m", "type": "message", "role": "assistant", "content": []}
    yield {"type": "response.output_item.added", "item": message}
    for piece in pieces:
        yield {"type": "response.output_text.delta", "item_id": "m", "content_index": 0, "delta": piece}
    text = {"type": "output_text", "text": "".join(pieces)}
    yield {"type": "response.output_item.done", "item": message | {"content": [text]}}


async def store(js, subject, place, lines, last=False):
    """Returns once JetStream has stored the events, the first of which has this place. What is stored twice counts once."""
    headers = {"Midstream-Seq": str(place), "Midstream-Epoch": str(EPOCH)}
    if last:
        headers["Midstream-Last"] = "true"
    payload = "".join(json.dumps(event) + "\n" for event in lines).encode()
    pause = 0.05
    while True:
        try:
            return await js.publish(subject, payload, timeout=2, headers=dict(headers))
        except Error as error:
            if isinstance(error, APIError) and 400 <= error.code < 500:
                raise  # it would be refused again
            print(f"{error!r}: trying again", file=sys.stderr)
        await asyncio.sleep(pause)
        pause = min(2 * pause, 2)


async def main(response):
    connection = await nats.connect(NATS_URL, max_reconnect_attempts=-1)
    js = connection.jetstream()
    subject = f"ms.ingest.default.{response}.python"
    place = 0
    for event in events("Hello ", "from Python."):
        await store(js, subject, place, [event])  # one after the other: nothing overtakes, so no hole
        place += 1
    await store(js, subject, place, [], last=True)
    await connection.close()


asyncio.run(main(sys.argv[1]))
