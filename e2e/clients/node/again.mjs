// Asks twice with one Idempotency-Key, and gets one response; with another question under that key it is refused.
import OpenAI from 'openai'

const client = new OpenAI({ maxRetries: 0 }) // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const headers = { 'Idempotency-Key': crypto.randomUUID() }
const ask = (input) => client.responses.create({ model: 'demo', input }, { headers })

const first = await ask('Tell me about the Danube.')
const second = await ask('Tell me about the Danube.')
console.log(second.id === first.id && second.output_text === first.output_text)
const other = await ask('And the Elbe?').catch((error) => error)
console.log(other.status)
