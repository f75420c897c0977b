//! The parameters of a model: a table of named tensors over one flat fp32 arena.
//!
//! The optimiser, the checkpoint and the gradient norm are single loops over the arena; everything
//! that needs one tensor asks the table for its range. Names are Hugging Face's. Matrices are stored
//! row-major `[out, in]`, as `y = W·x` uses them.

use std::ops::Range;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::ModelConfig;
use crate::error::Result;

/// What a parameter is, which decides its initialisation and whether weight decay applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParamKind {
    /// The token embedding `[vocab, dim]`.
    Embedding,
    /// A linear layer `[out, in]`, the untied classifier included.
    Matrix,
    /// The scale of an RMSNorm `[dim]`.
    Norm,
}

/// The parameters of one decoder layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LayerRole {
    /// Scale of the norm before attention, `[dim]`.
    AttnNorm,
    /// Query projection, `[heads·head_dim, dim]`.
    Q,
    /// Key projection, `[kv_heads·head_dim, dim]`.
    K,
    /// Value projection, `[kv_heads·head_dim, dim]`.
    V,
    /// Attention output projection, `[dim, heads·head_dim]`.
    O,
    /// Scale of the norm before the feed-forward layer, `[dim]`.
    FfnNorm,
    /// Gate projection of SwiGLU (llama2.c's w1), `[hidden, dim]`.
    Gate,
    /// Up projection of SwiGLU (llama2.c's w3), `[hidden, dim]`.
    Up,
    /// Down projection of SwiGLU (llama2.c's w2), `[dim, hidden]`.
    Down,
    /// Scale of the norm of every query head, `[head_dim]`; only with [`ModelConfig::qk_norm`].
    QNorm,
    /// Scale of the norm of every key head, `[head_dim]`; only with [`ModelConfig::qk_norm`].
    KNorm,
}

impl LayerRole {
    /// All roles in the order they lie in the arena.
    pub const ALL: [LayerRole; 11] = [
        LayerRole::AttnNorm,
        LayerRole::Q,
        LayerRole::K,
        LayerRole::V,
        LayerRole::O,
        LayerRole::FfnNorm,
        LayerRole::Gate,
        LayerRole::Up,
        LayerRole::Down,
        LayerRole::QNorm,
        LayerRole::KNorm,
    ];

    /// The roles that a layer of this model has.
    pub fn of(config: &ModelConfig) -> &'static [LayerRole] {
        if config.qk_norm { &Self::ALL } else { &Self::ALL[..LayerRole::QNorm as usize] }
    }

    /// The name inside `model.layers.N`, without `.weight`.
    fn suffix(self) -> &'static str {
        match self {
            LayerRole::AttnNorm => "input_layernorm",
            LayerRole::Q => "self_attn.q_proj",
            LayerRole::K => "self_attn.k_proj",
            LayerRole::V => "self_attn.v_proj",
            LayerRole::O => "self_attn.o_proj",
            LayerRole::FfnNorm => "post_attention_layernorm",
            LayerRole::Gate => "mlp.gate_proj",
            LayerRole::Up => "mlp.up_proj",
            LayerRole::Down => "mlp.down_proj",
            LayerRole::QNorm => "self_attn.q_norm",
            LayerRole::KNorm => "self_attn.k_norm",
        }
    }

    /// The name of the weight in a stage's MIL function, after the published system.
    pub fn weight_name(self) -> &'static str {
        match self {
            LayerRole::AttnNorm => "attn_norm",
            LayerRole::Q => "wq",
            LayerRole::K => "wk",
            LayerRole::V => "wv",
            LayerRole::O => "wo",
            LayerRole::FfnNorm => "ffn_norm",
            LayerRole::Gate => "w1",
            LayerRole::Up => "w3",
            LayerRole::Down => "w2",
            LayerRole::QNorm => "q_norm",
            LayerRole::KNorm => "k_norm",
        }
    }

    fn shape(self, config: &ModelConfig) -> Vec<usize> {
        match self {
            LayerRole::AttnNorm | LayerRole::FfnNorm => vec![config.dim],
            LayerRole::Q => vec![config.q_dim(), config.dim],
            LayerRole::K | LayerRole::V => vec![config.kv_dim(), config.dim],
            LayerRole::O => vec![config.dim, config.q_dim()],
            LayerRole::Gate | LayerRole::Up => vec![config.hidden, config.dim],
            LayerRole::Down => vec![config.dim, config.hidden],
            LayerRole::QNorm | LayerRole::KNorm => vec![config.head_dim],
        }
    }

    /// What the parameter is.
    pub fn kind(self) -> ParamKind {
        match self {
            LayerRole::AttnNorm | LayerRole::FfnNorm | LayerRole::QNorm | LayerRole::KNorm => ParamKind::Norm,
            _ => ParamKind::Matrix,
        }
    }

    /// Whether the projection adds to the residual stream.
    fn writes_residual(self) -> bool {
        matches!(self, LayerRole::O | LayerRole::Down)
    }
}

/// Which parameter of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParamKey {
    /// `model.embed_tokens.weight`.
    Embedding,
    /// A parameter of layer `.0`.
    Layer(usize, LayerRole),
    /// `model.norm.weight`.
    FinalNorm,
    /// `lm_head.weight`; absent from the table if tied.
    Classifier,
}

/// One named tensor of the arena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Hugging Face's name.
    pub name: String,
    /// Which parameter this is.
    pub key: ParamKey,
    /// What it is.
    pub kind: ParamKind,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// First element in the arena.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
}

impl Param {
    /// Where the tensor lies in the arena.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len
    }
}

/// Name, shape and place of every parameter of a model. The tensors cover the arena without gaps.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamTable {
    config: ModelConfig,
    params: Vec<Param>,
    len: usize,
}

impl ParamTable {
    /// Lays out the parameters of `config`: embedding, layers in order, final norm, and the
    /// classifier if it is not tied.
    ///
    /// # Errors
    /// A configuration that [`ModelConfig::validate`] refuses.
    pub fn new(config: &ModelConfig) -> Result<ParamTable> {
        config.validate()?;
        let mut table = ParamTable { config: config.clone(), params: Vec::new(), len: 0 };
        let token_matrix = vec![config.vocab, config.dim];
        table.push(ParamKey::Embedding, ParamKind::Embedding, token_matrix.clone());
        for layer in 0..config.layers {
            for &role in LayerRole::of(config) {
                table.push(ParamKey::Layer(layer, role), role.kind(), role.shape(config));
            }
        }
        table.push(ParamKey::FinalNorm, ParamKind::Norm, vec![config.dim]);
        if !config.tied {
            table.push(ParamKey::Classifier, ParamKind::Matrix, token_matrix);
        }
        Ok(table)
    }

    fn push(&mut self, key: ParamKey, kind: ParamKind, shape: Vec<usize>) {
        let name = match key {
            ParamKey::Embedding => "model.embed_tokens.weight".to_owned(),
            ParamKey::Layer(layer, role) => {
                format!("model.layers.{layer}.{}.weight", role.suffix())
            }
            ParamKey::FinalNorm => "model.norm.weight".to_owned(),
            ParamKey::Classifier => CLASSIFIER_NAME.to_owned(),
        };
        let len = shape.iter().product();
        self.params.push(Param { name, key, kind, shape, offset: self.len, len });
        self.len += len;
    }

    /// The configuration the table was made from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// All parameters in the order of the arena.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Elements of the arena.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a model has parameters. (The companion `len` expects.)
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A parameter of a layer.
    ///
    /// # Panics
    /// If `layer` is not below the configuration's `layers`, or its layers have no such role.
    pub fn layer(&self, layer: usize, role: LayerRole) -> &Param {
        let roles = LayerRole::of(&self.config);
        assert!(layer < self.config.layers, "layer {layer} of {}", self.config.layers);
        assert!(roles.contains(&role), "this model has no {role:?}");
        &self.params[1 + layer * roles.len() + role as usize]
    }

    /// The token embedding `[vocab, dim]`.
    pub fn embedding(&self) -> &Param {
        &self.params[0]
    }

    /// The scale of the norm before the classifier `[dim]`.
    pub fn final_norm(&self) -> &Param {
        &self.params[1 + self.config.layers * LayerRole::of(&self.config).len()]
    }

    /// The classifier `[vocab, dim]`: the embedding itself if tied.
    pub fn classifier(&self) -> &Param {
        if self.config.tied { self.embedding() } else { &self.params[self.params.len() - 1] }
    }

    /// Finds a parameter by its Hugging Face name.
    pub fn find(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|param| param.name == name)
    }
}

pub(crate) const CLASSIFIER_NAME: &str = "lm_head.weight";

/// The parameters of a model: the table and the arena it describes.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    table: ParamTable,
    data: Vec<f32>,
}

/// Standard deviation of freshly initialised matrices and embeddings, as in `transformers`.
pub const INIT_STD: f32 = 0.02;

impl Parameters {
    /// All zeros.
    ///
    /// # Errors
    /// A configuration that [`ModelConfig::validate`] refuses.
    pub fn zeros(config: &ModelConfig) -> Result<Parameters> {
        let table = ParamTable::new(config)?;
        let data = vec![0.0; table.len()];
        Ok(Parameters { table, data })
    }

    /// Fresh parameters: norms 1, everything else normal with deviation [`INIT_STD`], and the two
    /// projections that write the residual stream (`o_proj`, `down_proj`) scaled by
    /// `1/√(2·layers)` so that its variance does not grow with depth.
    ///
    /// The deviation is one number for all matrices, so nothing depends on telling a matrix's
    /// fan-in from its fan-out. Every tensor draws from its own random stream: the values depend on
    /// the seed and the tensor alone.
    ///
    /// # Errors
    /// A configuration that [`ModelConfig::validate`] refuses.
    pub fn init(config: &ModelConfig, seed: u64) -> Result<Parameters> {
        let mut parameters = Parameters::zeros(config)?;
        let residual_std = INIT_STD / (2.0 * config.layers as f32).sqrt();
        for (index, param) in parameters.table.params.iter().enumerate() {
            let values = &mut parameters.data[param.range()];
            match param.key {
                _ if param.kind == ParamKind::Norm => values.fill(1.0),
                ParamKey::Layer(_, role) if role.writes_residual() => {
                    fill_normal(values, residual_std, seed, index as u64);
                }
                _ => fill_normal(values, INIT_STD, seed, index as u64),
            }
        }
        Ok(parameters)
    }

    /// Joins a table and an arena; `None` if the arena has another length than the table.
    pub fn from_parts(table: ParamTable, data: Vec<f32>) -> Option<Parameters> {
        (table.len() == data.len()).then_some(Parameters { table, data })
    }

    /// The same function without [`ModelConfig::residual_scale`]: the scale goes into the weights of the projections that
    /// write the residual stream, α·(W·x) = (α·W)·x. This is how a model is saved, for its file formats know no such scale.
    pub fn without_residual_scale(mut self) -> Parameters {
        let scale = self.config().residual_scale;
        for layer in 0..self.config().layers {
            for &role in LayerRole::of(&self.table.config).iter().filter(|role| role.writes_residual()) {
                self.layer_mut(layer, role).iter_mut().for_each(|w| *w *= scale);
            }
        }
        self.table.config.residual_scale = 1.0;
        self
    }

    /// Takes the parameters apart.
    pub fn into_parts(self) -> (ParamTable, Vec<f32>) {
        (self.table, self.data)
    }

    /// Names, shapes and places.
    pub fn table(&self) -> &ParamTable {
        &self.table
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        self.table.config()
    }

    /// The whole arena.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The whole arena, to be updated.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The values of one parameter of this table.
    pub fn values(&self, param: &Param) -> &[f32] {
        &self.data[param.range()]
    }

    /// The values of a layer's parameter.
    pub fn layer(&self, layer: usize, role: LayerRole) -> &[f32] {
        self.values(self.table.layer(layer, role))
    }

    /// The values of a layer's parameter, to be updated.
    pub fn layer_mut(&mut self, layer: usize, role: LayerRole) -> &mut [f32] {
        let range = self.table.layer(layer, role).range();
        &mut self.data[range]
    }

    /// The token embedding, row-major `[vocab, dim]`.
    pub fn embedding(&self) -> &[f32] {
        self.values(self.table.embedding())
    }

    /// The scale of the final norm.
    pub fn final_norm(&self) -> &[f32] {
        self.values(self.table.final_norm())
    }

    /// The classifier, row-major `[vocab, dim]`; the embedding if tied.
    pub fn classifier(&self) -> &[f32] {
        self.values(self.table.classifier())
    }
}

/// Box–Muller on stream `stream` of the seed's generator.
fn fill_normal(values: &mut [f32], std: f32, seed: u64, stream: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    // 53 bits in (0, 1]: never zero, so the logarithm is finite.
    let mut uniform = || ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
    for pair in values.chunks_mut(2) {
        let radius = (-2.0 * uniform().ln()).sqrt() * f64::from(std);
        let (sin, cos) = (std::f64::consts::TAU * uniform()).sin_cos();
        pair[0] = (radius * cos) as f32;
        if let Some(second) = pair.get_mut(1) {
            *second = (radius * sin) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::preset::Preset;

    fn mean_and_std(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt())
    }

    #[test]
    fn the_table_covers_the_arena_without_gaps_and_counts_every_parameter() {
        for preset in Preset::ALL {
            for (tied, qk_norm) in [(true, false), (false, false), (false, true)] {
                let config = ModelConfig { tied, qk_norm, ..preset.config() };
                let table = ParamTable::new(&config).unwrap();
                let mut end = 0;
                for param in table.params() {
                    assert_eq!(param.offset, end, "{}", param.name);
                    assert_eq!(param.len, param.shape.iter().product::<usize>());
                    end += param.len;
                }
                assert_eq!(end, table.len());
                assert_eq!(table.len() as u64, config.parameters());
                assert_eq!(table.find(CLASSIFIER_NAME).is_some(), !tied);
            }
        }
    }

    #[test]
    fn typed_lookup_and_names_agree() {
        let config = ModelConfig { tied: false, qk_norm: true, ..Preset::Stories260K.config() };
        let table = ParamTable::new(&config).unwrap();
        for param in table.params() {
            let found = match param.key {
                ParamKey::Embedding => table.embedding(),
                ParamKey::Layer(layer, role) => table.layer(layer, role),
                ParamKey::FinalNorm => table.final_norm(),
                ParamKey::Classifier => table.classifier(),
            };
            assert_eq!(found, param);
            assert_eq!(table.find(&param.name), Some(param));
        }
        let k = table.layer(3, LayerRole::K);
        assert_eq!(k.name, "model.layers.3.self_attn.k_proj.weight");
        assert_eq!(k.shape, [32, 64]);
        assert_eq!(table.layer(0, LayerRole::Down).shape, [64, 172]);
        let k_norm = table.layer(4, LayerRole::KNorm);
        assert_eq!(
            (k_norm.name.as_str(), &k_norm.shape[..]),
            ("model.layers.4.self_attn.k_norm.weight", &[8][..])
        );
    }

    /// The published trainer swapped fan-in and fan-out between w1/w3 and w2; here each role's
    /// deviation is what the documentation says, measured.
    #[test]
    fn initial_values_have_the_documented_statistics() {
        let config = ModelConfig { tied: false, ..Preset::Nano.config() };
        let parameters = Parameters::init(&config, 7).unwrap();
        let residual = f64::from(INIT_STD) / (2.0 * config.layers as f64).sqrt();
        for param in parameters.table().params() {
            let values = parameters.values(param);
            if param.kind == ParamKind::Norm {
                assert!(values.iter().all(|&v| v == 1.0), "{}", param.name);
                continue;
            }
            let writes_residual =
                param.name.ends_with("o_proj.weight") || param.name.ends_with("down_proj.weight");
            let expected = if writes_residual { residual } else { f64::from(INIT_STD) };
            let (mean, std) = mean_and_std(values);
            // Five standard errors of the mean and of the deviation.
            let n = values.len() as f64;
            assert!(mean.abs() < 5.0 * expected / n.sqrt(), "{}: mean {mean}", param.name);
            let slack = 5.0 * expected / (2.0 * n).sqrt();
            assert!((std - expected).abs() < slack, "{}: std {std}", param.name);
        }
    }

    #[test]
    fn the_seed_decides_and_tensors_differ() {
        let config = Preset::Stories260K.config();
        let one = Parameters::init(&config, 1).unwrap();
        assert_eq!(one, Parameters::init(&config, 1).unwrap());
        assert_ne!(one, Parameters::init(&config, 2).unwrap());
        assert_ne!(one.layer(0, LayerRole::Gate), one.layer(0, LayerRole::Up));
        assert_ne!(one.layer(0, LayerRole::Q), one.layer(1, LayerRole::Q));
    }

    /// Values do not change between versions or machines: a run can be repeated from its seed.
    #[test]
    fn a_tensor_does_not_depend_on_the_others() {
        let small = ModelConfig { layers: 1, ..Preset::Stories260K.config() };
        let large = ModelConfig { layers: 2, ..small.clone() };
        let (small, large) = (Parameters::init(&small, 3).unwrap(), Parameters::init(&large, 3).unwrap());
        assert_eq!(small.layer(0, LayerRole::Q), large.layer(0, LayerRole::Q));
        assert_eq!(small.embedding(), large.embedding());
    }

    #[test]
    fn an_arena_of_another_length_is_refused() {
        let table = ParamTable::new(&Preset::Stories260K.config()).unwrap();
        let short = vec![0.0; table.len() - 1];
        assert!(Parameters::from_parts(table, short).is_none());
    }
}
