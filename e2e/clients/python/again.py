"""Asks twice with one Idempotency-Key, and gets one response; with another question under that key it is refused."""

import uuid

from openai import ConflictError, OpenAI

client = OpenAI(max_retries=0)  # OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

headers = {"Idempotency-Key": str(uuid.uuid4())}
first = client.responses.create(model="demo", input="Tell me about the Danube.", extra_headers=headers)
second = client.responses.create(model="demo", input="Tell me about the Danube.", extra_headers=headers)
print(str(second.id == first.id and second.output_text == first.output_text).lower())
try:
    client.responses.create(model="demo", input="And the Elbe?", extra_headers=headers)
except ConflictError as error:
    print(error.status_code)
