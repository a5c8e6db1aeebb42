"""Asks before an MCP tool runs: the first response ends in a request: python approve.py yes|no"""

import sys

from openai import OpenAI

client = OpenAI()  # OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

tools = [
    {"type": "mcp", "server_label": "demo", "require_approval": {"always": {"tool_names": ["river_facts"]}}},
]


def turn(items, previous=None):
    with client.responses.stream(model="demo", input=items, tools=tools, previous_response_id=previous) as stream:
        for event in stream:
            print(event.sequence_number, event.type, file=sys.stderr)
        return stream.get_final_response()


first = turn("Which facts of the Danube do you know?")
answers = []
for item in first.output:
    if item.type == "mcp_approval_request":
        print(f"{item.name}({item.arguments})? {sys.argv[1]}")
        answers.append(
            {"type": "mcp_approval_response", "approval_request_id": item.id, "approve": sys.argv[1] == "yes"}
        )
print(turn(answers, first.id).output_text, end="")
