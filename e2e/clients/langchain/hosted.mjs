// Lets the model use an MCP server of the gateway's configuration, named by its label alone.
import { ChatOpenAI } from '@langchain/openai'

const model = new ChatOpenAI({ // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none
  model: 'demo',
  useResponsesApi: true,
})
const answer = await model.invoke('Which facts of the Danube do you know?', {
  tools: [{ type: 'mcp', server_label: 'demo', require_approval: 'never' }],
})
for (const item of answer.additional_kwargs.tool_outputs) {
  if (item.type === 'mcp_call') console.log(`${item.name}(${item.arguments}) = ${item.output}`)
}
process.stdout.write(answer.text)
