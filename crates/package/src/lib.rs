//! Core ML packages: `.mlpackage` folders and bare `.mlmodel` files that hold ML programs.
//!
//! [`import`] reads a model into a [`ferrane_mil::Program`]; [`export()`] writes a program as a package that Core ML and
//! coremltools load. Models of other kinds (neural networks, tree ensembles, …) are refused by name.
//!
//! What is read is not trusted: paths inside a package may not leave it, sizes are checked before memory is taken, and
//! memory grows in proportion to the model file, at worst sixtyfold. An imported program is well-formed (every name defined once and before its
//! use, every constant of its type) but not verified: whether its ops and shapes are right, [`ferrane_mil::verify()`] says.
//!
//! MIL has more than [`ferrane_mil`] can say. Dimensions without a fixed extent, states and control flow are refused by a
//! [`PackageError::Unsupported`] that names the feature and the place.

mod budget;
mod description;
mod error;
mod export;
#[cfg(test)]
mod hostile;
mod import;
mod layout;
mod program;
mod proto;
mod weights;

pub use description::{ArrayType, ColorSpace, Description, Feature, FeatureType, Interface, Metadata};
pub use error::{Feature as UnsupportedFeature, PackageError};
pub use export::{ExportOptions, Exported, export};
pub use import::{Imported, import, import_bytes};
pub use weights::Weights;
