// Streams an answer with the AI SDK: its text to stdout, the number and name of every event to stderr.
import { createOpenAI } from '@ai-sdk/openai'
import { streamText } from 'ai'

const openai = createOpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const result = streamText({
  model: openai.responses('demo'),
  prompt: 'Tell me about rivers.',
  include: { rawChunks: true },
  onError: ({ error }) => { throw error },
})
for await (const part of result.fullStream) {
  if (part.type === 'raw') console.error(part.rawValue.sequence_number, part.rawValue.type)
  if (part.type === 'text-delta') process.stdout.write(part.text)
}
