// Feeds a response as its producer "node", over NATS: node producer.mjs RESPONSE
import { connect, headers } from '@nats-io/transport-node'
import { jetstream, JetStreamApiError } from '@nats-io/jetstream'

const servers = process.env.NATS_URL ?? 'nats://river:bank@127.0.0.1:4222'
const epoch = 0 // whoever starts this producer anew for the same response raises it

// What an agent says: one message, piece by piece. What is left out, Midstream fills in.
function* events(...pieces) {
  const message = { id: 'm', type: 'message', role: 'assistant', content: [] }
  yield { type: 'response.output_item.added', item: message }
  for (const delta of pieces) yield { type: 'response.output_text.delta', item_id: 'm', content_index: 0, delta }
  const content = [{ type: 'output_text', text: pieces.join('') }]
  yield { type: 'response.output_item.done', item: { ...message, content } }
}

// Returns once JetStream has stored the events, the first of which has this place. What is stored twice counts once.
async function store(place, lines, last = false) {
  const h = headers()
  h.set('Midstream-Seq', String(place))
  h.set('Midstream-Epoch', String(epoch))
  if (last) h.set('Midstream-Last', 'true')
  const payload = lines.map((event) => JSON.stringify(event) + '\n').join('')
  for (let pause = 50; ; pause = Math.min(2 * pause, 2000)) {
    try {
      return await js.publish(subject, payload, { headers: h, timeout: 2000 })
    } catch (error) {
      if (error instanceof JetStreamApiError && error.status >= 400 && error.status < 500) throw error // it would be refused again
      console.error(`${error}: trying again`)
    }
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}

const { username: user, password: pass, host } = new URL(servers)
const connection = await connect({ servers: host, user, pass, maxReconnectAttempts: -1 })
const js = jetstream(connection)
const subject = `ms.ingest.default.${process.argv[2]}.node`

let place = 0
for (const event of events('Hello ', 'from Node.')) {
  await store(place, [event]) // one after the other: nothing overtakes, so no hole
  place += 1
}
await store(place, [], true)
await connection.close()
