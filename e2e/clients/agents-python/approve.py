"""Asks before an MCP tool runs: the agents library calls a function, which answers for the user: python approve.py yes|no"""

import asyncio
import sys

from agents import Agent, HostedMCPTool, Runner, set_tracing_disabled

set_tracing_disabled(True)  # traces would go to OpenAI
# OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none


def decide(request):
    print(f"{request.data.name}({request.data.arguments})? {sys.argv[1]}")
    return {"approve": sys.argv[1] == "yes"}


async def main():
    demo = HostedMCPTool(
        tool_config={"type": "mcp", "server_label": "demo", "require_approval": "always"},
        on_approval_request=decide,
    )
    agent = Agent(name="Ferryman", instructions="You know rivers.", model="demo", tools=[demo])
    result = Runner.run_streamed(agent, "Which facts of the Danube do you know?")
    async for event in result.stream_events():
        if event.type != "raw_response_event":
            continue
        print(event.data.sequence_number, event.data.type, file=sys.stderr)
        if event.data.type == "response.output_text.delta":
            print(event.data.delta, end="", flush=True)


asyncio.run(main())
