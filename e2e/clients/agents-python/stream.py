"""Runs an agent of OpenAI's Agents SDK, streamed: its text to stdout, the number and name of every event to stderr."""

import asyncio
import sys

from agents import Agent, Runner, set_tracing_disabled

set_tracing_disabled(True)  # traces would go to OpenAI
# OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none


async def main():
    agent = Agent(name="Ferryman", instructions="You know rivers.", model="demo")
    result = Runner.run_streamed(agent, "Tell me about rivers.")
    async for event in result.stream_events():
        if event.type != "raw_response_event":
            continue
        print(event.data.sequence_number, event.data.type, file=sys.stderr)
        if event.data.type == "response.output_text.delta":
            print(event.data.delta, end="", flush=True)


asyncio.run(main())
