// Replays a response that somebody else created, running or finished: node follow.mjs resp_…
import OpenAI from 'openai'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const stream = client.responses.stream({ response_id: process.argv[2] })
stream.on('event', (event) => console.error(event.sequence_number, event.type))
console.log((await stream.finalResponse()).output_text)
