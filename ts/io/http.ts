/** `fetch` whose failures are typed errors. */
import { HubError } from "../errors.ts"

/** What the server answered, as the error that names the way out. */
async function refusal(response: Response, url: string, what: string): Promise<HubError> {
  const { status } = response
  const reason = response.headers.get("x-error-message") ?? response.headers.get("x-error-code") ?? response.statusText
  await response.body?.cancel()
  const said = reason === "" ? `${status}` : `${status} ${reason}`
  // The hub hides private repositories: without a valid token a missing one answers 401 as well.
  if (status === 401 || status === 403) {
    return new HubError("HUB_FORBIDDEN", `${what} is private, gated or does not exist (${said}).`, {
      fix: "Check the name; for private and gated models set HF_TOKEN or the token option, and accept the model's terms on its page.",
      status,
      url,
    })
  }
  if (status === 404) {
    return new HubError("HUB_NOT_FOUND", `${what} does not exist (${said}).`, { fix: "Check owner, name and revision.", status, url })
  }
  const fix = status === 429 || status >= 500 ? "Try again later; nothing half-written was kept." : "Check the address."
  return new HubError("HUB_REFUSED", `${what} could not be fetched: the server answered ${said}.`, { fix, status, url })
}

const unreachableFix = "Check the network and HF_ENDPOINT, or load a folder that is on this machine."

/**
 * `fetch` whose failures are typed errors about `what`; an abort rejects with the signal's reason. `headers` are added to requests to
 * `origin` alone, since they may hold a token.
 */
export function checkedFetch(
  what: string,
  signal: AbortSignal | undefined,
  origin = "",
  headers: Readonly<Record<string, string>> = {},
  fix: string = unreachableFix,
): typeof fetch {
  return async (input, init) => {
    const url = String(input instanceof Request ? input.url : input)
    const all = new Headers(init?.headers)
    if (new URL(url).origin === origin) for (const [name, value] of Object.entries(headers)) all.set(name, value)
    let response: Response
    try {
      response = await fetch(url, { ...init, headers: all, ...(signal === undefined ? {} : { signal }) })
    } catch (cause) {
      signal?.throwIfAborted()
      const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause)
      throw new HubError("HUB_UNREACHABLE", `${what} could not be fetched: ${new URL(url).host} cannot be reached (${reason}).`, {
        fix,
        url,
        cause,
      })
    }
    if (response.ok || response.status === 304) return response
    throw await refusal(response, url, what)
  }
}

/** The body that broke off or is not what was announced. */
export function incomplete(file: string, url: string, reason: string, cause?: unknown): HubError {
  return new HubError("HUB_INCOMPLETE", `${file} arrived incomplete: ${reason}.`, {
    fix: "Try again; nothing half-written was kept.",
    url,
    cause,
  })
}

/** The body in pieces, by the reader: not every browser can loop over a stream. Whoever stops early lets go of the connection. */
export async function* bodyPieces({ body }: Response): AsyncGenerator<Uint8Array> {
  const reader = body?.getReader()
  try {
    for (;;) {
      const next = await reader?.read()
      if (next?.value === undefined) return
      yield next.value
    }
  } finally {
    // Of a body that has ended or broken there is nothing to let go of.
    await reader?.cancel().catch(() => {})
  }
}
