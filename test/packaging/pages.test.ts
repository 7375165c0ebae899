/** Ways into a page: each project of this folder is built with its own tools, and Chromium must show what the native engine says. */
import { spawn } from "node:child_process"
import { rmSync } from "node:fs"
import { dirname, join } from "node:path"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { type Browser, openBrowser, openPage, type WatchedPage } from "../browser/chromium.ts"
import { type ServerOptions, serve, type TestServer } from "../browser/server.ts"
import { install, pack, succeed, type Tarballs, userEnv } from "./project.ts"

let tarballs: Tarballs
let browser: Browser
let expected: string
/** What every page shares: the package as npm put it there. */
let installed: string
const folders: string[] = []

function project(how: string): string {
  const folder = install(how, tarballs)
  folders.push(folder)
  return folder
}
async function server(folder: string, options: Omit<ServerOptions, "folders"> = {}): Promise<TestServer> {
  const started = await serve({ folders: { "/": folder }, ...options })
  onTestFinished(() => started.close())
  return started
}
/** Opens a page, waits for what it generated and for nothing that it complains about. */
async function shown(url: string): Promise<WatchedPage> {
  const watched = await openPage(browser, url)
  onTestFinished(() => watched.page.close())
  const text = await Promise.race([
    watched.page.locator("output:not(:empty)").textContent({ timeout: 60_000 }),
    watched.page.waitForEvent("pageerror", { timeout: 60_000 }).then(({ message }) => message),
  ]).catch((error: Error) => error.message)
  expect({ text, complaints: watched.complaints }).toEqual({ text: expected, complaints: [] })
  return watched
}

beforeAll(async () => {
  tarballs = pack()
  browser = await openBrowser()
  installed = project("node-esm")
  expected = succeed(process.execPath, ["main.js", "native"], installed).slice(0, -1)
}, 900_000)
afterAll(async () => {
  await browser?.close()
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  if (tarballs) rmSync(dirname(tarballs.main), { recursive: true, force: true })
})

test("wasm in Node gives the native engine's text", () => {
  expect(expected.length).toBeGreaterThan(40)
  expect(succeed(process.execPath, ["main.js", "wasm"], installed)).toBe(`${expected}\n`)
})

describe.each(["vite", "webpack", "esbuild"])("%s", (tool) => {
  let folder: string
  beforeAll(() => {
    folder = project(tool)
    succeed("npm", ["run", "build"], folder)
  }, 300_000)
  test.each([true, false])("its page generates, isolated: %s", async (isolated) => {
    const { origin } = await server(tool === "vite" ? join(folder, "dist") : folder, { isolated })
    await shown(`${origin}/`)
  })
})

test("modules without a bundler", async () => {
  const { origin } = await server(project("module"))
  await shown(`${origin}/`)
})

test("a Worker of one's own", async () => {
  const { origin } = await server(project("worker"))
  await shown(`${origin}/`)
})

describe("dist/browser.js", () => {
  // What a Worker imports counts as a Worker too, so its origin stands beside blob:.
  const strict = (from: string, blob: string = ""): string =>
    `default-src 'none'; script-src 'self' ${from} 'wasm-unsafe-eval'; connect-src ${from}; worker-src ${from} ${blob}`

  test.each([true, false])("from another origin, under a strict policy, isolated: %s", async (isolated) => {
    const cdn = await server(join(installed, "node_modules", "statespace"), { cors: true })
    const { origin } = await server(project("browser"), { isolated, csp: strict(cdn.origin, "blob:") })
    const { page } = await shown(`${origin}/?from=${cdn.origin}`)
    expect(await page.locator("body").getAttribute("data-added")).toBe("")
  })

  test("from its own origin no policy has to allow blob:", async () => {
    const { origin } = await server(project("browser"), { csp: strict("'self'") })
    await shown(`${origin}/?from=/node_modules/statespace`)
  })
})

test("Next.js: the server renders and generates natively, the page generates by itself", { timeout: 400_000 }, async () => {
  const folder = project("next")
  succeed("npm", ["run", "build"], folder)
  const next = spawn(process.execPath, [join("node_modules", "next", "dist", "bin", "next"), "start", "-p", "0", "-H", "127.0.0.1"], {
    cwd: folder,
    env: { ...userEnv(), NODE_ENV: "production" },
    stdio: ["ignore", "pipe", "inherit"],
  })
  onTestFinished(() => void next.kill())
  const origin = await new Promise<string>((resolve, reject) => {
    let output = ""
    next.stdout.on("data", (piece: Buffer) => {
      output += piece
      const [url] = /http:\/\/127\.0\.0\.1:\d+/.exec(output) ?? []
      if (url && /Ready/.test(output)) resolve(url)
    })
    next.on("exit", () => reject(new Error(`next start ended: ${output}`)))
  })
  expect(await (await fetch(`${origin}/generate`)).text()).toBe(expected)
  await shown(`${origin}/`)
})
