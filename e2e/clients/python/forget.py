"""Lists what a response was asked, page by page, and erases it."""

from openai import NotFoundError, OpenAI

client = OpenAI()  # OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

response = client.responses.create(
    model="demo",
    input=[
        {"role": "developer", "content": "You know rivers."},
        {"role": "user", "content": "Tell me about the Danube."},
        {"role": "assistant", "content": "It is long."},
        {"role": "user", "content": "And the Elbe?"},
    ],
)
for item in client.responses.input_items.list(response.id, limit=3, order="asc"):
    print(f"{item.role}: {item.content[0].text}")

client.responses.delete(response.id)
try:
    client.responses.retrieve(response.id)
except NotFoundError as error:
    print(error.status_code)
