// Asks before an MCP tool runs: the first response ends in a request, the second goes on with the user's answer. The AI
// SDK sends neither the request nor previous_response_id, but an item_reference to the request.
// node approve.mjs yes|no
import { createOpenAI } from '@ai-sdk/openai'
import { streamText } from 'ai'

const openai = createOpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none
const approved = process.argv[2] === 'yes'

async function turn(messages) {
  const result = streamText({
    model: openai.responses('demo'),
    messages,
    tools: {
      everything: openai.tools.mcp({
        serverLabel: 'everything',
        serverUrl: process.env.MCP_URL,
        requireApproval: 'always',
      }),
    },
    include: { rawChunks: true },
    onError: ({ error }) => { throw error },
  })
  const asked = []
  for await (const part of result.fullStream) {
    if (part.type === 'raw') console.error(part.rawValue.sequence_number, part.rawValue.type)
    if (part.type === 'tool-approval-request') asked.push(part)
    if (part.type === 'tool-result') console.log(`${part.toolName} = ${part.output.output}`)
    if (part.type === 'text-delta') process.stdout.write(part.text)
  }
  messages.push(...(await result.response).messages)
  return asked
}

const messages = [{ role: 'user', content: 'Please echo [[args={"message":"hello"}]]' }]
const asked = await turn(messages)
for (const { approvalId, toolCall } of asked) {
  console.log(`${toolCall.toolName}(${JSON.stringify(toolCall.input)})? ${approved ? 'yes' : 'no'}`)
  const answer = { type: 'tool-approval-response', approvalId, approved, providerExecuted: true }
  messages.push({ role: 'tool', content: [answer] })
}
await turn(messages)
