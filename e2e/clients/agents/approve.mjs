// Asks before an MCP tool runs: the run stops with an interruption, and goes on when the user has answered.
// node approve.mjs yes|no
import { Agent, hostedMcpTool, run, setTracingDisabled } from '@openai/agents'

setTracingDisabled(true) // traces would go to OpenAI
// OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const agent = new Agent({
  name: 'Ferryman',
  instructions: 'You know rivers.',
  model: 'demo',
  tools: [hostedMcpTool({ serverLabel: 'demo', requireApproval: 'always' })],
})

async function show(result) {
  for await (const event of result) {
    if (event.type !== 'raw_model_stream_event') continue
    if (event.data.type === 'model') console.error(event.data.event.sequence_number, event.data.event.type)
    if (event.data.type === 'output_text_delta') process.stdout.write(event.data.delta)
  }
  await result.completed
}

const first = await run(agent, 'Which facts of the Danube do you know?', { stream: true })
await show(first)
for (const item of first.interruptions) {
  console.log(`${item.rawItem.providerData.name}(${item.rawItem.providerData.arguments})? ${process.argv[2]}`)
  if (process.argv[2] === 'yes') first.state.approve(item)
  else first.state.reject(item)
}
await show(await run(agent, first.state, { stream: true }))
