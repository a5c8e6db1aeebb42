"""Leaves an answer to be made in the background, asks how far it is until it is there, and then replays its events."""

import sys
import time

from openai import OpenAI

client = OpenAI()  # OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

response = client.responses.create(model="demo-slow", input="Tell me about rivers.", background=True)
print(response.status)
while response.status in ("queued", "in_progress"):
    time.sleep(0.1)
    response = client.responses.retrieve(response.id)
print(response.status)
print(response.output_text)
for event in client.responses.retrieve(response.id, stream=True):
    print(event.sequence_number, event.type, file=sys.stderr)
