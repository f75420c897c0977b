//! `Model.proto` and `FeatureTypes.proto`: the model around a program.

use std::collections::BTreeMap;

use super::mil;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Model {
    #[prost(int32, tag = "1")]
    pub(crate) specification_version: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) description: Option<ModelDescription>,
    #[prost(bool, tag = "10")]
    pub(crate) is_updatable: bool,
    /// One of some forty kinds of model in the original; the others are told apart by [`OTHER_KINDS`].
    #[prost(message, optional, tag = "502")]
    pub(crate) ml_program: Option<mil::Program>,
}

/// Field numbers and names of the kinds of model that are not ML programs.
pub(crate) const OTHER_KINDS: &[(u32, &str)] = &[
    (200, "pipelineClassifier"),
    (201, "pipelineRegressor"),
    (202, "pipeline"),
    (300, "glmRegressor"),
    (301, "supportVectorRegressor"),
    (302, "treeEnsembleRegressor"),
    (303, "neuralNetworkRegressor"),
    (304, "bayesianProbitRegressor"),
    (400, "glmClassifier"),
    (401, "supportVectorClassifier"),
    (402, "treeEnsembleClassifier"),
    (403, "neuralNetworkClassifier"),
    (404, "kNearestNeighborsClassifier"),
    (500, "neuralNetwork"),
    (501, "itemSimilarityRecommender"),
    (555, "customModel"),
    (556, "linkedModel"),
    (560, "classConfidenceThresholding"),
    (600, "oneHotEncoder"),
    (601, "imputer"),
    (602, "featureVectorizer"),
    (603, "dictVectorizer"),
    (604, "scaler"),
    (606, "categoricalMapping"),
    (607, "normalizer"),
    (609, "arrayFeatureExtractor"),
    (610, "nonMaximumSuppression"),
    (900, "identity"),
    (2000, "textClassifier"),
    (2001, "wordTagger"),
    (2002, "visionFeaturePrint"),
    (2003, "soundAnalysisPreprocessing"),
    (2004, "gazetteer"),
    (2005, "wordEmbedding"),
    (2006, "audioFeaturePrint"),
    (3000, "serializedModel"),
];

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ModelDescription {
    #[prost(message, repeated, tag = "1")]
    pub(crate) input: Vec<FeatureDescription>,
    #[prost(message, repeated, tag = "10")]
    pub(crate) output: Vec<FeatureDescription>,
    #[prost(string, tag = "11")]
    pub(crate) predicted_feature_name: String,
    #[prost(string, tag = "12")]
    pub(crate) predicted_probabilities_name: String,
    #[prost(message, repeated, tag = "13")]
    pub(crate) state: Vec<FeatureDescription>,
    #[prost(message, repeated, tag = "20")]
    pub(crate) functions: Vec<FunctionDescription>,
    #[prost(string, tag = "21")]
    pub(crate) default_function_name: String,
    #[prost(message, optional, tag = "100")]
    pub(crate) metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FunctionDescription {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) input: Vec<FeatureDescription>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) output: Vec<FeatureDescription>,
    #[prost(string, tag = "4")]
    pub(crate) predicted_feature_name: String,
    #[prost(string, tag = "5")]
    pub(crate) predicted_probabilities_name: String,
    #[prost(message, repeated, tag = "6")]
    pub(crate) state: Vec<FeatureDescription>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Metadata {
    #[prost(string, tag = "1")]
    pub(crate) short_description: String,
    #[prost(string, tag = "2")]
    pub(crate) version_string: String,
    #[prost(string, tag = "3")]
    pub(crate) author: String,
    #[prost(string, tag = "4")]
    pub(crate) license: String,
    #[prost(btree_map = "string, string", tag = "100")]
    pub(crate) user_defined: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FeatureDescription {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) short_description: String,
    #[prost(message, optional, boxed, tag = "3")]
    pub(crate) r#type: Option<Box<FeatureType>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FeatureType {
    #[prost(oneof = "feature_type::Type", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub(crate) r#type: Option<feature_type::Type>,
    #[prost(bool, tag = "1000")]
    pub(crate) is_optional: bool,
}

pub(crate) mod feature_type {
    use super::{ArrayType, DictionaryType, Empty, ImageType};

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Type {
        #[prost(message, tag = "1")]
        Int64(Empty),
        #[prost(message, tag = "2")]
        Double(Empty),
        #[prost(message, tag = "3")]
        String(Empty),
        #[prost(message, tag = "4")]
        Image(ImageType),
        #[prost(message, tag = "5")]
        MultiArray(ArrayType),
        #[prost(message, tag = "6")]
        Dictionary(DictionaryType),
        #[prost(message, tag = "7")]
        Sequence(Empty),
        #[prost(message, tag = "8")]
        State(Empty),
    }
}

/// A message whose fields are none or do not matter here; its presence says something.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ImageType {
    #[prost(int64, tag = "1")]
    pub(crate) width: i64,
    #[prost(int64, tag = "2")]
    pub(crate) height: i64,
    #[prost(int32, tag = "3")]
    pub(crate) color_space: i32,
    #[prost(message, optional, tag = "21")]
    pub(crate) enumerated_sizes: Option<Empty>,
    #[prost(message, optional, tag = "31")]
    pub(crate) size_range: Option<Empty>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ArrayType {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) shape: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) data_type: i32,
    #[prost(message, optional, tag = "21")]
    pub(crate) enumerated_shapes: Option<Empty>,
    #[prost(message, optional, tag = "31")]
    pub(crate) shape_range: Option<Empty>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct DictionaryType {
    #[prost(message, optional, tag = "1")]
    pub(crate) int64_key: Option<Empty>,
    #[prost(message, optional, tag = "2")]
    pub(crate) string_key: Option<Empty>,
}
