"""Holds a conversation that the gateway remembers: the second question names the first answer's response."""

import sys

from openai import OpenAI

client = OpenAI()  # OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

previous = None
for question in ("Tell me about the Danube.", "And the Elbe?"):
    with client.responses.stream(model="demo", input=question, previous_response_id=previous) as stream:
        for event in stream:
            print(event.sequence_number, event.type, file=sys.stderr)
            if event.type == "response.output_text.delta":
                print(event.delta, end="", flush=True)
        previous = stream.get_final_response().id
