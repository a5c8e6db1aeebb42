"""Holds a conversation that the gateway keeps under a name, lists what is in it, and erases it."""

import sys

from openai import NotFoundError, OpenAI

client = OpenAI()  # OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

conversation = client.conversations.create(metadata={"topic": "rivers"})
for question in ("Tell me about the Danube.", "And the Elbe?"):
    for event in client.responses.create(model="demo", input=question, conversation=conversation.id, stream=True):
        print(event.sequence_number, event.type, file=sys.stderr)
for item in client.conversations.items.list(conversation.id, limit=3, order="asc"):
    print(item.type, item.role)
print(client.conversations.retrieve(conversation.id).metadata["topic"])

client.conversations.delete(conversation.id)
try:
    client.conversations.retrieve(conversation.id)
except NotFoundError as error:
    print(error.status_code)
