// Lets the model call a function of this program, twice: LangChain sends the whole conversation each time.
import { HumanMessage } from '@langchain/core/messages'
import { tool } from '@langchain/core/tools'
import { ChatOpenAI } from '@langchain/openai'
import { z } from 'zod'

const levels = { Oslo: '2.0 m', Bonn: '3.1 m' }
const gauge = tool(async ({ place }) => levels[place], {
  name: 'gauge',
  description: 'Reads a gauge.',
  schema: z.object({ place: z.enum(['Oslo', 'Bonn']) }),
})
const model = new ChatOpenAI({ // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none
  model: 'demo',
  useResponsesApi: true,
  streaming: process.argv[2] === 'streamed',
}).bindTools([gauge])

const messages = [new HumanMessage('How high is the water in Bonn? [[rounds=2]]')]
let answer
do {
  answer = await model.invoke(messages)
  messages.push(answer)
  for (const call of answer.tool_calls) {
    const result = await gauge.invoke(call)
    console.log(`${call.name}(${call.args.place}) = ${result.content}`)
    messages.push(result)
  }
} while (answer.tool_calls.length > 0)
process.stdout.write(answer.text)
