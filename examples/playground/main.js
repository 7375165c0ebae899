// @ts-check
// A playground in one page: wires the parts together. Each of them is a file beside this one.
import { Branches } from "./branches.js"
import { $, isAbort, showProblem } from "./dom.js"
import { HeatMap, heatTokens } from "./heat.js"
import { droppedFiles, Loader } from "./loader.js"
import { madeUp, readText } from "./longtext.js"
import { showMachine } from "./machine.js"
import { Meter } from "./meter.js"
import { showNumbers, Work } from "./run.js"
import { Talk } from "./talk.js"
import { setUpTheme } from "./theme.js"
import { Transcript } from "./transcript.js"

/** @type {import("statespace").Model | undefined} */
let model
/** Entry of the transcript that the first column of the heat map stands for. */
let heatFirst = 0
/** The look at Δ that is under way. */
let looking = new AbortController()

setUpTheme()
const meter = new Meter()
const transcript = new Transcript((entry) => heat.select(entry - heatFirst))
const heat = new HeatMap({
  onSelect: (token) => transcript.mark(heatFirst + token),
  onColors: (changes) => transcript.color(heatFirst, changes),
})
const work = new Work({
  onTick: tick,
  onStart: () => {
    looking.abort()
    branches.lock(true)
  },
  onEnd: () => {
    branches.lock(false)
    look()
  },
})
const branches = new Branches((branch) => {
  transcript.show(branch?.entries ?? [])
  tick()
  look()
})
const talk = new Talk({ branches, transcript, work, model: () => model, onDrop: (count) => (heatFirst -= count) })
const loader = new Loader(async (loaded) => {
  await work.stop()
  looking.abort()
  const old = model
  model = loaded
  branches.clear()
  heat.setLayers(loaded.config.numHiddenLayers)
  meter.setModel(loaded.config)
  talk.begin()
  work.enable(true)
  showMachine(loaded)
  $("prompt").focus()
  await old?.dispose()
})
showMachine(undefined)

function tick() {
  const branch = branches.current
  if (branch) talk.sample(branch)
  showNumbers(branch, model)
  meter.show(branch)
}

/** Shows the Δ of the last tokens of this branch. A forward pass of its own, from an empty state, over the tokens that the picture shows. */
async function look() {
  looking.abort()
  if (work.busy) return
  looking = new AbortController()
  const { signal } = looking
  const { entries = [], tokens: held = 0 } = branches.current ?? {}
  let first = entries.length
  while (first > 0 && entries.length - first < heatTokens && "id" in (entries[first - 1] ?? {})) first--
  const tokens = entries.slice(first).flatMap((entry) => ("id" in entry ? [entry] : []))
  if (!model || tokens.length === 0) return heat.clear("Generate something to see it.")
  try {
    const ids = tokens.map(({ id }) => id)
    const { captured } = await model.forward(ids, { capture: ["dt"], logitsToKeep: 1, signal })
    signal.throwIfAborted()
    heatFirst = first
    const texts = tokens.map(({ text }) => text)
    await heat.show(captured.dt ?? [], texts, held > tokens.length, signal)
  } catch (error) {
    if (!isAbort(error)) heat.clear(error instanceof Error ? error.message : String(error))
  }
}

/** @param {string} button @param {string} chooser @param {(file: File) => void} use */
function setUpChooser(button, chooser, use) {
  const input = /** @type {HTMLInputElement} */ ($(chooser))
  $(button).addEventListener("click", () => input.click())
  input.addEventListener("change", () => {
    const file = input.files?.[0]
    input.value = ""
    if (file) use(file)
  })
}

/** What was dropped is a saved state, a text, or else a model. @param {File[]} files */
function take(files) {
  const [file] = files
  if (!file) return
  if (work.busy) return showProblem("The model is at work.", { message: "One thing at a time.", fix: "Stop it first (Esc)." })
  if (files.length === 1 && file.name.endsWith(".state")) talk.restore(file)
  else if (files.length === 1 && /\.(txt|md)$|^$/.test(file.name) && model) talk.feed(readText(file), file.name)
  else loader.load(files.length === 1 ? file : files, files.length === 1 ? file.name : "What was dropped")
}

const composer = /** @type {HTMLFormElement} */ ($("composer"))
composer.addEventListener("submit", (event) => {
  event.preventDefault()
  if (model) talk.generate()
})
$("prompt").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return
  event.preventDefault()
  composer.requestSubmit()
})
$("new").addEventListener("click", () => talk.begin())
$("fork").addEventListener("click", () => talk.fork())
$("save").addEventListener("click", () => talk.save())
setUpChooser("restore", "restore-file", (file) => talk.restore(file))
setUpChooser("meter-choose", "meter-file", (file) => talk.feed(readText(file), file.name))
$("meter-feed").addEventListener("click", () => {
  const bytes = Number(/** @type {HTMLSelectElement} */ ($("meter-amount")).value)
  talk.feed(madeUp(bytes), "Made-up sentences")
})

/** `dragleave` comes for every element that the pointer leaves, hence the count. */
let inside = 0
addEventListener("dragenter", () => document.body.classList.toggle("dropping", ++inside > 0))
addEventListener("dragleave", () => document.body.classList.toggle("dropping", --inside > 0))
addEventListener("dragover", (event) => event.preventDefault())
addEventListener("drop", async (event) => {
  event.preventDefault()
  inside = 0
  document.body.classList.remove("dropping")
  if (event.dataTransfer) take(await droppedFiles(event.dataTransfer))
})
