"""Holds one response to the types of the Open Responses specification 2026-04-24: stream.sse and object.json, as two
files. The types are generated from the specification's OpenAPI document (openresponses-types on PyPI). Every breach is a
line of stdout."""

import json
import sys

from openresponses_types import types
from pydantic import ValidationError


def event_types():
    """The specification's events by name: each class fixes its own `type`."""
    for name, model in vars(types).items():
        if name.endswith("StreamingEvent"):
            for kind in model.model_fields["type"].annotation:
                yield kind.value, model


def judge(where, model, value):
    try:
        model.model_validate(value)
    except ValidationError as error:
        for breach in error.errors(include_url=False, include_input=False):
            print(where, ".".join(map(str, breach["loc"])), breach["msg"])


known = dict(event_types())
stream, whole = open(sys.argv[1]).read(), json.load(open(sys.argv[2]))
for frame in stream.split("\n\n"):
    data = "".join(line[6:] for line in frame.split("\n") if line.startswith("data: "))
    if data and data != "[DONE]":
        event = json.loads(data)
        if event["type"] in known:
            judge(event["type"], known[event["type"]], event)
        else:
            print(event["type"], "is no event of the specification")
judge("the object", types.ResponseResource, whole)
