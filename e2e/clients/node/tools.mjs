// Lets the model call a function of this program, and tells it what came out, until it answers. The whole conversation
// is sent each time.
import OpenAI from 'openai'
import { zodResponsesFunction } from 'openai/helpers/zod'
import { z } from 'zod'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const levels = { Oslo: '2.0 m', Bonn: '3.1 m' }
const gauge = zodResponsesFunction({ name: 'gauge', parameters: z.object({ place: z.enum(['Oslo', 'Bonn']) }) })

const input = [{ role: 'user', content: 'How high is the water in Bonn? [[rounds=2]]' }]
let response
do {
  const stream = client.responses.stream({ model: 'demo', input, tools: [gauge] })
  stream.on('event', (event) => console.error(event.sequence_number, event.type))
  response = await stream.finalResponse()
  for (const item of response.output) {
    input.push(item)
    if (item.type !== 'function_call') continue
    const { place } = item.parsed_arguments
    console.log(`${item.name}(${place}) = ${levels[place]}`)
    input.push({ type: 'function_call_output', call_id: item.call_id, output: levels[place] })
  }
} while (response.output.some((item) => item.type === 'function_call'))
process.stdout.write(response.output_text)
