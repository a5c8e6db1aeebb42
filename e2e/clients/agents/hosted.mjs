// Lets an agent use an MCP server of the gateway's configuration, named by its label alone.
import { Agent, hostedMcpTool, run, setTracingDisabled } from '@openai/agents'

setTracingDisabled(true) // traces would go to OpenAI
// OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const agent = new Agent({
  name: 'Ferryman',
  instructions: 'You know rivers.',
  model: 'demo',
  tools: [hostedMcpTool({ serverLabel: 'demo', requireApproval: 'never' })],
})
const result = await run(agent, 'Which facts of the Danube do you know?', { stream: true })
for await (const event of result) {
  if (event.type === 'run_item_stream_event' && event.item.rawItem?.providerData?.type === 'mcp_call') {
    const { providerData, output } = event.item.rawItem
    console.log(`${providerData.name}(${providerData.arguments}) = ${output}`)
  }
  if (event.type !== 'raw_model_stream_event') continue
  if (event.data.type === 'model') console.error(event.data.event.sequence_number, event.data.event.type)
  if (event.data.type === 'output_text_delta') process.stdout.write(event.data.delta)
}
await result.completed
