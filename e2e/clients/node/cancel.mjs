// Cancels an answer at its first word, and hears the end of its stream.
import OpenAI from 'openai'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const input = 'Tell me about rivers. [[tokens=1000]]'
const events = await client.responses.create({ model: 'demo-slow', input, background: true, stream: true })
let id, cancelled, last
for await (const event of events) {
  console.error(event.sequence_number, event.type)
  if (event.type === 'response.created') id = event.response.id
  if (event.type === 'response.output_text.delta') cancelled ??= await client.responses.cancel(id)
  last = event
}
console.log(cancelled.status)
console.log(last.response.status)
