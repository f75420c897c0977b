//! Hugging Face's `config.json` for `LlamaForCausalLM` and `Qwen3ForCausalLM`.
//!
//! What this implementation does not compute is an error here, never silently ignored: a model that
//! loads is a model whose logits are those of `transformers`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{ModelConfig, RopeScaling};
use crate::error::{ModelError, Result};

/// Token ids a model folder names beside its shape.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpecialTokens {
    /// The token a text begins with.
    pub bos: Option<u32>,
    /// The tokens that end a text; usually one.
    pub eos: Vec<u32>,
}

/// What a `config.json` says.
#[derive(Debug, Clone, PartialEq)]
pub struct HfConfig {
    /// The model's shape.
    pub model: ModelConfig,
    /// Its begin and end tokens.
    pub special: SpecialTokens,
}

impl HfConfig {
    /// Reads the text of a `config.json`; `path` is used in messages only.
    ///
    /// Fields left out take the defaults of `transformers.LlamaConfig` or `Qwen3Config`.
    ///
    /// # Errors
    /// Text that is not JSON, a missing or ill-typed field, a feature that is not supported
    /// (other RoPE scaling than Llama 3's, biases, sliding windows, another `model_type` or activation), or numbers that contradict
    /// each other.
    pub fn parse(text: &str, path: &Path) -> Result<HfConfig> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| ModelError::corrupt("config.json", path, error.to_string()))?;
        let Value::Object(fields) = value else {
            return Err(ModelError::corrupt("config.json", path, "it is not a JSON object"));
        };
        let reader = Reader { fields: &fields, path };
        let model = reader.model()?;
        model.validate()?;
        Ok(HfConfig { model, special: reader.special_tokens()? })
    }

    /// The `config.json` text that `transformers` and [`HfConfig::parse`] read. It says nothing of a residual scale, which
    /// [`Parameters::without_residual_scale`](crate::Parameters::without_residual_scale) takes out of a model.
    pub fn to_json(&self) -> String {
        let model = &self.model;
        let family = Family::of(model);
        let eos = match self.special.eos.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            several => json!(several),
        };
        let value = json!({
            "architectures": [family.architecture()],
            "model_type": family.model_type(),
            "hidden_size": model.dim,
            "intermediate_size": model.hidden,
            "num_hidden_layers": model.layers,
            "num_attention_heads": model.heads,
            "num_key_value_heads": model.kv_heads,
            "head_dim": model.head_dim,
            "vocab_size": model.vocab,
            "max_position_embeddings": model.max_seq,
            "rms_norm_eps": shortest(model.rms_eps),
            "rope_theta": shortest(model.rope_theta),
            "rope_scaling": model.rope_scaling.map(|scaling| json!({
                "rope_type": "llama3",
                "factor": shortest(scaling.factor),
                "low_freq_factor": shortest(scaling.low_freq_factor),
                "high_freq_factor": shortest(scaling.high_freq_factor),
                "original_max_position_embeddings": scaling.original_max_seq,
            })),
            "tie_word_embeddings": model.tied,
            "hidden_act": "silu",
            "attention_bias": false,
            "attention_dropout": 0.0,
            "mlp_bias": false,
            "initializer_range": 0.02,
            "use_cache": true,
            "bos_token_id": self.special.bos,
            "eos_token_id": eos,
            "torch_dtype": "float32",
        });
        // A `Value` always prints.
        format!("{value:#}\n")
    }
}

/// The shortest decimal that reads back as this `f32`, so that 1e-5 is not written 9.99999974e-6.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}

/// Which of the architectures that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Llama,
    /// A Llama whose query and key heads are normed.
    Qwen3,
}

impl Family {
    fn of(model: &ModelConfig) -> Self {
        if model.qk_norm { Family::Qwen3 } else { Family::Llama }
    }

    fn model_type(self) -> &'static str {
        match self {
            Family::Llama => "llama",
            Family::Qwen3 => "qwen3",
        }
    }

    fn architecture(self) -> &'static str {
        match self {
            Family::Llama => "LlamaForCausalLM",
            Family::Qwen3 => "Qwen3ForCausalLM",
        }
    }
}

struct Reader<'a> {
    fields: &'a Map<String, Value>,
    path: &'a Path,
}

impl Reader<'_> {
    fn family(&self) -> Result<Family> {
        const EXPECTED: &str = "\"llama\" or \"qwen3\"";
        let family = match self.get("model_type") {
            Some(name) if name == "llama" => Family::Llama,
            Some(name) if name == "qwen3" => Family::Qwen3,
            Some(other) => return self.unsupported("model_type", other, EXPECTED),
            None => return self.field("model_type", &format!("is missing; expected {EXPECTED}")),
        };
        if let Some(Value::Array(names)) = self.get("architectures")
            && !names.is_empty()
            && !names.iter().any(|name| name == family.architecture())
        {
            let found = Value::Array(names.clone());
            return self.unsupported("architectures", &found, &format!("{:?}", family.architecture()));
        }
        Ok(family)
    }

    fn refuse_unsupported(&self) -> Result<()> {
        if let Some(activation) = self.get("hidden_act")
            && activation != "silu"
        {
            return self.unsupported("hidden_act", activation, "\"silu\"");
        }
        for bias in ["attention_bias", "mlp_bias"] {
            if let Some(value) = self.get(bias)
                && value != &Value::Bool(false)
            {
                return self.unsupported(bias, value, "false");
            }
        }
        self.refuse_sliding_windows()?;
        if let Some(quantization) = self.get("quantization_config") {
            return self.unsupported("quantization_config", quantization, "unquantized weights");
        }
        match self.get("partial_rotary_factor") {
            Some(factor) if factor.as_f64() != Some(1.0) => {
                self.unsupported("partial_rotary_factor", factor, "1")
            }
            _ => Ok(()),
        }
    }

    /// Every layer attends to all tokens before it.
    fn refuse_sliding_windows(&self) -> Result<()> {
        if let Some(value) = self.get("use_sliding_window")
            && value != &Value::Bool(false)
        {
            return self.unsupported("use_sliding_window", value, "false");
        }
        if let Some(types) = self.get("layer_types")
            && types.as_array().is_none_or(|types| types.iter().any(|kind| kind != "full_attention"))
        {
            return self.unsupported("layer_types", types, "\"full_attention\" in every layer");
        }
        Ok(())
    }

    /// What `rope_scaling` (older) or `rope_parameters` (newer) say: plain RoPE, or Llama 3's scaling.
    fn rope_scaling(&self) -> Result<Option<RopeScaling>> {
        let mut scaling = None;
        for name in ["rope_scaling", "rope_parameters"] {
            let Some(value) = self.get(name) else { continue };
            let Value::Object(rope) = value else {
                return self.unsupported(name, value, "null or an object");
            };
            if let Some(factor) = rope.get("partial_rotary_factor")
                && factor.as_f64() != Some(1.0)
            {
                return self.unsupported(name, value, "a partial_rotary_factor of 1");
            }
            match rope.get("rope_type").or_else(|| rope.get("type")) {
                Some(kind) if kind == "default" => {}
                Some(kind) if kind == "llama3" => scaling = Some(self.llama3(name, rope)?),
                None if name == "rope_parameters" => {}
                _ => return self.unsupported(name, value, "null, or the type \"default\" or \"llama3\""),
            }
        }
        Ok(scaling)
    }

    fn llama3(&self, name: &str, rope: &Map<String, Value>) -> Result<RopeScaling> {
        let number = |field: &str| match self.number(name, rope.get(field))? {
            Some(number) => Ok(number),
            None => self.field(name, &format!("has the type \"llama3\" but no {field}")),
        };
        let original = rope.get("original_max_position_embeddings").and_then(Value::as_u64);
        let Some(original) = original.and_then(|tokens| usize::try_from(tokens).ok()) else {
            return self.field(name, "has the type \"llama3\" but no original_max_position_embeddings");
        };
        Ok(RopeScaling {
            factor: number("factor")?,
            low_freq_factor: number("low_freq_factor")?,
            high_freq_factor: number("high_freq_factor")?,
            original_max_seq: original,
        })
    }

    fn model(&self) -> Result<ModelConfig> {
        let family = self.family()?;
        self.refuse_unsupported()?;
        let dim = self.required_size("hidden_size")?;
        let heads = self.required_size("num_attention_heads")?;
        let head_dim = match self.size("head_dim")? {
            Some(head_dim) => head_dim,
            None if family == Family::Qwen3 => 128,
            None if heads > 0 && dim.is_multiple_of(heads) => dim / heads,
            None => {
                return Err(ModelError::InvalidConfig {
                    problem: format!(
                        "{}: hidden_size is {dim}, num_attention_heads is {heads} and head_dim is not given",
                        self.path.display()
                    ),
                    remedy: "give head_dim, or heads that divide hidden_size".to_owned(),
                });
            }
        };
        Ok(ModelConfig {
            dim,
            hidden: self.required_size("intermediate_size")?,
            layers: self.required_size("num_hidden_layers")?,
            heads,
            kv_heads: self.size("num_key_value_heads")?.unwrap_or(match family {
                Family::Llama => heads,
                Family::Qwen3 => 32,
            }),
            head_dim,
            vocab: self.required_size("vocab_size")?,
            max_seq: self.size("max_position_embeddings")?.unwrap_or(2048),
            rms_eps: self.number("rms_norm_eps", self.get("rms_norm_eps"))?.unwrap_or(1e-6),
            rope_theta: self.rope_theta()?,
            rope_scaling: self.rope_scaling()?,
            qk_norm: family == Family::Qwen3,
            residual_scale: 1.0,
            tied: self.boolean("tie_word_embeddings")?.unwrap_or(false),
        })
    }

    fn rope_theta(&self) -> Result<f32> {
        let nested = self.get("rope_parameters").and_then(|rope| rope.get("rope_theta"));
        let value = self.number("rope_theta", nested.or_else(|| self.get("rope_theta")))?;
        Ok(value.unwrap_or(10_000.0))
    }

    fn special_tokens(&self) -> Result<SpecialTokens> {
        let bos = self.token_ids("bos_token_id")?.first().copied();
        Ok(SpecialTokens { bos, eos: self.token_ids("eos_token_id")? })
    }

    fn token_ids(&self, name: &str) -> Result<Vec<u32>> {
        let values = match self.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        match values.iter().map(id).collect::<Option<Vec<u32>>>() {
            Some(ids) => Ok(ids),
            None => self.field(name, "must be a token id or a list of them"),
        }
    }

    /// A field that is there and not null.
    fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn required_size(&self, name: &str) -> Result<usize> {
        match self.size(name)? {
            Some(size) => Ok(size),
            None => self.field(name, "is missing"),
        }
    }

    fn size(&self, name: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_u64().and_then(|size| usize::try_from(size).ok()) {
            Some(size) => Ok(Some(size)),
            None => self.field(name, &format!("must be a positive integer, found {value}")),
        }
    }

    fn number(&self, name: &str, value: Option<&Value>) -> Result<Option<f32>> {
        let Some(value) = value else { return Ok(None) };
        match value.as_f64() {
            Some(number) => Ok(Some(number as f32)),
            None => self.field(name, &format!("must be a number, found {value}")),
        }
    }

    fn boolean(&self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_bool() {
            Some(flag) => Ok(Some(flag)),
            None => self.field(name, &format!("must be true or false, found {value}")),
        }
    }

    fn field<T>(&self, name: &str, problem: &str) -> Result<T> {
        Err(ModelError::Field {
            path: self.path.to_path_buf(),
            field: name.to_owned(),
            problem: problem.to_owned(),
        })
    }

    fn unsupported<T>(&self, field: &str, found: &Value, supported: &str) -> Result<T> {
        Err(ModelError::Unsupported {
            path: self.path.to_path_buf(),
            field: field.to_owned(),
            found: found.to_string(),
            supported: supported.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::preset::Preset;

    fn parse(value: Value) -> Result<HfConfig> {
        HfConfig::parse(&value.to_string(), Path::new("m/config.json"))
    }

    fn smallest() -> Value {
        json!({
            "model_type": "llama", "hidden_size": 64, "intermediate_size": 172,
            "num_hidden_layers": 5, "num_attention_heads": 8, "vocab_size": 512,
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut config = smallest();
        config[name] = value;
        config
    }

    #[test]
    fn what_is_written_is_read_back() {
        let scaling =
            RopeScaling { factor: 32.0, low_freq_factor: 1.0, high_freq_factor: 4.1, original_max_seq: 8192 };
        let variants = [(None, false), (Some(scaling), false), (None, true), (Some(scaling), true)];
        for (preset, (rope_scaling, qk_norm)) in
            Preset::ALL.into_iter().flat_map(|p| variants.map(|v| (p, v)))
        {
            let model = ModelConfig { rope_scaling, qk_norm, head_dim: 48, ..preset.config() };
            let config = HfConfig { model, special: SpecialTokens { bos: Some(1), eos: vec![2] } };
            let path = Path::new("config.json");
            assert_eq!(HfConfig::parse(&config.to_json(), path).unwrap(), config);
        }
    }

    #[test]
    fn qwen3_is_a_llama_with_normed_heads_and_defaults_of_its_own() {
        let mut config = with("model_type", json!("qwen3"));
        config["num_attention_heads"] = json!(64);
        config["layer_types"] = json!(["full_attention"]);
        config["use_sliding_window"] = json!(false);
        let model = parse(config.clone()).unwrap().model;
        assert_eq!((model.qk_norm, model.head_dim, model.kv_heads), (true, 128, 32));
        config["architectures"] = json!(["LlamaForCausalLM"]);
        assert!(parse(config).unwrap_err().to_string().contains("Qwen3ForCausalLM"));
    }

    #[test]
    fn llama_3_scaling_is_read_from_both_places_and_must_be_whole() {
        let rope = json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192, "rope_theta": 500000.0,
        });
        let old = parse(with("rope_scaling", rope.clone())).unwrap().model;
        let new = parse(with("rope_parameters", rope.clone())).unwrap().model;
        assert_eq!(old.rope_scaling, new.rope_scaling);
        assert_eq!(new.rope_scaling.unwrap().original_max_seq, 8192);
        assert_eq!((old.rope_theta, new.rope_theta), (10_000.0, 500_000.0));
        for missing in ["factor", "high_freq_factor", "original_max_position_embeddings"] {
            let mut rope = rope.clone();
            rope.as_object_mut().unwrap().remove(missing);
            let message = parse(with("rope_scaling", rope)).unwrap_err().to_string();
            assert!(message.contains("rope_scaling") && message.contains(missing), "{message}");
        }
    }

    #[test]
    fn constants_are_written_as_people_write_them() {
        let config = HfConfig { model: Preset::Nano.config(), special: SpecialTokens::default() };
        let text = config.to_json();
        assert!(text.contains("\"rms_norm_eps\": 0.00001"), "{text}");
        assert!(text.contains("\"rope_theta\": 10000.0"), "{text}");
    }

    #[test]
    fn fields_left_out_take_the_defaults_of_transformers() {
        let model = parse(smallest()).unwrap().model;
        assert_eq!((model.kv_heads, model.head_dim, model.max_seq), (8, 8, 2048));
        assert_eq!((model.rms_eps, model.rope_theta, model.tied), (1e-6, 10_000.0, false));
    }

    #[test]
    fn both_spellings_of_rope_theta_are_read() {
        let old = parse(with("rope_theta", json!(500000.0))).unwrap();
        assert_eq!(old.model.rope_theta, 500_000.0);
        let rope = json!({"rope_theta": 500000.0, "rope_type": "default"});
        let new = parse(with("rope_parameters", rope)).unwrap();
        assert_eq!(new.model.rope_theta, 500_000.0);
    }

    #[test]
    fn several_end_tokens_are_kept() {
        let config = parse(with("eos_token_id", json!([2, 7]))).unwrap();
        assert_eq!(config.special.eos, [2, 7]);
    }

    #[test]
    fn what_we_do_not_compute_is_refused_by_name() {
        let yarn = json!({"rope_type": "yarn", "factor": 8.0});
        let cases = [
            ("model_type", json!("mistral")),
            ("use_sliding_window", json!(true)),
            ("layer_types", json!(["full_attention", "sliding_attention"])),
            ("architectures", json!(["MistralForCausalLM"])),
            ("hidden_act", json!("gelu")),
            ("attention_bias", json!(true)),
            ("mlp_bias", json!(true)),
            ("rope_scaling", yarn.clone()),
            ("rope_scaling", json!({"type": "linear", "factor": 2.0})),
            ("rope_parameters", yarn),
            ("partial_rotary_factor", json!(0.5)),
            ("quantization_config", json!({"bits": 4})),
        ];
        for (field, value) in cases {
            let error = parse(with(field, value)).expect_err(field);
            assert!(matches!(error, ModelError::Unsupported { .. }), "{field}: {error}");
            let message = error.to_string();
            assert!(message.contains(field) && message.contains("m/config.json"), "{message}");
        }
    }

    #[test]
    fn missing_and_ill_typed_fields_are_named() {
        let mut config = smallest();
        config.as_object_mut().unwrap().remove("vocab_size");
        assert!(parse(config).unwrap_err().to_string().contains("`vocab_size` is missing"));
        for (field, value) in [
            ("hidden_size", json!(-1)),
            ("num_hidden_layers", json!("five")),
            ("rms_norm_eps", json!("small")),
            ("tie_word_embeddings", json!(1)),
            ("eos_token_id", json!([1.5])),
        ] {
            let message = parse(with(field, value)).expect_err(field).to_string();
            assert!(message.contains(field), "{message}");
        }
        assert!(parse(with("num_attention_heads", json!(7))).is_err());
        assert!(parse(with("num_attention_heads", json!(0))).is_err());
        assert!(parse(json!([1])).is_err());
        assert!(HfConfig::parse("{", Path::new("c")).is_err());
    }
}
