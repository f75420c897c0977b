//! Steps of a Llama in candle.

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, loss, ops, rotary_emb};
use peer::{Request, Result, Weights};

struct Layer {
    attention_norm: Var,
    query: Var,
    key: Var,
    value: Var,
    output: Var,
    ffn_norm: Var,
    gate: Var,
    up: Var,
    down: Var,
}

struct Llama<'a> {
    request: &'a Request,
    embedding: Var,
    layers: Vec<Layer>,
    norm: Var,
    cos: Tensor,
    sin: Tensor,
    mask: Tensor,
    /// All of the above that are trained.
    vars: Vec<Var>,
}

impl<'a> Llama<'a> {
    fn new(r: &'a Request) -> Result<Self> {
        let mut weights = Weights::default();
        let mut vars = Vec::new();
        let mut kept = |tensor: Tensor| -> Result<Var> {
            vars.push(Var::from_tensor(&tensor)?);
            Ok(vars[vars.len() - 1].clone())
        };
        let mut matrix = |rows: usize, columns: usize| {
            Tensor::from_vec(weights.matrix(rows, columns), (rows, columns), &Device::Cpu)
        };
        let ones = || Tensor::ones(r.dim, DType::F32, &Device::Cpu);
        let embedding = kept(matrix(r.vocab, r.dim)?)?;
        let mut layers = Vec::new();
        for _ in 0..r.layers {
            layers.push(Layer {
                attention_norm: kept(ones()?)?,
                query: kept(matrix(r.dim, r.dim)?)?,
                key: kept(matrix(r.kv_dim(), r.dim)?)?,
                value: kept(matrix(r.kv_dim(), r.dim)?)?,
                output: kept(matrix(r.dim, r.dim)?)?,
                ffn_norm: kept(ones()?)?,
                gate: kept(matrix(r.hidden, r.dim)?)?,
                up: kept(matrix(r.hidden, r.dim)?)?,
                down: kept(matrix(r.dim, r.hidden)?)?,
            });
        }
        let norm = kept(ones()?)?;
        let (cos, sin) = r.rotation();
        let angles = |v: Vec<f32>| Tensor::from_vec(v, (r.seq, r.head_dim() / 2), &Device::Cpu);
        let mask = (0..r.seq * r.seq).map(|i| if i % r.seq > i / r.seq { f32::NEG_INFINITY } else { 0.0 });
        let mask = Tensor::from_vec(mask.collect(), (r.seq, r.seq), &Device::Cpu)?;
        Ok(Self { request: r, embedding, layers, norm, cos: angles(cos)?, sin: angles(sin)?, mask, vars })
    }

    /// The loss of `inputs` followed by `targets`.
    fn loss(&self, inputs: Vec<u32>, targets: Vec<u32>) -> candle_core::Result<Tensor> {
        let inputs = Tensor::new(inputs, &Device::Cpu)?;
        let mut x = self.embedding.index_select(&inputs, 0)?;
        for layer in &self.layers {
            x = (&x + self.attention(layer, &norm(&x, &layer.attention_norm)?)?)?;
            x = (&x + feed_forward(layer, &norm(&x, &layer.ffn_norm)?)?)?;
        }
        let logits = linear(&norm(&x, &self.norm)?, &self.embedding)?;
        loss::cross_entropy(&logits, &Tensor::new(targets, &Device::Cpu)?)
    }

    fn attention(&self, layer: &Layer, x: &Tensor) -> candle_core::Result<Tensor> {
        let r = self.request;
        // [batch, heads, seq, head_dim]
        let heads = |weight: &Var, count: usize| {
            linear(x, weight)?.reshape((r.batch, r.seq, count, r.head_dim()))?.transpose(1, 2)?.contiguous()
        };
        let shared = |x: Tensor| {
            let group = r.heads / r.kv_heads;
            let shape = (r.batch, r.kv_heads, group, r.seq, r.head_dim());
            x.unsqueeze(2)?.broadcast_as(shape)?.reshape((r.batch, r.heads, r.seq, r.head_dim()))
        };
        let query = rotary_emb::rope_slow(&heads(&layer.query, r.heads)?, &self.cos, &self.sin)?;
        let key = rotary_emb::rope_slow(&heads(&layer.key, r.kv_heads)?, &self.cos, &self.sin)?;
        let (key, value) = (shared(key)?, shared(heads(&layer.value, r.kv_heads)?)?);
        let scores = (query.matmul(&key.t()?)? / (r.head_dim() as f64).sqrt())?;
        let probabilities = ops::softmax(&scores.broadcast_add(&self.mask)?, D::Minus1)?;
        let mixed = probabilities.matmul(&value.contiguous()?)?.transpose(1, 2)?;
        linear(&mixed.reshape((r.batch * r.seq, r.dim))?, &layer.output)
    }
}

fn linear(x: &Tensor, weight: &Var) -> candle_core::Result<Tensor> {
    x.matmul(&weight.t()?)
}

/// candle's fused norm has no backward pass.
fn norm(x: &Tensor, gamma: &Var) -> candle_core::Result<Tensor> {
    let mean = (x.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?;
    x.broadcast_div(&mean.sqrt()?)?.broadcast_mul(gamma)
}

fn feed_forward(layer: &Layer, x: &Tensor) -> candle_core::Result<Tensor> {
    linear(&(linear(x, &layer.gate)?.silu()? * linear(x, &layer.up)?)?, &layer.down)
}

/// Scales the gradients so that their norm is at most 1.
fn clip(gradients: &mut GradStore, vars: &[Var]) -> candle_core::Result<()> {
    let mut square = 0.0;
    for gradient in vars.iter().filter_map(|var| gradients.get(var)) {
        square += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    if square > 1.0 {
        for var in vars {
            if let Some(gradient) = gradients.remove(var) {
                gradients.insert(var, (gradient / square.sqrt())?);
            }
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let request = Request::from_arguments()?;
    let llama = Llama::new(&request)?;
    let settings = ParamsAdamW { lr: 3e-4, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
    let mut optimiser = AdamW::new(llama.vars.clone(), settings)?;
    request.run(|step| {
        let (inputs, targets) = request.tokens(step);
        let loss = llama.loss(inputs, targets)?;
        let mut gradients = loss.backward()?;
        clip(&mut gradients, &llama.vars)?;
        optimiser.step(&gradients)?;
        Ok(loss.to_scalar::<f32>()?)
    })
}
