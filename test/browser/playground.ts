/** What the tests of the playground do again and again: load, generate, drop, and look at the page with a few rules of accessibility. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../../scripts/setup.ts"
import type { Page } from "./chromium.ts"

const folder = join(root, "models", "rustbook-mamba1-2.8m")
const names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
export const modelFiles: { name: string; path: string }[] = names.map((name) => ({ name, path: join(folder, name) }))

/** Nothing is at work. */
export async function finished(page: Page): Promise<void> {
  await page.waitForFunction(() => (document.querySelector("#stop") as HTMLButtonElement).disabled)
}

export async function loadTiny(page: Page): Promise<void> {
  await page.click("#load-tiny")
  await page.waitForFunction(() => !(document.querySelector("#generate") as HTMLButtonElement).disabled)
}

/** Continues with seed 7, unless another one stands there. */
export async function generate(page: Page, prompt: string, maxNewTokens: number): Promise<void> {
  await page.fill("#prompt", prompt)
  await page.fill("#max-tokens", String(maxNewTokens))
  if ((await page.inputValue("#seed")) === "") await page.fill("#seed", "7")
  await page.press("#prompt", "Control+Enter")
  await finished(page)
}

/** What the transcript holds, by who wrote it. */
export function written(page: Page): Promise<{ you: string; model: string }> {
  return page.evaluate(() => {
    const text = (kind: string): string => [...document.querySelectorAll(`#transcript .${kind}`)].map((node) => node.textContent).join("")
    return { you: text("you"), model: text("model") }
  })
}

export async function tokens(page: Page): Promise<number> {
  return Number((await page.textContent("#tokens"))?.replaceAll(",", ""))
}

/** Drops files on the page, as a file manager does. */
export async function dropFiles(page: Page, files: readonly { name: string; path: string }[]): Promise<void> {
  const contents = files.map(({ name, path }) => ({ name, base64: readFileSync(path).toString("base64") }))
  const transfer = await page.evaluateHandle((contents) => {
    const transfer = new DataTransfer()
    for (const { name, base64 } of contents) {
      transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name))
    }
    return transfer
  }, contents)
  await page.dispatchEvent("body", "drop", { dataTransfer: transfer })
}

/** Frames drawn, and how often the number of tokens changed, between the start of a prompt and its first generated token. */
export async function countFrames(page: Page, prompt: string): Promise<{ during: number; pieces: number }> {
  await page.fill("#max-tokens", "1")
  await page.fill("#prompt", prompt)
  return page.evaluate(async () => {
    let during = 0
    let pieces = 0
    let running = true
    const frame = (): void => {
      during++
      if (running) requestAnimationFrame(frame)
    }
    const counter = new MutationObserver(() => pieces++)
    counter.observe(document.querySelector("#tokens") as Node, { childList: true, characterData: true, subtree: true })
    const status = document.querySelector("#status") as HTMLElement
    const generating = new Promise<void>((resolve) => {
      const watch = new MutationObserver(() => {
        if (/Generating/.test(status.textContent ?? "")) resolve()
      })
      watch.observe(status, { childList: true })
    })
    requestAnimationFrame(frame)
    ;(document.querySelector("#generate") as HTMLButtonElement).click()
    await generating
    running = false
    counter.disconnect()
    return { during, pieces }
  })
}

/** Breaches of a few rules: every control has a name, ids are unique, text can be told from its ground (4.5 : 1), nothing is wider than the page. */
export function audit(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const found: string[] = []
    const visible = (node: Element): boolean => node.checkVisibility({ visibilityProperty: true }) && node.getClientRects().length > 0
    const describe = (node: Element): string => `${node.tagName.toLowerCase()}#${node.id}.${node.className}`
    const nameOf = (node: Element): string => {
      const labelled = (node.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "")
      const labels = [...((node as HTMLInputElement).labels ?? [])].map((label) => label.textContent ?? "")
      return [node.getAttribute("aria-label") ?? "", ...labelled, ...labels, node.textContent ?? ""].join("").trim()
    }
    for (const node of document.querySelectorAll("button, input, select, textarea, canvas, progress, [role]")) {
      if (visible(node) && nameOf(node) === "" && !/presentation|status|alert/.test(node.getAttribute("role") ?? "")) {
        found.push(`no name: ${describe(node)}`)
      }
    }
    const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id)
    for (const id of ids.filter((id, i) => ids.indexOf(id) !== i)) found.push(`twice: #${id}`)
    for (const node of document.querySelectorAll("[tabindex]")) {
      if (Number(node.getAttribute("tabindex")) > 0) found.push(`out of order: ${describe(node)}`)
    }
    const width = document.documentElement.scrollWidth
    if (width > innerWidth) found.push(`wider than the page: ${width} px`)

    type Color = [r: number, g: number, b: number, a: number]
    const parse = (text: string): Color => {
      const [r = 0, g = 0, b = 0, a = 1] = (text.match(/[\d.]+/g) ?? []).map(Number)
      return [r, g, b, a]
    }
    const ground = (node: Element | null): Color => {
      if (node === null) return [255, 255, 255, 1]
      const color = parse(getComputedStyle(node).backgroundColor)
      return color[3] === 1 ? color : ground(node.parentElement)
    }
    const luminance = ([r, g, b]: Color): number => {
      const [x = 0, y = 0, z = 0] = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4))
      return 0.2126 * x + 0.7152 * y + 0.0722 * z
    }
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    for (let text = walker.nextNode(); text; text = walker.nextNode()) {
      const node = text.parentElement
      if (!node || !text.textContent?.trim() || !visible(node) || node.closest(".hidden, .skip")) continue
      const style = getComputedStyle(node)
      const color = parse(node instanceof SVGElement ? style.fill : style.color)
      const [light = 0, dark = 0] = [luminance(color), luminance(ground(node))].sort((a, b) => b - a)
      const ratio = (light + 0.05) / (dark + 0.05)
      if (ratio < 4.5) found.push(`contrast ${ratio.toFixed(2)}: ${describe(node)} ${text.textContent.trim().slice(0, 30)}`)
    }
    return [...new Set(found)]
  })
}
