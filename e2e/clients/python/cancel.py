"""Cancels an answer at its first word, and hears the end of its stream."""

import sys

from openai import OpenAI

client = OpenAI()  # OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

question = "Tell me about rivers. [[tokens=1000]]"
cancelled = None
for event in client.responses.create(model="demo-slow", input=question, background=True, stream=True):
    print(event.sequence_number, event.type, file=sys.stderr)
    if event.type == "response.created":
        response_id = event.response.id
    if event.type == "response.output_text.delta" and not cancelled:
        cancelled = client.responses.cancel(response_id)
print(cancelled.status)
print(event.response.status)
