// Lets the model call a function of this program, twice, in a loop that the AI SDK runs: each turn is a response.
import { createOpenAI } from '@ai-sdk/openai'
import { isStepCount, streamText, tool } from 'ai'
import { z } from 'zod'

const openai = createOpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const levels = { Oslo: '2.0 m', Bonn: '3.1 m' }
const gauge = tool({
  description: 'Reads a gauge.',
  inputSchema: z.object({ place: z.enum(['Oslo', 'Bonn']) }),
  execute: async ({ place }) => levels[place],
})

const result = streamText({
  model: openai.responses('demo'),
  prompt: 'How high is the water in Bonn? [[rounds=2]]',
  tools: { gauge },
  stopWhen: isStepCount(5),
  include: { rawChunks: true },
  onError: ({ error }) => { throw error },
})
for await (const part of result.fullStream) {
  if (part.type === 'raw') console.error(part.rawValue.sequence_number, part.rawValue.type)
  if (part.type === 'tool-result') console.log(`${part.toolName}(${part.input.place}) = ${part.output}`)
  if (part.type === 'text-delta') process.stdout.write(part.text)
}
