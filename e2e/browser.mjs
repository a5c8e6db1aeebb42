// Drives clients/browser/index.html in Chromium: node browser.mjs PAGE_URL STREAM_URL
// Prints what the page ended with, and what became of an EventSource that is never told to close.
import { browse } from './chromium.mjs'

const [page_url, stream_url] = process.argv.slice(2)

await browse(page_url, async (page) => {
  await page.waitForFunction(() => document.body.dataset.status, null, { timeout: 60_000 })
  const status = await page.evaluate(() => document.body.dataset.status)
  const text = await page.textContent('#text')

  const stopped = await page.evaluate((url) => new Promise((resolve) => {
    const events = new EventSource(url)
    let opened = 0
    events.onopen = () => opened++
    events.onerror = () => events.readyState === EventSource.CLOSED && resolve({ opened })
  }), stream_url)

  return { status, text, stopped }
})
