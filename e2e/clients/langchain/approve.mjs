// Asks before an MCP tool runs: the first answer holds a request, the second question the user's word on it.
// node approve.mjs yes|no
import { HumanMessage } from '@langchain/core/messages'
import { ChatOpenAI } from '@langchain/openai'

const model = new ChatOpenAI({ // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none
  model: 'demo',
  useResponsesApi: true,
})
const tools = [{ type: 'mcp', server_label: 'demo', require_approval: 'always' }]
const first = await model.invoke('Which facts of the Danube do you know?', { tools })
const answers = first.additional_kwargs.tool_outputs
  .filter((item) => item.type === 'mcp_approval_request')
  .map((item) => {
    console.log(`${item.name}(${item.arguments})? ${process.argv[2]}`)
    return { type: 'mcp_approval_response', approval_request_id: item.id, approve: process.argv[2] === 'yes' }
  })
const second = await model.invoke([new HumanMessage({ content: answers })], {
  tools,
  previous_response_id: first.response_metadata.id,
})
process.stdout.write(second.text)
