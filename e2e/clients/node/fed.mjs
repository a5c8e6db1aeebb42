// Follows a response that others feed, and prints the items that it has in the end: node fed.mjs resp_…
import OpenAI from 'openai'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const stream = client.responses.stream({ response_id: process.argv[2] })
stream.on('event', (event) => console.error(event.sequence_number, event.type))

try {
  const response = await stream.finalResponse()
  for (const item of response.output) console.log(item.type, item.tools?.[0].name ?? item.output ?? response.output_text)
} catch (error) {
  console.log(`${error.constructor.name}: ${error.message}`)
  process.exitCode = 1
}
