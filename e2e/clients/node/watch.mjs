// Starts an answer in the background, streamed, loses the connection, and watches the rest from the last event it saw.
import OpenAI from 'openai'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

let id, last
function show(event) {
  last = event.sequence_number
  if (event.type === 'response.created') id = event.response.id
  if (event.type === 'response.output_text.delta') process.stdout.write(event.delta)
  console.error(event.sequence_number, event.type)
}

const input = 'Tell me about rivers.'
const first = await client.responses.create({ model: 'demo-slow', input, background: true, stream: true })
for await (const event of first) {
  show(event)
  if (last === 9) break // closes the connection: the train is in a tunnel
}

const rest = await client.responses.retrieve(id, { stream: true, starting_after: last })
for await (const event of rest) show(event)
