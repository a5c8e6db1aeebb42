// Leaves an answer to be made in the background, asks how far it is until it is there, and then replays its events.
import OpenAI from 'openai'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

let response = await client.responses.create({ model: 'demo-slow', input: 'Tell me about rivers.', background: true })
console.log(response.status)
while (response.status === 'queued' || response.status === 'in_progress') {
  await new Promise((wake) => setTimeout(wake, 100))
  response = await client.responses.retrieve(response.id)
}
console.log(response.status)
console.log(response.output_text)
for await (const event of await client.responses.retrieve(response.id, { stream: true })) {
  console.error(event.sequence_number, event.type)
}
