"use client"
// This module is imported on the server too, when the page is rendered there.
import { useEffect, useState } from "react"
import { load } from "statespace"
import { tiny } from "statespace/tiny"

async function generate() {
  const model = await load(tiny)
  const { text } = await model.complete("The compiler will", { maxNewTokens: 32 })
  await model.dispose()
  return text
}

export default function Page() {
  const [text, setText] = useState("")
  useEffect(() => {
    generate().then(setText)
  }, [])
  return <output>{text}</output>
}
