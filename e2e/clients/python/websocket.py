"""Holds a conversation over one WebSocket: the second question names the first answer's response."""

import sys

from openai import OpenAI

client = OpenAI()  # OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

previous = None
with client.responses.connect() as connection:
    for question in ("Tell me about the Danube.", "And the Elbe?"):
        connection.send(
            {"type": "response.create", "model": "demo", "input": question, "previous_response_id": previous}
        )
        for event in connection:
            print(event.sequence_number, event.type, file=sys.stderr)
            if event.type == "response.output_text.delta":
                print(event.delta, end="", flush=True)
            if event.type == "response.completed":
                previous = event.response.id
                print(f"\n{previous}")
                break
