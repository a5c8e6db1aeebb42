// Holds a conversation over one WebSocket: the second question names the first answer's response.
import OpenAI from 'openai'
import { ResponsesWS } from 'openai/resources/responses/ws'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const questions = ['Tell me about the Danube.', 'And the Elbe?']
const socket = new ResponsesWS(client)
const ask = (previous_response_id) =>
  socket.send({ type: 'response.create', model: 'demo', input: questions.shift(), previous_response_id })

socket.on('error', (error) => { throw error })
socket.on('event', (event) => {
  console.error(event.sequence_number, event.type)
  if (event.type === 'response.output_text.delta') process.stdout.write(event.delta)
  if (event.type !== 'response.completed') return
  console.log(`\n${event.response.id}`)
  if (questions.length > 0) ask(event.response.id)
  else socket.close()
})
ask()
