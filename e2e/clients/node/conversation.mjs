// Holds a conversation that the gateway keeps under a name, lists what is in it, and erases it.
import OpenAI from 'openai'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const { id } = await client.conversations.create({ metadata: { topic: 'rivers' } })
for (const input of ['Tell me about the Danube.', 'And the Elbe?']) {
  const events = await client.responses.create({ model: 'demo', input, conversation: id, stream: true })
  for await (const event of events) console.error(event.sequence_number, event.type)
}
for await (const item of client.conversations.items.list(id, { limit: 3, order: 'asc' })) console.log(item.type, item.role)
console.log((await client.conversations.retrieve(id)).metadata.topic)

await client.conversations.delete(id)
const gone = await client.conversations.retrieve(id).catch((error) => error)
console.log(gone.status)
