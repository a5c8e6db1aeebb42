// Asks for an object of a given shape.
import OpenAI from 'openai'
import { zodTextFormat } from 'openai/helpers/zod'
import { z } from 'zod'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const gauge = z.object({ place: z.enum(['Oslo', 'Bonn']), metres: z.number() })
const response = await client.responses.parse({
  model: 'demo',
  input: 'The water in Bonn stands at 3 metres.',
  text: { format: zodTextFormat(gauge, 'gauge') },
})
console.log(JSON.stringify(response.output_parsed))
