// Lets the model use an MCP server through the AI SDK: the gateway calls it, not this program.
import { createOpenAI } from '@ai-sdk/openai'
import { streamText } from 'ai'

const openai = createOpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const result = streamText({
  model: openai.responses('demo'),
  prompt: 'Please echo [[args={"message":"hello"}]]',
  tools: {
    everything: openai.tools.mcp({
      serverLabel: 'everything',
      serverUrl: process.env.MCP_URL, // the AI SDK wants one, even for a server of the gateway's configuration
      requireApproval: 'never',
    }),
  },
  include: { rawChunks: true },
  onError: ({ error }) => { throw error },
})
for await (const part of result.fullStream) {
  if (part.type === 'raw') console.error(part.rawValue.sequence_number, part.rawValue.type)
  if (part.type === 'tool-result') {
    const { serverLabel, name, arguments: args, output } = part.output
    console.log(`${serverLabel}.${name}(${args}) = ${output}`)
  }
  if (part.type === 'text-delta') process.stdout.write(part.text)
}
