// Holds a conversation: the AI SDK sends what the model said before as item_references, which the gateway looks up.
import { createOpenAI } from '@ai-sdk/openai'
import { streamText } from 'ai'

const openai = createOpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const messages = []
for (const question of ['Tell me about the Danube.', 'And the Elbe?']) {
  messages.push({ role: 'user', content: question })
  const result = streamText({
    model: openai.responses('demo'),
    messages,
    include: { rawChunks: true },
    onError: ({ error }) => { throw error },
  })
  for await (const part of result.fullStream) {
    if (part.type === 'raw') console.error(part.rawValue.sequence_number, part.rawValue.type)
    if (part.type === 'text-delta') process.stdout.write(part.text)
  }
  messages.push(...(await result.response).messages)
}
