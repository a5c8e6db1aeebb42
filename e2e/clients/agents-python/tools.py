"""Lets the model call a function of this program, twice, in the loop of OpenAI's Agents SDK: each turn is a response."""

import asyncio
import sys
from typing import Literal

from agents import Agent, Runner, function_tool, set_tracing_disabled

set_tracing_disabled(True)  # traces would go to OpenAI
# OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none


@function_tool
def gauge(place: Literal["Oslo", "Bonn"]) -> str:
    """Reads a gauge."""
    return {"Oslo": "2.0 m", "Bonn": "3.1 m"}[place]


async def main():
    agent = Agent(name="Ferryman", instructions="You know rivers.", model="demo", tools=[gauge])
    result = Runner.run_streamed(agent, "How high is the water in Bonn? [[rounds=2]]")
    async for event in result.stream_events():
        if event.type == "run_item_stream_event" and event.name == "tool_output":
            print(f"gauge = {event.item.output}")
        if event.type != "raw_response_event":
            continue
        print(event.data.sequence_number, event.data.type, file=sys.stderr)
        if event.data.type == "response.output_text.delta":
            print(event.data.delta, end="", flush=True)


asyncio.run(main())
