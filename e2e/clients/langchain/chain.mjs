// Holds a conversation that the gateway remembers: the second question names the first answer's response.
import { ChatOpenAI } from '@langchain/openai'

const model = new ChatOpenAI({ // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none
  model: 'demo',
  useResponsesApi: true,
})
const first = await model.invoke('Tell me about the Danube.')
process.stdout.write(first.text)
const second = await model.invoke('And the Elbe?', { previous_response_id: first.response_metadata.id })
process.stdout.write(second.text)
