// Lists what a response was asked, page by page, and erases it.
import OpenAI from 'openai'

const client = new OpenAI() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

const { id } = await client.responses.create({
  model: 'demo',
  input: [
    { role: 'developer', content: 'You know rivers.' },
    { role: 'user', content: 'Tell me about the Danube.' },
    { role: 'assistant', content: 'It is long.' },
    { role: 'user', content: 'And the Elbe?' },
  ],
})
for await (const item of client.responses.inputItems.list(id, { limit: 3, order: 'asc' })) {
  console.log(`${item.role}: ${item.content[0].text}`)
}

await client.responses.delete(id)
const gone = await client.responses.retrieve(id).catch((error) => error)
console.log(gone.status)
