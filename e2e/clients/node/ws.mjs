// Makes responses over one WebSocket: two lanes at once, then one after the other, from a response that is not stored.
import OpenAI from 'openai'
import { ResponsesWS } from 'openai/resources/responses/ws'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const ws = new ResponsesWS(client)
const waiting = {} // by lane: who waits for the end of its response

ws.on('event', (event) => {
  if (event.type === 'error') return // handled below
  console.error(event.stream_id, event.sequence_number, event.type)
  if (event.type === 'response.completed') waiting[event.stream_id](event.response)
})
ws.on('error', (error) => {
  console.error(error.message)
  process.exit(1)
})

function create(stream_id, params) {
  ws.send({ type: 'response.create', model: 'demo', stream_id, ...params })
  return new Promise((resolve) => (waiting[stream_id] = resolve))
}

function print(lane, response) {
  const text = response.output.flatMap((item) => item.content ?? []).map((part) => part.text)
  console.log(lane, response.id, text.join(''))
}

// Lanes run beside each other.
const [left, right] = await Promise.all([
  create('left', { input: 'Why change horses in midstream?' }),
  create('right', { input: 'What is the weather on the river?' }),
])
print('left', left)
print('right', right)

// What is not stored can be gone on from as long as the connection is open. This one only prepares.
const prepared = await create('left', { generate: false, store: false, input: 'The river is called Styx.' })
const answer = await create('left', { previous_response_id: prepared.id, input: 'What is it called?' })
print('left', answer)

ws.close()
