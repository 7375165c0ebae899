//! Why a call was refused, in a form that survives the FFI.

use serde_json::{Map, Value};
use statespace_plan::Issue;

/// A refusal: [`code`](Error::code) is stable, the message is for people.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The validator found something.
    #[error("the plan is not valid: {}", first(issues))]
    Plan {
        /// What it found.
        issues: Vec<Issue>,
    },
    /// The plan was made with another op table.
    #[error("the plan does not fit this engine: {}", first(issues))]
    Opset {
        /// Which tables.
        issues: Vec<Issue>,
    },
    /// A tensor is missing, lies outside its file, or is not what the plan says.
    #[error("{message}")]
    Weights {
        /// The reason.
        message: String,
        /// Name of the tensor.
        tensor: Option<String>,
    },
    /// An allocation failed.
    #[error("{needed} bytes of memory could not be had")]
    Memory {
        /// Bytes asked for.
        needed: u64,
    },
    /// This machine has no GPU, no driver of one, or this build no use for it.
    #[error("{message}")]
    NoDevice {
        /// The reason.
        message: String,
    },
    /// There is a GPU, but it cannot be had, or has failed.
    #[error("{message}")]
    Device {
        /// The reason.
        message: String,
    },
    /// The run was aborted; what it changed is unspecified.
    #[error("the run was aborted")]
    Aborted,
    /// The engine was disposed of.
    #[error("the engine was disposed of")]
    Disposed,
    /// An id is not a row of the table.
    #[error("node {node} ({at}) was given id {id}; ids are 0 to {}", limit - 1)]
    TokenRange {
        /// The node.
        node: u32,
        /// Where in the model it comes from.
        at: String,
        /// The id.
        id: i32,
        /// The number of ids.
        limit: usize,
    },
    /// The state does not have the layout that the program declares.
    #[error("{message}")]
    StateLayout {
        /// The first difference.
        message: String,
    },
    /// No such object, or one of another kind.
    #[error("there is no {kind} with handle {handle}")]
    Handle {
        /// What was asked for.
        handle: u32,
        /// What it should have been.
        kind: &'static str,
    },
    /// A kernel wrote past a buffer.
    #[error("node {node} ({at}) wrote past buffer {buffer}")]
    Guard {
        /// The node.
        node: u32,
        /// Where in the model it comes from.
        at: String,
        /// Name of the buffer whose end was overrun.
        buffer: String,
    },
    /// The engine panicked: a mistake in it, not in the call.
    #[error("the engine has crashed: {message}")]
    Crashed {
        /// What the panic said.
        message: String,
    },
    /// A wrong option, name or length.
    #[error("{message}")]
    Option {
        /// The reason.
        message: String,
    },
    /// A file cannot be read.
    #[error("file {file} cannot be read: {message}")]
    File {
        /// Its path.
        file: String,
        /// The reason.
        message: String,
    },
}

fn first(issues: &[Issue]) -> String {
    match issues {
        [] => String::new(),
        [one] => one.message.clone(),
        [one, rest @ ..] => format!("{} (and {} more)", one.message, rest.len()),
    }
}

impl Error {
    /// Stable identifier.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Plan { .. } => "plan",
            Error::Opset { .. } => "opset",
            Error::Weights { .. } => "weights",
            Error::Memory { .. } => "memory",
            Error::NoDevice { .. } => "no_device",
            Error::Device { .. } => "device",
            Error::Aborted => "aborted",
            Error::Disposed => "disposed",
            Error::TokenRange { .. } => "token_range",
            Error::StateLayout { .. } => "state_layout",
            Error::Handle { .. } => "handle",
            Error::Guard { .. } => "guard",
            Error::Crashed { .. } => "crashed",
            Error::Option { .. } => "option",
            Error::File { .. } => "file",
        }
    }

    /// `{ code, message }` and what else the code has: `issues`, `needed`, `tensor`, `file`, `node`, `at`, `id`, `limit`, `buffer`, `handle`.
    pub fn to_json(&self) -> String {
        let mut map = Map::new();
        let mut put = |name: &str, value: Value| map.insert(name.to_owned(), value);
        put("code", self.code().into());
        put("message", self.to_string().into());
        match self {
            Error::Plan { issues } | Error::Opset { issues } => {
                put("issues", serde_json::to_value(issues).unwrap_or_default());
            }
            Error::Weights { tensor: Some(tensor), .. } => {
                put("tensor", tensor.as_str().into());
            }
            Error::Memory { needed } => {
                put("needed", (*needed).into());
            }
            Error::TokenRange { node, at, id, limit } => {
                put("node", (*node).into());
                put("at", at.as_str().into());
                put("id", (*id).into());
                put("limit", (*limit).into());
            }
            Error::Handle { handle, .. } => {
                put("handle", (*handle).into());
            }
            Error::Guard { node, at, buffer } => {
                put("node", (*node).into());
                put("at", at.as_str().into());
                put("buffer", buffer.as_str().into());
            }
            Error::File { file, .. } => {
                put("file", file.as_str().into());
            }
            Error::Weights { tensor: None, .. }
            | Error::NoDevice { .. }
            | Error::Device { .. }
            | Error::Aborted
            | Error::Disposed
            | Error::StateLayout { .. }
            | Error::Crashed { .. }
            | Error::Option { .. } => {}
        }
        Value::Object(map).to_string()
    }

    pub(crate) fn option(message: impl Into<String>) -> Error {
        Error::Option { message: message.into() }
    }

    pub(crate) fn weights(tensor: &str, message: impl Into<String>) -> Error {
        Error::Weights { message: format!("tensor {tensor} {}", message.into()), tensor: Some(tensor.to_owned()) }
    }
}

impl From<Vec<Issue>> for Error {
    fn from(issues: Vec<Issue>) -> Error {
        if issues.iter().any(|issue| issue.code == "opset") { Error::Opset { issues } } else { Error::Plan { issues } }
    }
}
