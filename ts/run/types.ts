/** The public vocabulary of `statespace`: what goes into a model and what comes out of it. */

/** Token ids, each an integer in [0, vocabSize). */
export type Ids = readonly number[] | Int32Array | Uint32Array | Uint16Array
/** Text, or ids. `[]` and `""` are empty prompts. */
export type Prompt = string | Ids
/** What a session can be fed: text, ids, or a (possibly asynchronous) stream of either, read as it is needed. */
export type FeedInput = Prompt | Iterable<Prompt | number> | AsyncIterable<Prompt | number>

/** Numbers with their shape, row-major. */
export interface NumericArray<T extends Float32Array | Uint16Array = Float32Array> {
  data: T
  shape: number[]
}

/** `loaded` of `total` bytes (loading) or tokens (feeding, scoring); `total` is absent where it is not known. */
export interface Progress {
  phase: string
  file?: string
  loaded: number
  total?: number
}

export type FinishReason = "length" | "stop" | "eos" | "abort"

/** One generated token. The texts of all pieces of a row, joined, are `Result.text`. */
export interface Piece {
  /** Text that this token completed; empty inside a character, inside a possible stop string, and for eos. */
  text: string
  /** Token id. */
  token: number
  /** Natural logarithm of the probability that the model gave to the token, before any sampling option. */
  logprob: number
  /** Position among the tokens generated for this row, from 0. */
  index: number
  /** Prompt of the batch that the piece belongs to; 0 without a batch. */
  row: number
}

export interface Usage {
  /** Tokens before the first generated one. */
  promptTokens: number
  /** Tokens generated, eos and the tokens of a stop string included. */
  completionTokens: number
}

export interface Result {
  /** Generated text, without special tokens and without the stop string that ended it. Empty when the model has no tokenizer. */
  text: string
  /** Generated ids; an eos that ended the generation is the last of them. */
  tokens: number[]
  /** One per token, see `Piece.logprob`. */
  logprobs: number[]
  finishReason: FinishReason
  /** Of a sampled generation: passing it again draws the same tokens. */
  seed: number | bigint | undefined
  usage: Usage
}

/** transformers' definitions, in camelCase. */
export interface GenerateOptions {
  /** Most tokens to generate. Default 256. */
  maxNewTokens?: number
  /** eos is suppressed until so many tokens exist. Default 0. */
  minNewTokens?: number
  /** Draw at random instead of taking the likeliest token. Default: true once `temperature`, `topK`, `topP` or `minP` is given. */
  doSample?: boolean
  /** Divides the logits. 0 is greedy. Default 1. */
  temperature?: number
  /** Keep the k likeliest; 0 keeps all. Default 50 when sampling. */
  topK?: number
  /** Keep the likeliest tokens that together reach this probability, in (0, 1]. Default off. */
  topP?: number
  /** Drop tokens less likely than this share of the likeliest one, in [0, 1]. Default off. */
  minP?: number
  /** > 1 discourages tokens that occur in the prompt or the output. Default 1. */
  repetitionPenalty?: number
  /**
   * Integer in [0, 2⁶⁴). Default: random, and returned in the result. In a batch every row draws from the same seed, as if it ran alone. A
   * session that has drawn before goes on with its own stream of random numbers unless a seed is given.
   */
  seed?: number | bigint
  /** Strings that end the generation; they do not appear in the text. Their tokens are part of `tokens` and of the session. */
  stop?: string | readonly string[]
  signal?: AbortSignal
  /** End with what there is instead of rejecting with the signal's reason. Default false. */
  stopOnAbort?: boolean
  /** Take the defaults of the sampling options from `generation_config.json`. Default false. */
  useGenerationConfig?: boolean
}

export interface WorkOptions {
  signal?: AbortSignal
  onProgress?: (progress: Progress) => void
}

export interface ScoreResult {
  /** Natural logarithm of the probability of each token given those before it; the first, which nothing precedes, is NaN. */
  logprobs: Float32Array
  tokens: Int32Array
  /** −Σ logprobs[1…]: perplexity is exp(nats / (tokens.length − 1)). */
  nats: number
}

export interface EmbedOptions extends WorkOptions {
  /** "mean" of the last hidden states of all tokens (default), or the "last" token's. */
  pooling?: "mean" | "last"
}

export interface ForwardOptions extends WorkOptions {
  /** Logits of so many last positions; 0 (default) of all. */
  logitsToKeep?: number
  /** Also return the embedding and every layer's output, the last one after the final norm. */
  hiddenStates?: boolean
  /** Names of inner values to return, one array a layer: "dt" (Δ after softplus), "B", "C". */
  capture?: readonly string[]
}

export interface ForwardResult {
  /** [kept, vocabSize] */
  logits: NumericArray
  /** numHiddenLayers + 1 arrays [length, hiddenSize], when asked for. */
  hiddenStates: NumericArray[] | undefined
  /** By name, one array [length, width] for each layer. */
  captured: Record<string, NumericArray[]>
}
