/** Chromium for tests: the distribution's, never downloaded. */
import { type Browser, chromium, type Page } from "playwright-core"
import { chromiumPath } from "../../scripts/setup.ts"

const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
const quiet = ["--disable-component-update", "--disable-sync"]

export type { Browser, Page }

export function openBrowser(): Promise<Browser> {
  const executablePath = chromiumPath()
  if (executablePath === null) throw new Error("Chromium is missing: install it, or set STATESPACE_CHROMIUM to its path.")
  return chromium.launch({ executablePath, headless: true, args: [...flags, ...quiet] })
}

export interface WatchedPage {
  page: Page
  /** Errors that nobody caught, and the end of the page's process. */
  errors: string[]
  /** The same and what the console shows as an error, such as a file that was not found. */
  complaints: string[]
}

export async function openPage(browser: Browser, url: string): Promise<WatchedPage> {
  const page = await browser.newPage()
  const errors: string[] = []
  const complaints: string[] = []
  const note = (text: string): void => {
    errors.push(text)
    complaints.push(text)
  }
  page.on("pageerror", (error) => note(error.stack ?? error.message))
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text())
  })
  page.on("crash", () => note("The page's process has crashed."))
  await page.goto(url)
  return { page, errors, complaints }
}
