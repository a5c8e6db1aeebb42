// Lets the model call a function of this program, twice, in the loop of OpenAI's Agents SDK: each turn is a response.
import { Agent, run, setTracingDisabled, tool } from '@openai/agents'
import { z } from 'zod'

setTracingDisabled(true) // traces would go to OpenAI
// OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const levels = { Oslo: '2.0 m', Bonn: '3.1 m' }
const gauge = tool({
  name: 'gauge',
  description: 'Reads a gauge.',
  parameters: z.object({ place: z.enum(['Oslo', 'Bonn']) }),
  execute: async ({ place }) => levels[place],
})

const agent = new Agent({ name: 'Ferryman', instructions: 'You know rivers.', model: 'demo', tools: [gauge] })
const result = await run(agent, 'How high is the water in Bonn? [[rounds=2]]', { stream: true })
for await (const event of result) {
  if (event.type === 'run_item_stream_event' && event.name === 'tool_output') console.log(`gauge = ${event.item.output}`)
  if (event.type !== 'raw_model_stream_event') continue
  if (event.data.type === 'model') console.error(event.data.event.sequence_number, event.data.event.type)
  if (event.data.type === 'output_text_delta') process.stdout.write(event.data.delta)
}
await result.completed
