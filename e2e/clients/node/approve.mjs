// Asks before an MCP tool runs: the first response ends in a request, the second goes on with the user's answer.
// node approve.mjs yes|no
import OpenAI from 'openai'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const tools = [{ type: 'mcp', server_label: 'demo', require_approval: { always: { tool_names: ['river_facts'] } } }]

async function turn(input, previous_response_id) {
  const stream = client.responses.stream({ model: 'demo', input, tools, previous_response_id })
  stream.on('event', (event) => console.error(event.sequence_number, event.type))
  return stream.finalResponse()
}

const first = await turn('Which facts of the Danube do you know?')
const answers = first.output
  .filter((item) => item.type === 'mcp_approval_request')
  .map((request) => {
    console.log(`${request.name}(${request.arguments})? ${process.argv[2]}`)
    return { type: 'mcp_approval_response', approval_request_id: request.id, approve: process.argv[2] === 'yes' }
  })
const second = await turn(answers, first.id)
process.stdout.write(second.output_text)
