// Lets a page of one origin use the API of another: node foreign.mjs PAGE_URL API_URL STREAM_URL
// Prints what the page could see of a stream that it creates with fetch, of a POST that asks for no preflight, and of an
// EventSource on STREAM_URL.
import { browse } from './chromium.mjs'

const [page_url, api_url, stream_url] = process.argv.slice(2)

await browse(page_url, async (page) => {
  const created = await page.evaluate(async (url) => {
    try {
      const answer = await fetch(url + '/v1/responses', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Authorization: 'Bearer none', 'X-Stainless-Lang': 'js' },
        body: JSON.stringify({ model: 'demo', input: 'Tell me about rivers.', stream: true }),
      })
      return { request_id: answer.headers.get('x-request-id'), stream: await answer.text() }
    } catch (error) {
      return { refused: String(error) }
    }
  }, api_url)

  const simple = await page.evaluate(async (url) => {
    const body = JSON.stringify({ model: 'demo', input: 'Start without asking.' })
    return (await fetch(url + '/v1/responses', { method: 'POST', mode: 'no-cors', body })).type
  }, api_url)

  const followed = await page.evaluate((url) => new Promise((resolve) => {
    const events = new EventSource(url)
    const seen = { opened: 0, text: '', status: '' }
    events.onopen = () => seen.opened++
    events.addEventListener('response.output_text.delta', (event) => { seen.text += JSON.parse(event.data).delta })
    events.addEventListener('response.completed', (event) => {
      events.close()
      resolve({ ...seen, status: JSON.parse(event.data).response.status })
    })
    events.onerror = () => events.readyState === EventSource.CLOSED && resolve(seen)
  }), stream_url)

  return { created, simple, followed }
})
