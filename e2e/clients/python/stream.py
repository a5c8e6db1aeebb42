"""Streams an answer: its text to stdout, the number and name of every event to stderr."""

import sys

from openai import OpenAI

client = OpenAI()  # OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

for event in client.responses.create(model="demo", input="Tell me about rivers.", stream=True):
    print(event.sequence_number, event.type, file=sys.stderr)
    if event.type == "response.output_text.delta":
        print(event.delta, end="", flush=True)
