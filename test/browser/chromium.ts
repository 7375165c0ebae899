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

/** A page, and what it complained about: errors that nobody caught, and console.error. */
export interface WatchedPage {
  page: Page
  complaints: string[]
}

export async function openPage(browser: Browser, url: string): Promise<WatchedPage> {
  const page = await browser.newPage()
  const complaints: string[] = []
  page.on("pageerror", (error) => complaints.push(error.stack ?? error.message))
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text())
  })
  page.on("crash", () => complaints.push("the page crashed"))
  await page.goto(url)
  return { page, complaints }
}
