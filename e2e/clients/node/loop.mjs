// Lets the model call a function of this program, and sends only what came out: the gateway knows the rest.
import OpenAI from 'openai'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const levels = { Oslo: '2.0 m', Bonn: '3.1 m' }
const place = { type: 'string', enum: ['Oslo', 'Bonn'] }
const parameters = { type: 'object', properties: { place }, required: ['place'], additionalProperties: false }
const tools = [{ type: 'function', name: 'gauge', parameters, strict: true }]

let input = 'How high is the water in Bonn? [[rounds=2]]'
let previous_response_id
while (input.length > 0) {
  const stream = client.responses.stream({ model: 'demo', input, tools, previous_response_id })
  stream.on('event', (event) => console.error(event.sequence_number, event.type))
  const response = await stream.finalResponse()
  previous_response_id = response.id
  input = response.output
    .filter((item) => item.type === 'function_call')
    .map((call) => {
      const output = levels[JSON.parse(call.arguments).place]
      console.log(`${call.name}(${call.arguments}) = ${output}`)
      return { type: 'function_call_output', call_id: call.call_id, output }
    })
  if (input.length === 0) process.stdout.write(response.output_text)
}
