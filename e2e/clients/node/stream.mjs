// Streams an answer: its text to stdout, the number and name of every event to stderr.
import OpenAI from 'openai'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const events = await client.responses.create({ model: 'demo', input: 'Tell me about rivers.', stream: true })
for await (const event of events) {
  console.error(event.sequence_number, event.type)
  if (event.type === 'response.output_text.delta') process.stdout.write(event.delta)
}
