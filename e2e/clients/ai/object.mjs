// Asks the AI SDK for an object of a given shape.
import { createOpenAI } from '@ai-sdk/openai'
import { generateText, Output } from 'ai'
import { z } from 'zod'

const openai = createOpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const gauge = z.object({ place: z.enum(['Oslo', 'Bonn']), metres: z.number() })
const result = await generateText({
  model: openai.responses('demo'),
  prompt: 'The water in Bonn stands at 3 metres.',
  output: Output.object({ schema: gauge }),
})
console.log(JSON.stringify(result.output))
