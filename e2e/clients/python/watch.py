"""Starts an answer in the background, streamed, loses the connection, and watches the rest from the last event it saw."""

import sys

from openai import OpenAI

client = OpenAI()  # OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none


def show(event):
    print(event.sequence_number, event.type, file=sys.stderr)
    if event.type == "response.output_text.delta":
        print(event.delta, end="", flush=True)


question = "Tell me about rivers."
with client.responses.create(model="demo-slow", input=question, background=True, stream=True) as first:
    for event in first:
        show(event)
        if event.type == "response.created":
            response_id = event.response.id
        if event.sequence_number == 9:
            break  # leaving the block closes the connection: the train is in a tunnel

for event in client.responses.retrieve(response_id, stream=True, starting_after=event.sequence_number):
    show(event)
