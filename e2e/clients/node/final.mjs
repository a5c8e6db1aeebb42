// Lets the model use an MCP tool, and waits for the finished response.
import OpenAI from 'openai'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const stream = client.responses.stream({
  model: 'demo',
  input: 'What is the weather on the river?',
  tools: [{ type: 'mcp', server_label: 'demo', require_approval: 'never' }],
})
stream.on('event', (event) => console.error(event.sequence_number, event.type))

const response = await stream.finalResponse()
for (const item of response.output) {
  if (item.type === 'mcp_call') console.log(`${item.server_label}.${item.name}(${item.arguments}) = ${item.output}`)
}
console.log(response.output_text)
