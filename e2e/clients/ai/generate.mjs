// Asks the AI SDK for a whole answer: the id of its response, why it ended, what it cost, and its text.
import { createOpenAI } from '@ai-sdk/openai'
import { generateText } from 'ai'

const openai = createOpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const result = await generateText({ model: openai.responses('demo'), prompt: 'Tell me about rivers.' })
console.log(result.response.id, result.finishReason, result.usage.inputTokens, result.usage.outputTokens)
console.log(result.text)
