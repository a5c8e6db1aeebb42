// Streams an answer with LangChain: each chunk of text on a line of stderr, in JSON, and the whole on stdout.
import { ChatOpenAI } from '@langchain/openai'

const model = new ChatOpenAI({ // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none
  model: 'demo',
  useResponsesApi: true,
})
for await (const chunk of await model.stream('Tell me about rivers.')) {
  if (chunk.text) console.error(JSON.stringify(chunk.text))
  process.stdout.write(chunk.text)
}
