// Drives clients/browser/index.html in Chromium: node browser.mjs PAGE_URL STREAM_URL
// Prints what the page ended with, and what became of an EventSource that is never told to close.
import { chromium } from 'playwright-core'

const [page_url, stream_url] = process.argv.slice(2)
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
})
try {
  const page = await browser.newPage()
  await page.goto(page_url)
  await page.waitForFunction(() => document.body.dataset.status, null, { timeout: 60_000 })
  const status = await page.evaluate(() => document.body.dataset.status)
  const text = await page.textContent('#text')

  const stopped = await page.evaluate((url) => new Promise((resolve) => {
    const events = new EventSource(url)
    let opened = 0
    events.onopen = () => opened++
    events.onerror = () => events.readyState === EventSource.CLOSED && resolve({ opened })
  }), stream_url)

  console.log(JSON.stringify({ status, text, stopped }))
} finally {
  await browser.close()
}
