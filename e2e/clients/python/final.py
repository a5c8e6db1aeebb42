"""Lets the model use an MCP tool, and waits for the finished response."""

import sys

from openai import OpenAI

client = OpenAI()  # OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

with client.responses.stream(
    model="demo",
    input="What is the weather on the river?",
    tools=[{"type": "mcp", "server_label": "demo", "require_approval": "never"}],
) as stream:
    for event in stream:
        print(event.sequence_number, event.type, file=sys.stderr)
    response = stream.get_final_response()

for item in response.output:
    if item.type == "mcp_call":
        print(f"{item.server_label}.{item.name}({item.arguments}) = {item.output}")
print(response.output_text)
