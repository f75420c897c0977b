//! What can be wrong with a package.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ferrane_mil::diagnostic::Code;

/// Something Core ML models may have that programs of `ferrane-mil` cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// A dimension whose extent is not fixed.
    UnknownDimension,
    /// A tensor of unknown rank.
    UnknownRank,
    /// An input or output that takes one of several shapes or a range of them.
    FlexibleShape,
    /// A value that lives on between predictions.
    State,
    /// An op with nested blocks: `cond`, `while_loop`.
    ControlFlow,
    /// A list, tuple or dictionary as an argument of an op.
    CompositeArgument,
    /// An element type that is not known.
    ElementType,
    /// A version of MIL other than 1.
    ProgramVersion,
    /// An op set that is not known.
    Opset,
}

impl Feature {
    /// What to do without it.
    fn help(self) -> &'static str {
        match self {
            Feature::UnknownDimension | Feature::UnknownRank | Feature::FlexibleShape => {
                "convert the model again with fixed input shapes"
            }
            Feature::State => "convert the model again with its states as inputs and outputs",
            Feature::ControlFlow => "convert the model again with loops unrolled and branches decided",
            Feature::CompositeArgument | Feature::ElementType => {
                "convert the part of the model that needs it by itself"
            }
            Feature::ProgramVersion => "this model needs a newer reader",
            Feature::Opset => {
                "op sets CoreML5 (iOS 15) to CoreML9 (iOS 26) are known; convert the model for one of them"
            }
        }
    }
}

impl std::fmt::Display for Feature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Feature::UnknownDimension => "unknown dimensions",
            Feature::UnknownRank => "tensors of unknown rank",
            Feature::FlexibleShape => "flexible shapes",
            Feature::State => "states",
            Feature::ControlFlow => "control flow",
            Feature::CompositeArgument => "composite arguments",
            Feature::ElementType => "this element type",
            Feature::ProgramVersion => "this version of MIL",
            Feature::Opset => "this op set",
        })
    }
}

/// Why a package could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The file system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried, e.g. "read".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The path is neither a package nor a model file.
    #[error("`{}` is not a Core ML model: {reason}", path.display())]
    NotAModel {
        /// The path.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// `Manifest.json` does not say where the model is.
    #[error("`{}`: {reason}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A path written in a package leads out of it, or to something that is not a file.
    #[error("the path `{written}` in `{}` is refused: {reason}", root.display())]
    Path {
        /// The path as written.
        written: String,
        /// The folder it should stay in.
        root: PathBuf,
        /// Why it is refused.
        reason: String,
    },
    /// A file is larger than a model can be.
    #[error("`{}` has {bytes} bytes; a model file cannot have more than {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The most there can be.
        limit: u64,
    },
    /// A model file of so many messages that they would fill the memory.
    #[error(
        "`{}` has more than {limit} messages, which would take more than 1 GiB; no model needs as many",
        path.display()
    )]
    TooMany {
        /// The file.
        path: PathBuf,
        /// The most there can be.
        limit: usize,
    },
    /// The model file is no Core ML protobuf.
    #[error("`{}` is not a readable model file: {reason}", path.display())]
    Protobuf {
        /// The file.
        path: PathBuf,
        /// What the decoder says, the innermost field first.
        reason: String,
    },
    /// The model is of another kind than ML program.
    #[error(
        "`{}` holds a model of kind `{kind}`, not an ML program; convert the original again with \
         `convert_to=\"mlprogram\"`",
        path.display()
    )]
    Kind {
        /// The file.
        path: PathBuf,
        /// The kind, as `Model.proto` calls it.
        kind: String,
    },
    /// The model uses something that cannot be represented.
    #[error("{place}: no support for {feature}: {detail}; {}", feature.help())]
    Unsupported {
        /// Where: a function, op or feature.
        place: String,
        /// What.
        feature: Feature,
        /// The offending part, in words.
        detail: String,
    },
    /// The program has ops that are no ops of MIL known here.
    #[error("the program has ops that are not known: {}", counts(ops))]
    UnknownOps {
        /// Their names and how many there are of each.
        ops: BTreeMap<String, usize>,
    },
    /// The program or its description contradicts itself.
    #[error("{place}: {reason}")]
    Invalid {
        /// Where: a function, op or feature.
        place: String,
        /// What is wrong, in words.
        reason: String,
    },
    /// A weight is not where the program says, or is not what it says.
    #[error("{place}: weight at offset {offset} of `{file}`: {reason}")]
    Weight {
        /// The function and op.
        place: String,
        /// The weight file, as written in the program.
        file: String,
        /// The offset of the weight's metadata, as written in the program.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// Something is already where the package should go.
    #[error("`{}` exists; choose another name or ask to overwrite it", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
}

impl PackageError {
    /// The stable number of this kind of error.
    pub fn code(&self) -> Code {
        match self {
            Self::Io { .. } => Code::PACKAGE_IO,
            Self::NotAModel { .. } | Self::Manifest { .. } | Self::Protobuf { .. } => Code::PACKAGE,
            Self::Path { .. } => Code::PACKAGE_PATH,
            Self::TooLarge { .. } | Self::TooMany { .. } => Code::PACKAGE_TOO_LARGE,
            Self::Kind { .. } => Code::PACKAGE_KIND,
            Self::Unsupported { .. } => Code::PACKAGE_UNSUPPORTED,
            Self::UnknownOps { .. } => Code::PACKAGE_OPS,
            Self::Invalid { .. } => Code::PACKAGE_INVALID,
            Self::Weight { .. } => Code::PACKAGE_WEIGHT,
            Self::Exists { .. } => Code::PACKAGE_EXISTS,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.into(), source }
    }

    pub(crate) fn invalid(place: impl std::fmt::Display, reason: impl Into<String>) -> Self {
        Self::Invalid { place: place.to_string(), reason: reason.into() }
    }

    pub(crate) fn unsupported(
        place: impl std::fmt::Display,
        feature: Feature,
        detail: impl Into<String>,
    ) -> Self {
        Self::Unsupported { place: place.to_string(), feature, detail: detail.into() }
    }
}

fn counts(ops: &BTreeMap<String, usize>) -> String {
    let shown = ops.iter().take(20).map(|(name, n)| format!("`{}` ({n})", shorten(name)));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if ops.len() > 20 {
        text += &format!(" and {} more", ops.len() - 20);
    }
    text
}

/// A name from a file, fit to be shown: one line, not too long.
pub(crate) fn shorten(name: &str) -> String {
    let mut shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    if name.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
}

/// Where in a program something is, for messages.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Program,
    Function(&'a str),
    Input(&'a str, &'a str),
    Op(&'a str, &'a str, &'a str),
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Place::Program => f.write_str("the program"),
            Place::Function(function) => write!(f, "function `{}`", shorten(function)),
            Place::Input(function, input) => {
                write!(f, "function `{}`, input `{}`", shorten(function), shorten(input))
            }
            Place::Op(function, code, name) => {
                write!(f, "function `{}`, `{}` op `{}`", shorten(function), shorten(code), shorten(name))
            }
        }
    }
}
