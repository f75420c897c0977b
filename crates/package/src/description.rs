//! What a model says of itself: inputs and outputs as an application sees them, and metadata.

use std::collections::BTreeMap;

use ferrane_mil::{DType, Function, Opset, Program, TensorType, Type, ValueId};

use crate::PackageError;
use crate::error::{Feature as Unsupported, shorten};
use crate::proto::model::{self as proto, Empty, feature_type};

/// The interfaces of a model's functions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Description {
    /// One for each function; a model with one function may leave out the name.
    pub functions: Vec<Interface>,
    /// The function that runs when none is chosen; empty for `main`.
    pub default_function: String,
}

/// Inputs and outputs of one function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interface {
    /// Name of the function; empty when the model has only one.
    pub function: String,
    /// Inputs.
    pub inputs: Vec<Feature>,
    /// Outputs.
    pub outputs: Vec<Feature>,
    /// The output that holds a classifier's answer; empty when there is none.
    pub predicted_feature: String,
    /// The output that holds a classifier's probabilities; empty when there is none.
    pub predicted_probabilities: String,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Name, which is that of a value of the function.
    pub name: String,
    /// A sentence for people.
    pub description: String,
    /// Type.
    pub ty: FeatureType,
    /// True when a prediction can do without it.
    pub optional: bool,
}

/// The type of an input or output.
#[derive(Clone, Debug, PartialEq)]
pub enum FeatureType {
    /// An integer.
    Int64,
    /// A number.
    Double,
    /// A text.
    String,
    /// An image. In the program it is a `[1, channels, height, width]` tensor.
    Image {
        /// Pixels.
        width: i64,
        /// Pixels.
        height: i64,
        /// Channels and their order.
        color_space: ColorSpace,
    },
    /// A tensor.
    MultiArray {
        /// Extents; empty for a scalar and for an output whose shape is not said.
        shape: Vec<i64>,
        /// Element type.
        dtype: ArrayType,
    },
    /// Numbers by name, a classifier's probabilities. True when the names are integers.
    Dictionary {
        /// Names are integers.
        int_keys: bool,
    },
}

/// Element types of a [`FeatureType::MultiArray`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrayType {
    /// fp16
    Float16,
    /// fp32
    Float32,
    /// fp64
    Double,
    /// int8
    Int8,
    /// int32
    Int32,
}

impl ArrayType {
    const NUMBERS: [(ArrayType, i32, DType); 5] = [
        (ArrayType::Float16, 0x10010, DType::Fp16),
        (ArrayType::Float32, 0x10020, DType::Fp32),
        (ArrayType::Double, 0x10040, DType::Fp64),
        (ArrayType::Int8, 0x20008, DType::Int8),
        (ArrayType::Int32, 0x20020, DType::Int32),
    ];

    /// The element type in the program.
    pub fn dtype(self) -> DType {
        Self::NUMBERS[self as usize].2
    }

    /// The one for an element type, if applications can pass such tensors.
    pub fn from_dtype(dtype: DType) -> Option<Self> {
        Self::NUMBERS.iter().find(|row| row.2 == dtype).map(|row| row.0)
    }

    fn from_number(number: i32) -> Option<Self> {
        Self::NUMBERS.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    fn number(self) -> i32 {
        Self::NUMBERS[self as usize].1
    }
}

/// Channels of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorSpace {
    /// One channel of bytes.
    Grayscale,
    /// One channel of fp16.
    GrayscaleFloat16,
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

impl ColorSpace {
    const NUMBERS: [(ColorSpace, i32); 4] = [
        (ColorSpace::Grayscale, 10),
        (ColorSpace::GrayscaleFloat16, 40),
        (ColorSpace::Rgb, 20),
        (ColorSpace::Bgr, 30),
    ];
}

/// What is said of a model for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// What it does, in a sentence.
    pub description: String,
    /// Its version.
    pub version: String,
    /// Who made it.
    pub author: String,
    /// Under which licence.
    pub license: String,
    /// Anything else, by key.
    pub user_defined: BTreeMap<String, String>,
}

impl Description {
    /// The description that follows from the types of a program's functions.
    ///
    /// # Errors
    /// When an input or output is of a type that applications cannot pass.
    pub fn of(program: &Program) -> Result<Self, PackageError> {
        let single = program.functions.len() == 1;
        let interface = |f: &Function| {
            let features =
                |ids: &[ValueId]| ids.iter().map(|&id| feature(f, id)).collect::<Result<Vec<_>, _>>();
            Ok(Interface {
                function: if single { String::new() } else { f.name.clone() },
                inputs: features(&f.inputs)?,
                outputs: features(&f.outputs)?,
                ..Interface::default()
            })
        };
        let functions = program.functions.iter().map(interface).collect::<Result<_, PackageError>>()?;
        let default = if single { None } else { program.functions.iter().find(|f| f.name == "main") };
        let default = if single { default } else { default.or(program.functions.first()) };
        Ok(Self { functions, default_function: default.map_or(String::new(), |f| f.name.clone()) })
    }

    pub(crate) fn from_proto(model: proto::ModelDescription) -> Result<(Self, Metadata), PackageError> {
        let metadata = Metadata::from_proto(model.metadata.unwrap_or_default());
        let functions = if model.functions.is_empty() {
            vec![proto::FunctionDescription {
                name: String::new(),
                input: model.input,
                output: model.output,
                predicted_feature_name: model.predicted_feature_name,
                predicted_probabilities_name: model.predicted_probabilities_name,
                state: model.state,
            }]
        } else {
            model.functions
        };
        let functions = functions.into_iter().map(Interface::from_proto).collect::<Result<_, _>>()?;
        Ok((Self { functions, default_function: model.default_function_name }, metadata))
    }

    pub(crate) fn to_proto(&self, metadata: &Metadata) -> proto::ModelDescription {
        let mut model =
            proto::ModelDescription { metadata: metadata.to_proto(), ..proto::ModelDescription::default() };
        match self.functions.as_slice() {
            [only] if only.function.is_empty() => {
                let f = only.to_proto();
                model.input = f.input;
                model.output = f.output;
                model.predicted_feature_name = f.predicted_feature_name;
                model.predicted_probabilities_name = f.predicted_probabilities_name;
            }
            several => {
                model.functions = several.iter().map(Interface::to_proto).collect();
                model.default_function_name = self.default_function.clone();
            }
        }
        model
    }

    /// The lowest op set whose systems know what this description uses.
    pub(crate) fn needs(&self) -> Opset {
        let named = self.functions.iter().any(|f| !f.function.is_empty());
        let features = || self.functions.iter().flat_map(|f| f.inputs.iter().chain(&f.outputs));
        let array = |wanted| {
            features().any(|f| matches!(&f.ty, FeatureType::MultiArray { dtype, .. } if *dtype == wanted))
        };
        if array(ArrayType::Int8) {
            Opset::Ios26
        } else if named {
            Opset::Ios18
        } else if array(ArrayType::Float16) {
            Opset::Ios16
        } else {
            Opset::Ios15
        }
    }
}

fn feature(f: &Function, id: ValueId) -> Result<Feature, PackageError> {
    let Some(value) = f.values.get(id.index()) else {
        let reason = format!("the value {} does not exist", id.0);
        return Err(PackageError::invalid(format!("function `{}`", f.name), reason));
    };
    let place = || format!("function `{}`, `{}`", f.name, shorten(&value.name));
    let Type::Tensor(TensorType { dtype, shape }) = &value.ty else {
        let reason =
            format!("an input or output cannot be a `{}` unless a description says how to pass it", value.ty);
        return Err(PackageError::invalid(place(), reason));
    };
    let Some(dtype) = ArrayType::from_dtype(*dtype) else {
        let reason = format!("an input or output cannot be of {dtype}; cast it to fp32, fp16 or int32");
        return Err(PackageError::invalid(place(), reason));
    };
    let shape = shape.iter().map(|&d| i64::try_from(d)).collect::<Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| PackageError::invalid(place(), format!("{} is too large", value.ty)))?;
    let ty = FeatureType::MultiArray { shape, dtype };
    Ok(Feature { name: value.name.clone(), description: String::new(), ty, optional: false })
}

impl Interface {
    fn from_proto(f: proto::FunctionDescription) -> Result<Self, PackageError> {
        if let Some(state) = f.state.first() {
            return Err(PackageError::unsupported(
                format!("state `{}`", shorten(&state.name)),
                Unsupported::State,
                "the model keeps it between predictions",
            ));
        }
        Ok(Self {
            function: f.name,
            inputs: f.input.into_iter().map(Feature::from_proto).collect::<Result<_, _>>()?,
            outputs: f.output.into_iter().map(Feature::from_proto).collect::<Result<_, _>>()?,
            predicted_feature: f.predicted_feature_name,
            predicted_probabilities: f.predicted_probabilities_name,
        })
    }

    fn to_proto(&self) -> proto::FunctionDescription {
        proto::FunctionDescription {
            name: self.function.clone(),
            input: self.inputs.iter().map(Feature::to_proto).collect(),
            output: self.outputs.iter().map(Feature::to_proto).collect(),
            predicted_feature_name: self.predicted_feature.clone(),
            predicted_probabilities_name: self.predicted_probabilities.clone(),
            state: Vec::new(),
        }
    }
}

impl Feature {
    fn from_proto(f: proto::FeatureDescription) -> Result<Self, PackageError> {
        let place = format!("feature `{}`", shorten(&f.name));
        let ty = f.r#type.unwrap_or_default();
        Ok(Self {
            ty: FeatureType::from_proto(ty.r#type, &place)?,
            optional: ty.is_optional,
            name: f.name,
            description: f.short_description,
        })
    }

    fn to_proto(&self) -> proto::FeatureDescription {
        let ty = proto::FeatureType { r#type: Some(self.ty.to_proto()), is_optional: self.optional };
        proto::FeatureDescription {
            name: self.name.clone(),
            short_description: self.description.clone(),
            r#type: Some(Box::new(ty)),
        }
    }
}

impl FeatureType {
    fn from_proto(ty: Option<feature_type::Type>, place: &str) -> Result<Self, PackageError> {
        use feature_type::Type as P;
        let flexible = |detail: &str| PackageError::unsupported(place, Unsupported::FlexibleShape, detail);
        Ok(match ty {
            Some(P::Int64(_)) => FeatureType::Int64,
            Some(P::Double(_)) => FeatureType::Double,
            Some(P::String(_)) => FeatureType::String,
            Some(P::Image(i)) if i.enumerated_sizes.is_some() || i.size_range.is_some() => {
                return Err(flexible("an image of several sizes"));
            }
            Some(P::Image(i)) => {
                let found = ColorSpace::NUMBERS.iter().find(|row| row.1 == i.color_space);
                let invalid =
                    || PackageError::invalid(place, format!("{} is no colour space", i.color_space));
                let color_space = found.ok_or_else(invalid)?.0;
                FeatureType::Image { width: i.width, height: i.height, color_space }
            }
            Some(P::MultiArray(a)) if a.enumerated_shapes.is_some() => {
                return Err(flexible("several shapes are listed"));
            }
            Some(P::MultiArray(a)) if a.shape_range.is_some() => {
                return Err(flexible("a range of shapes is given"));
            }
            Some(P::MultiArray(a)) => {
                let invalid = || PackageError::invalid(place, format!("{} is no element type", a.data_type));
                FeatureType::MultiArray {
                    dtype: ArrayType::from_number(a.data_type).ok_or_else(invalid)?,
                    shape: a.shape,
                }
            }
            Some(P::Dictionary(d)) => FeatureType::Dictionary { int_keys: d.int64_key.is_some() },
            Some(P::Sequence(_)) => return Err(flexible("a sequence of any length")),
            Some(P::State(_)) => {
                return Err(PackageError::unsupported(place, Unsupported::State, "its type is a state"));
            }
            None => return Err(PackageError::invalid(place, "the feature has no type")),
        })
    }

    fn to_proto(&self) -> feature_type::Type {
        use feature_type::Type as P;
        match self {
            FeatureType::Int64 => P::Int64(Empty {}),
            FeatureType::Double => P::Double(Empty {}),
            FeatureType::String => P::String(Empty {}),
            FeatureType::Image { width, height, color_space } => P::Image(proto::ImageType {
                width: *width,
                height: *height,
                color_space: ColorSpace::NUMBERS[*color_space as usize].1,
                ..proto::ImageType::default()
            }),
            FeatureType::MultiArray { shape, dtype } => P::MultiArray(proto::ArrayType {
                shape: shape.clone(),
                data_type: dtype.number(),
                ..proto::ArrayType::default()
            }),
            FeatureType::Dictionary { int_keys } => P::Dictionary(proto::DictionaryType {
                int64_key: int_keys.then_some(Empty {}),
                string_key: (!int_keys).then_some(Empty {}),
            }),
        }
    }
}

impl Metadata {
    fn from_proto(m: proto::Metadata) -> Self {
        Self {
            description: m.short_description,
            version: m.version_string,
            author: m.author,
            license: m.license,
            user_defined: m.user_defined,
        }
    }

    fn to_proto(&self) -> Option<proto::Metadata> {
        (*self != Self::default()).then(|| proto::Metadata {
            short_description: self.description.clone(),
            version_string: self.version.clone(),
            author: self.author.clone(),
            license: self.license.clone(),
            user_defined: self.user_defined.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_declaration_order() {
        for (i, row) in ArrayType::NUMBERS.iter().enumerate() {
            assert_eq!(row.0 as usize, i);
        }
        for (i, row) in ColorSpace::NUMBERS.iter().enumerate() {
            assert_eq!(row.0 as usize, i);
        }
    }
}
