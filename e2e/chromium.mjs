import { chromium } from 'playwright-core'

// browse opens a page, gives it to use, and prints what that returns as JSON.
export async function browse(page_url, use) {
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
    console.log(JSON.stringify(await use(page)))
  } finally {
    await browser.close()
  }
}
