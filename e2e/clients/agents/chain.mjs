// Runs two turns of a conversation that the gateway remembers: the second sends the first one's id and the new question.
import { Agent, run, setTracingDisabled } from '@openai/agents'

setTracingDisabled(true) // traces would go to OpenAI
// OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const agent = new Agent({ name: 'Ferryman', instructions: 'You know rivers.', model: 'demo' })
let previousResponseId
for (const question of ['Tell me about the Danube.', 'And the Elbe?']) {
  const result = await run(agent, question, { stream: true, previousResponseId })
  for await (const event of result) {
    if (event.type !== 'raw_model_stream_event') continue
    if (event.data.type === 'model') console.error(event.data.event.sequence_number, event.data.event.type)
    if (event.data.type === 'output_text_delta') process.stdout.write(event.data.delta)
  }
  await result.completed
  previousResponseId = result.lastResponseId
}
