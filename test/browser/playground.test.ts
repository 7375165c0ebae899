/** The playground, used as a person uses it. STATESPACE_SCREENSHOT=1 also takes the picture of the README. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { copyFile, truncate, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, expect, test } from "vitest"
import { folders, playgroundPath } from "../../scripts/playground.ts"
import { root } from "../../scripts/setup.ts"
import { type Browser, openBrowser, openPage, type Page } from "./chromium.ts"
import { audit, countFrames, dropFiles, finished, generate, loadTiny, modelFiles, tokens, written } from "./playground.ts"
import { serve, type TestServer } from "./server.ts"

const code = 'fn main() {\n    let s = String::from("hello");'

let browser: Browser
let isolated: TestServer
let alone: TestServer
let complaints: string[] = []
const scratch = mkdtempSync(join(tmpdir(), "playground-"))

beforeAll(async () => {
  browser = await openBrowser()
  isolated = await serve({ folders, isolated: true })
  alone = await serve({ folders })
})
afterAll(async () => {
  await browser.close()
  await Promise.all([isolated.close(), alone.close()])
  rmSync(scratch, { recursive: true })
})
/** Nothing that a test does may reach the console as an error. */
afterEach(() => expect(complaints.splice(0)).toEqual([]))

async function open(server: TestServer = isolated): Promise<Page> {
  const opened = await openPage(browser, server.origin + playgroundPath)
  complaints = opened.complaints
  opened.page.setDefaultTimeout(60_000)
  return opened.page
}

async function loaded(server?: TestServer): Promise<Page> {
  const page = await open(server)
  await loadTiny(page)
  return page
}

/** A folder of the embedded model whose weights end too early. */
async function brokenFolder(): Promise<string> {
  const folder = mkdtempSync(join(scratch, "broken-"))
  for (const { path, name } of modelFiles) await copyFile(path, join(folder, name))
  await truncate(join(folder, "model.safetensors"), 100_000)
  return folder
}

test("loads the embedded model, streams text and shows numbers; the same seed gives the same text", async () => {
  const page = await loaded()
  expect(await page.textContent("#model-name")).toContain("2,800,320 parameters")
  expect(await page.textContent("#machine")).toMatch(/Runs on.*wasm.*Isolatedyes/s)
  await generate(page, "The compiler will", 24)
  const first = await written(page)
  expect(first.you).toBe("The compiler will")
  expect(first.model.length).toBeGreaterThan(10)
  expect(await page.textContent("#status")).toBe("24 tokens, seed 7.")
  expect(await page.textContent("#speed")).toMatch(/^[\d,]+ tok\/s$/)
  expect(await page.textContent("#memory")).toMatch(/^[\d.]+ MB$/)
  expect(await page.textContent("#state-size")).toMatch(/^[\d.]+ kB$/)
  await page.click("#new")
  await generate(page, "The compiler will", 24)
  expect(await written(page)).toEqual(first)
  await page.close()
})

test("Escape stops; what was made stays and goes on", async () => {
  const page = await loaded()
  await page.fill("#max-tokens", "100000")
  await page.fill("#prompt", "A closure")
  await page.press("#prompt", "Control+Enter")
  await page.waitForFunction(() => document.querySelectorAll("#transcript .model").length > 8)
  await page.keyboard.press("Escape")
  await finished(page)
  expect(await page.textContent("#status")).toMatch(/^Stopped\. [\d,]+ tokens, seed \d+\.$/)
  const [before, held] = [await written(page), await tokens(page)]
  await generate(page, "", 8)
  const after = await written(page)
  expect(after.model.startsWith(before.model)).toBe(true)
  expect(await tokens(page)).toBe(held + 8)
  await page.close()
})

test("a fork goes its own way, and its parent does not notice", async () => {
  const page = await loaded()
  await generate(page, "A lifetime is", 12)
  const before = await written(page)
  await page.click("#fork")
  expect(await page.locator("[role=tab]").allTextContents()).toEqual(["Branch 1", "Fork 2"])
  await page.fill("#seed", "8")
  await generate(page, " not", 12)
  expect((await written(page)).model).not.toBe(before.model)
  await page.click("text=Branch 1")
  expect(await written(page)).toEqual(before)
  await page.click("[aria-label='Close Fork 2']")
  expect(await page.locator("[role=tab]").allTextContents()).toEqual(["Branch 1"])
  await page.close()
})

test("a saved state is a file, and goes on as the branch that it was", async () => {
  const page = await loaded()
  await generate(page, "A slice is", 12)
  const held = await tokens(page)
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")])
  const file = join(scratch, download.suggestedFilename())
  await download.saveAs(file)
  await finished(page)
  expect(file).toMatch(/rustbook-mamba1-2\.8m-\d+-tokens\.state$/)
  expect(readFileSync(file).subarray(0, 4096).toString("latin1")).toContain("statespace-state/1")
  await generate(page, "", 16)
  const went = (await written(page)).model
  await page.setInputFiles("#restore-file", file)
  await page.waitForSelector("[role=tab][aria-selected=true] >> text=Restored 2")
  expect(await tokens(page)).toBe(held)
  await generate(page, "", 16)
  expect(went.endsWith((await written(page)).model)).toBe(true)
  await page.close()
})

test("a model comes from a chosen folder and from dropped files; a dropped text is fed", async () => {
  const page = await open()
  await page.setInputFiles("#folder", join(root, "models", "rustbook-mamba1-2.8m"))
  await page.waitForFunction(() => !(document.querySelector("#generate") as HTMLButtonElement).disabled)
  expect(await page.textContent("#model-name")).toContain("2,800,320 parameters")
  await generate(page, "A trait", 4)
  await dropFiles(page, modelFiles)
  await page.waitForFunction(() => document.querySelector("#tokens")?.textContent === "0")
  await generate(page, "A trait", 4)
  const held = await tokens(page)
  const text = join(scratch, "text.txt")
  await writeFile(text, "A reference borrows a value. ".repeat(400))
  await dropFiles(page, [{ name: "text.txt", path: text }])
  await page.waitForSelector("#transcript .note >> text=text.txt")
  await finished(page)
  expect(await tokens(page)).toBeGreaterThan(held + 1000)
  await page.close()
})

test("a broken folder is refused with its reason and the way out, and the page goes on with what it has", async () => {
  const page = await loaded()
  await generate(page, "A vector", 4)
  const before = await written(page)
  await page.setInputFiles("#folder", await brokenFolder())
  const problem = page.locator("#problem[role=alert]")
  await problem.waitFor()
  expect(await problem.textContent()).toMatch(/This folder could not be loaded\. CHECKPOINT_\w+.*model\.safetensors/s)
  expect(await problem.locator(".fix").textContent()).toMatch(/^[A-Z].+\.$/)
  expect(await written(page)).toEqual(before)
  await problem.locator("text=Dismiss").click()
  expect(await problem.isVisible()).toBe(false)
  await generate(page, "", 4)
  const state = join(scratch, "damaged.state")
  await writeFile(state, Buffer.alloc(5000, 1))
  await dropFiles(page, [{ name: "damaged.state", path: state }])
  await problem.waitFor()
  expect(await problem.textContent()).toMatch(/damaged\.state could not be restored\. STATE_\w+/)
  await generate(page, "", 4)
  expect(await problem.isVisible()).toBe(false)
  await page.close()
})

test("an address without a model is refused, and the page still loads another", async () => {
  const page = await open()
  await page.fill("#url", `${isolated.origin}/models/nowhere/`)
  await page.press("#url", "Enter")
  await page.waitForSelector("#problem:not([hidden])")
  expect(await page.textContent("#problem")).toMatch(/nowhere.*404/s)
  // The browser itself says in the console that a file was not found; that is the one complaint.
  expect(complaints.splice(0).filter((line) => !/404/.test(line))).toEqual([])
  await page.fill("#url", "/models/rustbook-mamba1-2.8m/")
  await page.press("#url", "Enter")
  await page.waitForFunction(() => !(document.querySelector("#generate") as HTMLButtonElement).disabled)
  await generate(page, "A crate", 4)
  await page.close()
})

test("Δ is drawn for every token, and tokens can be chosen in the picture, in the text and by keyboard", async () => {
  const page = await loaded()
  await generate(page, code, 24)
  await page.waitForSelector("#legend:not([hidden])")
  const slider = page.locator("#heat-map")
  const count = await page.locator("#transcript span").count()
  expect(await slider.getAttribute("aria-valuemax")).toBe(String(count))
  const colors = (): Promise<number> =>
    slider.evaluate((canvas: HTMLCanvasElement) => {
      const context = canvas.getContext("2d") as CanvasRenderingContext2D
      return new Set(new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size
    })
  expect(await colors()).toBeGreaterThan(20)
  await slider.focus()
  await page.keyboard.press("Home")
  expect(await slider.getAttribute("aria-valuetext")).toMatch(/^"fn"\. Token 1 of \d+: most in layer \d, [\d.]+ octaves/)
  await page.keyboard.press("ArrowRight")
  expect(await slider.getAttribute("aria-valuenow")).toBe("2")
  expect(await page.locator("#transcript .marked").textContent()).toBe(" main")
  await page.locator("#transcript .you").first().hover()
  expect(await slider.getAttribute("aria-valuenow")).toBe("1")
  await page.selectOption("#heat-rows", "4")
  expect(await page.textContent("#legend")).toContain("×1.00")
  expect(await colors()).toBeGreaterThan(20)
  await page.selectOption("#heat-value", "size")
  expect(await page.textContent("#heat-text")).toContain("logarithmic")
  await page.close()
})

test("a long text leaves memory as it was", async () => {
  const page = await loaded()
  await page.selectOption("#meter-amount", "100000")
  await page.click("#meter-feed")
  await page.waitForFunction(() => /read:/.test(document.querySelector("#status")?.textContent ?? ""))
  await finished(page)
  expect(await tokens(page)).toBeGreaterThan(20_000)
  const points = await page.locator("#meter polyline").evaluateAll((lines) =>
    lines.map((line) =>
      (line.getAttribute("points") ?? "").split(" ").map((point) => {
        const [x = 0, y = 0] = point.split(",").map(Number)
        return { x, y }
      }),
    ),
  )
  expect(points).toHaveLength(2)
  for (const line of points) {
    // The first two points are before anything was fed.
    const heights = line.slice(2).map(({ y }) => y)
    expect(line.length).toBeGreaterThan(5)
    // In pixels: the program that ends a feed is loaded once, which is a tenth of one; growth with the text would be many.
    expect(Math.max(...heights) - Math.min(...heights)).toBeLessThan(0.5)
  }
  await page.close()
})

test("frames keep coming while 100 kB are tokenised and fed in one prompt, and Escape leaves the state as it was", async () => {
  const page = await loaded()
  const text = "The borrow checker reads every reference in this function. ".repeat(1700)
  const { during, pieces } = await countFrames(page, text)
  // A page that is held up draws a frame at the start and one at the end; a free one draws every number that it writes, and more.
  expect(pieces).toBeGreaterThan(0)
  expect(during).toBeGreaterThan(Math.max(3, pieces - 1))
  await finished(page)
  const held = await tokens(page)
  // Long enough that no machine is done before it is stopped.
  const long = text.repeat(10)
  await page.fill("#prompt", long)
  await page.press("#prompt", "Control+Enter")
  await page.waitForFunction((held) => Number(document.querySelector("#tokens")?.textContent?.replaceAll(",", "")) > held + 500, held)
  await page.keyboard.press("Escape")
  await finished(page)
  expect(await page.textContent("#status")).toBe("Stopped; the state is as it was before.")
  expect(await tokens(page)).toBe(held)
  expect(await page.inputValue("#prompt")).toBe(long)
  await page.close()
})

test("the keyboard alone is enough", async () => {
  const page = await open()
  const focused = (): Promise<string> => page.evaluate(() => document.activeElement?.id ?? "")
  const tabTo = async (id: string): Promise<void> => {
    for (let i = 0; i < 40 && (await focused()) !== id; i++) await page.keyboard.press("Tab")
    expect(await focused()).toBe(id)
  }
  await tabTo("load-tiny")
  await page.keyboard.press("Enter")
  await page.waitForFunction(() => document.activeElement?.id === "prompt")
  await page.keyboard.type("A pattern")
  await tabTo("max-tokens")
  await page.keyboard.type("100000")
  await tabTo("seed")
  await page.keyboard.type("7")
  await tabTo("generate")
  await page.keyboard.press("Enter")
  expect(await focused()).toBe("stop")
  await page.waitForFunction(() => document.querySelectorAll("#transcript .model").length > 2)
  await page.keyboard.press("Enter")
  await finished(page)
  expect(await focused()).toBe("generate")
  await page.focus("#theme")
  await tabTo("fork")
  await page.keyboard.press("Enter")
  await page.keyboard.press("Shift+Tab")
  await page.keyboard.press("Shift+Tab")
  await page.keyboard.press("ArrowLeft")
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Branch 1")
  await page.keyboard.press("ArrowRight")
  await page.keyboard.press("Delete")
  expect(await page.locator("[role=tab]").count()).toBe(1)
  await page.close()
})

test("names, order, contrast and width hold in both themes", async () => {
  const page = await loaded()
  await generate(page, code, 24)
  await page.click("#fork")
  await page.waitForSelector("#legend:not([hidden])")
  for (const theme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme: theme })
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 800 })
      expect(await audit(page), `${theme}, ${width} px`).toEqual([])
    }
  }
  const paper = (): Promise<string> => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  const dark = await paper()
  await page.click("#theme")
  expect(await paper()).not.toBe(dark)
  await page.reload()
  expect(await paper()).not.toBe(dark)
  await page.close()
})

test("a page that is not isolated says so, and works on one thread", async () => {
  const page = await loaded(alone)
  expect(await page.textContent("#machine")).toMatch(/1 thread.*Isolatedno.*wasmsingle-threaded.*Cross-Origin-Opener-Policy/s)
  await generate(page, "The compiler will", 8)
  expect((await written(page)).model).not.toBe("")
  await page.close()
})

if (process.env.STATESPACE_SCREENSHOT) {
  test("the picture of the README", async () => {
    const page = await loaded()
    await page.setViewportSize({ width: 1280, height: 920 })
    await generate(page, "The compiler will", 24)
    await page.waitForSelector("#legend:not([hidden])")
    await page.selectOption("#meter-amount", "100000")
    await page.click("#meter-feed")
    await page.waitForFunction(() => /read:/.test(document.querySelector("#status")?.textContent ?? ""))
    await finished(page)
    await generate(page, `A reference borrows a value, and the borrow checker reads every one of them.\n\n${code}\n`, 56)
    await page.click("#fork")
    await page.waitForSelector("#transcript .you[style]")
    await page.locator("#transcript .you", { hasText: "fn" }).first().hover()
    await page.screenshot({ path: join(root, "docs", "playground.png") })
    await page.close()
  })
}
