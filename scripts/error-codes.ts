/**
 * Every code that an error of this package can have, from which `scripts/gen-errors.ts` writes `docs/errors.md`. A new code gets a row
 * here; `test/unit/errors.test.ts` compares the rows with the sources.
 */
import type * as errors from "../ts/errors.ts"

export interface ErrorRow {
  /** Class of `ts/errors.ts`. */
  class: keyof typeof errors
  meaning: string
  fix: string
}

export const errorCodes: Readonly<Record<string, ErrorRow>> = {
  OPTION_UNKNOWN: {
    class: "OptionError",
    meaning: "A call was given an option that it does not have.",
    fix: "Use the name that the message suggests.",
  },
  OPTION_TYPE: { class: "OptionError", meaning: "An argument or option has the wrong type.", fix: "Give what the message says." },
  OPTION_RANGE: {
    class: "OptionError",
    meaning: "An argument or option has a value that is not allowed.",
    fix: "Give a value within what the message says.",
  },
  OPTION_REQUIRED: {
    class: "OptionError",
    meaning: "Something that this entry of the package cannot find by itself was not given.",
    fix: "Give the option or argument that the message names.",
  },
  OPTION_CONFLICT: { class: "OptionError", meaning: "Two options contradict each other.", fix: "Leave one of the two out." },
  PROMPT_INVALID: {
    class: "OptionError",
    meaning: "A prompt or input is neither text nor token ids.",
    fix: "Give a string, an array of integers, or an iterable of one of them.",
  },
  PROMPT_EMPTY: { class: "OptionError", meaning: "There is nothing to start from.", fix: "Give at least one token." },
  TOKEN_ID_INVALID: {
    class: "OptionError",
    meaning: "A token id is not an integer of the model's vocabulary.",
    fix: "Encode the text with this model's tokenizer.",
  },
  SCAN_SHAPE: {
    class: "OptionError",
    meaning: "The arrays given to selectiveScan do not fit together.",
    fix: "Give the shapes that the message says.",
  },
  SCAN_TYPE: { class: "OptionError", meaning: "An argument of selectiveScan has the wrong type.", fix: "Give what the message says." },
  CHECKPOINT_NOT_FOUND: {
    class: "CheckpointError",
    meaning: "The folder or file does not exist.",
    fix: "Check the path; a hub id has the form owner/name.",
  },
  CHECKPOINT_READ: {
    class: "CheckpointError",
    meaning: "A file of the checkpoint cannot be read.",
    fix: "Check its permissions, and that it is a file.",
  },
  CHECKPOINT_EMPTY: {
    class: "CheckpointError",
    meaning: "The folder holds no weights that can be read.",
    fix: "A checkpoint folder has config.json and model.safetensors.",
  },
  CHECKPOINT_PICKLE: {
    class: "CheckpointError",
    meaning: "There are only weights in Python's pickle format, which can run code and is never read.",
    fix: "Use the converted repository (name-hf), or convert with transformers' save_pretrained.",
  },
  CHECKPOINT_FORMAT: {
    class: "CheckpointError",
    meaning: "The file has a format that is not read.",
    fix: "Give a folder or a .safetensors file.",
  },
  CHECKPOINT_CONFIG: {
    class: "CheckpointError",
    meaning: "config.json or a file like it is missing or cannot be parsed.",
    fix: "Download it again; it belongs beside the weights.",
  },
  CHECKPOINT_FAMILY: {
    class: "CheckpointError",
    meaning: "No known family of models matches the configuration.",
    fix: "Pass a family of your own with the models option.",
  },
  CHECKPOINT_FIELD: {
    class: "CheckpointError",
    meaning: "A field of config.json is not supported, makes no sense, or contradicts another.",
    fix: "Use the config.json that belongs to the weights.",
  },
  CHECKPOINT_INDEX: {
    class: "CheckpointError",
    meaning: "The index of a sharded checkpoint is broken or does not fit its shards.",
    fix: "Download index and shards from one revision.",
  },
  CHECKPOINT_TRUNCATED: { class: "CheckpointError", meaning: "A weight file ends too early.", fix: "Download it again." },
  CHECKPOINT_HEADER: {
    class: "CheckpointError",
    meaning: "A weight file has no valid safetensors header.",
    fix: "Download or convert it again.",
  },
  CHECKPOINT_OFFSETS: {
    class: "CheckpointError",
    meaning: "The header places a tensor wrongly: size, hole, overlap.",
    fix: "Download or convert the file again.",
  },
  CHECKPOINT_DTYPE: {
    class: "CheckpointError",
    meaning: "A tensor has a dtype that is unknown or not supported.",
    fix: "Convert the checkpoint to F32, BF16 or F16.",
  },
  CHECKPOINT_MISSING: {
    class: "CheckpointError",
    meaning: "Tensors that the model needs are not in the checkpoint.",
    fix: "Check that config.json belongs to these weights.",
  },
  CHECKPOINT_UNEXPECTED: {
    class: "CheckpointError",
    meaning: "The checkpoint holds tensors that the model does not know.",
    fix: "Check that config.json belongs to these weights.",
  },
  CHECKPOINT_DUPLICATE: {
    class: "CheckpointError",
    meaning: "The checkpoint holds one tensor under several names.",
    fix: "Convert it again.",
  },
  CHECKPOINT_SHAPE: {
    class: "CheckpointError",
    meaning: "A tensor has another shape than the configuration says.",
    fix: "Check that config.json belongs to these weights.",
  },
  CHECKPOINT_TENSOR: {
    class: "CheckpointError",
    meaning: "A tensor is missing, lies outside its file, or is not what a program wants.",
    fix: "Get the checkpoint again, or correct where its tensors are said to lie.",
  },
  CHECKPOINT_NON_FINITE: {
    class: "CheckpointError",
    meaning: "A weight is NaN or infinite.",
    fix: "Download or convert the checkpoint again.",
  },
  TOKENIZER_MISSING: {
    class: "TokenizerError",
    meaning: "Text was given to a model that has no tokenizer.",
    fix: "Put tokenizer.json beside the weights, pass the tokenizer option, or work on ids.",
  },
  TOKENIZER_INVALID: { class: "TokenizerError", meaning: "tokenizer.json cannot be read.", fix: "Download it again." },
  HUB_NOT_FOUND: {
    class: "HubError",
    meaning: "The repository, revision or address does not exist.",
    fix: "Check owner, name and revision.",
  },
  HUB_FORBIDDEN: {
    class: "HubError",
    meaning: "The repository is private, gated or does not exist.",
    fix: "Set HF_TOKEN or the token option, and accept the model's terms.",
  },
  HUB_REFUSED: { class: "HubError", meaning: "The server answered with an error.", fix: "Try again later." },
  HUB_UNREACHABLE: {
    class: "HubError",
    meaning: "The server cannot be reached and nothing usable is in the cache.",
    fix: "Check the network and HF_ENDPOINT.",
  },
  HUB_OFFLINE: {
    class: "HubError",
    meaning: "The network is switched off and the checkpoint is not in the cache.",
    fix: "Allow the network once, or pass a folder.",
  },
  HUB_INCOMPLETE: { class: "HubError", meaning: "A download broke off or arrived damaged; nothing of it was kept.", fix: "Try again." },
  HUB_RESPONSE: { class: "HubError", meaning: "The server does not speak the hub's protocol.", fix: "Check HF_ENDPOINT." },
  HUB_CACHE: {
    class: "HubError",
    meaning: "The cache folder cannot be written.",
    fix: "Give cacheDir or HF_HOME a folder with enough space.",
  },
  BACKEND_UNAVAILABLE: {
    class: "BackendUnavailableError",
    meaning: "The backend is not on this machine or not in this release.",
    fix: "Use backend auto; the message says what is missing.",
  },
  BACKEND_DEVICE: {
    class: "BackendUnavailableError",
    meaning: "There is a GPU, but its driver is too old, or it is busy, too old itself, or has failed.",
    fix: "Update NVIDIA's driver, free the GPU, or use another backend.",
  },
  MEMORY_LIMIT: {
    class: "MemoryLimitError",
    meaning: "More memory would be needed than allowed; nothing was allocated.",
    fix: "Ask for less at once, or raise memoryLimit.",
  },
  STATE_INVALID: {
    class: "StateError",
    meaning: "These bytes are not a snapshot of a session.",
    fix: "Give what session.save() returned.",
  },
  STATE_NEWER: { class: "StateError", meaning: "The snapshot was written in a format of a later release.", fix: "Update statespace." },
  STATE_FOREIGN: { class: "StateError", meaning: "The snapshot belongs to another model.", fix: "Load the model that it was made with." },
  STATE_DAMAGED: { class: "StateError", meaning: "The snapshot is incomplete or holds impossible values.", fix: "Make a new one." },
  SESSION_BUSY: {
    class: "SessionBusyError",
    meaning: "A second call was made while the first still runs on this session.",
    fix: "Await the first, or fork the session.",
  },
  STATE_LAYOUT: {
    class: "StateError",
    meaning: "A state was given to a program whose state has another layout.",
    fix: "Use a state made for this program or for one of equal layout.",
  },
  PLAN_TRACE: {
    class: "PlanError",
    meaning: "A model definition puts a program together wrongly: shapes, dtypes or names do not fit.",
    fix: "Correct the model definition; the message says where.",
  },
  PLAN_INVALID: {
    class: "PlanError",
    meaning: "An engine refuses a plan; `issues` says why.",
    fix: "Use one version of the package throughout.",
  },
  PLAN_OPSET: {
    class: "PlanError",
    meaning: "The native module, or a plan, belongs to another version of the package.",
    fix: "Install the same version of both, or build again.",
  },
  DEVICE_NULL: {
    class: "DeviceError",
    meaning: "The null backend, which only keeps a record, was asked for values or given what no engine takes.",
    fix: "Use a backend that computes.",
  },
  DEVICE_MEMORY: { class: "DeviceError", meaning: "An allocation failed.", fix: "Ask for less at once, or free memory." },
  DEVICE_HANDLE: {
    class: "DeviceError",
    meaning: "A handle of an engine was released, belongs to another engine, or stands for something else.",
    fix: "Use handles of this engine that were not released.",
  },
  DEVICE_GPU: {
    class: "DeviceError",
    meaning: "The GPU has failed; what was on it is lost.",
    fix: "Load the model again; where that does not help, use another backend.",
  },
  DEVICE_GUARD: {
    class: "DeviceError",
    meaning: "With guard: true, a kernel was found to write past a buffer.",
    fix: "Please report it.",
  },
  DEVICE_FAILED: {
    class: "DeviceError",
    meaning: "The native module failed in a way that it has no code for.",
    fix: "Please report it; the cause says more.",
  },
  ENGINE_CRASHED: {
    class: "EngineCrashedError",
    meaning: "The engine panicked: a mistake in it, not in the call.",
    fix: "Open another engine or load the model again, and please report it.",
  },
  DEVICE_NON_FINITE: {
    class: "DeviceError",
    meaning: "The model computed a NaN or an infinity from finite weights.",
    fix: "Use compute f32.",
  },
  DISPOSED: { class: "DisposedError", meaning: "Use after dispose().", fix: "Load or open it again." },
}
