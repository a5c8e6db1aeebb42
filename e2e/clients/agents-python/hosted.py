"""Lets an agent use an MCP server of the gateway's configuration, named by its label alone."""

import asyncio
import sys

from agents import Agent, HostedMCPTool, Runner, set_tracing_disabled

set_tracing_disabled(True)  # traces would go to OpenAI
# OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none


async def main():
    demo = HostedMCPTool(tool_config={"type": "mcp", "server_label": "demo", "require_approval": "never"})
    agent = Agent(name="Ferryman", instructions="You know rivers.", model="demo", tools=[demo])
    result = Runner.run_streamed(agent, "Which facts of the Danube do you know?")
    async for event in result.stream_events():
        if event.type == "run_item_stream_event" and event.item.raw_item.type == "mcp_call":
            call = event.item.raw_item
            print(f"{call.name}({call.arguments}) = {call.output}")
        if event.type != "raw_response_event":
            continue
        print(event.data.sequence_number, event.data.type, file=sys.stderr)
        if event.data.type == "response.output_text.delta":
            print(event.data.delta, end="", flush=True)


asyncio.run(main())
