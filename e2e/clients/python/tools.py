"""Lets the model call a function of this program, and tells it what came out, until it answers."""

import sys
from typing import Literal

from openai import OpenAI, pydantic_function_tool
from pydantic import BaseModel

client = OpenAI()  # OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

LEVELS = {"Oslo": "2.0 m", "Bonn": "3.1 m"}


class Gauge(BaseModel):
    place: Literal["Oslo", "Bonn"]


function = pydantic_function_tool(Gauge, name="gauge")["function"]
conversation = [{"role": "user", "content": "How high is the water in Bonn? [[rounds=2]]"}]
calling = True
while calling:
    with client.responses.stream(model="demo", input=conversation, tools=[{"type": "function", **function}]) as stream:
        for event in stream:
            print(event.sequence_number, event.type, file=sys.stderr)
        response = stream.get_final_response()
    conversation += response.output
    calling = [item for item in response.output if item.type == "function_call"]
    for call in calling:
        place = Gauge.model_validate_json(call.arguments).place
        print(f"{call.name}({place}) = {LEVELS[place]}")
        conversation.append({"type": "function_call_output", "call_id": call.call_id, "output": LEVELS[place]})
print(response.output_text, end="")
