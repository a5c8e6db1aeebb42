// Holds a conversation that the gateway remembers: the second question names the first answer's response.
import OpenAI from 'openai'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

let previous_response_id
for (const input of ['Tell me about the Danube.', 'And the Elbe?']) {
  const stream = client.responses.stream({ model: 'demo', input, previous_response_id })
  stream.on('event', (event) => {
    console.error(event.sequence_number, event.type)
    if (event.type === 'response.output_text.delta') process.stdout.write(event.delta)
  })
  previous_response_id = (await stream.finalResponse()).id
}
