"""Asks for an object of a given shape."""

from typing import Literal

from openai import OpenAI
from pydantic import BaseModel

client = OpenAI()  # OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none


class Gauge(BaseModel):
    place: Literal["Oslo", "Bonn"]
    metres: int


response = client.responses.parse(model="demo", input="The water in Bonn stands at 3 metres.", text_format=Gauge)
print(response.output_parsed.model_dump_json())
