//! Steps of a Llama in burn, on its backend for processors.

use burn::backend::{Autodiff, Flex};
use burn::grad_clipping::GradientClippingConfig;
use burn::module::{Module, Param};
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::nn::{RmsNorm, RmsNormConfig};
use burn::optim::{AdamWConfig, GradientsParams, Optimizer};
use burn::tensor::activation::{silu, softmax};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use peer::{Request, Result, Weights};

type Cpu = Autodiff<Flex>;

/// Matrices are stored by columns, `[inputs, outputs]`, as burn's own layers have them.
#[derive(Module, Debug)]
struct Layer<B: Backend> {
    attention_norm: RmsNorm<B>,
    query: Param<Tensor<B, 2>>,
    key: Param<Tensor<B, 2>>,
    value: Param<Tensor<B, 2>>,
    output: Param<Tensor<B, 2>>,
    ffn_norm: RmsNorm<B>,
    gate: Param<Tensor<B, 2>>,
    up: Param<Tensor<B, 2>>,
    down: Param<Tensor<B, 2>>,
}

#[derive(Module, Debug)]
struct Llama<B: Backend> {
    embedding: Param<Tensor<B, 2>>,
    layers: Vec<Layer<B>>,
    norm: RmsNorm<B>,
}

/// What is the same in every step.
struct Constants<B: Backend> {
    /// `[1, 1, seq, head_dim / 2]`
    cos: Tensor<B, 4>,
    sin: Tensor<B, 4>,
    /// `[1, 1, seq, seq]`: 0 or -inf
    mask: Tensor<B, 4>,
    cross_entropy: CrossEntropyLoss<B>,
}

impl<B: Backend> Llama<B> {
    fn new(r: &Request, device: &B::Device) -> Self {
        let mut weights = Weights::default();
        let matrix = |values: Vec<f32>, shape: [usize; 2]| {
            Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
        };
        let norm = || RmsNormConfig::new(r.dim).init(device);
        let embedding = matrix(weights.matrix(r.vocab, r.dim), [r.vocab, r.dim]);
        let mut linear = |outputs, inputs| matrix(weights.transposed(outputs, inputs), [inputs, outputs]);
        let layers = (0..r.layers)
            .map(|_| Layer {
                attention_norm: norm(),
                query: linear(r.dim, r.dim),
                key: linear(r.kv_dim(), r.dim),
                value: linear(r.kv_dim(), r.dim),
                output: linear(r.dim, r.dim),
                ffn_norm: norm(),
                gate: linear(r.hidden, r.dim),
                up: linear(r.hidden, r.dim),
                down: linear(r.dim, r.hidden),
            })
            .collect();
        Self { embedding, layers, norm: norm() }
    }

    /// The loss of `inputs` followed by `targets`, each `[batch * seq]`.
    fn loss(
        &self,
        r: &Request,
        c: &Constants<B>,
        inputs: Tensor<B, 1, Int>,
        targets: Tensor<B, 1, Int>,
    ) -> Tensor<B, 1> {
        let mut x = self.embedding.val().select(0, inputs);
        for layer in &self.layers {
            x = x.clone() + layer.attention(r, c, layer.attention_norm.forward(x));
            x = x.clone() + layer.feed_forward(layer.ffn_norm.forward(x));
        }
        let logits = self.norm.forward(x).matmul(self.embedding.val().transpose());
        c.cross_entropy.forward(logits, targets)
    }
}

impl<B: Backend> Layer<B> {
    fn attention(&self, r: &Request, c: &Constants<B>, x: Tensor<B, 2>) -> Tensor<B, 2> {
        // [batch, heads, seq, head_dim]
        let heads = |weight: &Param<Tensor<B, 2>>, count: usize| {
            x.clone().matmul(weight.val()).reshape([r.batch, r.seq, count, r.head_dim()]).swap_dims(1, 2)
        };
        let query = rotated(heads(&self.query, r.heads), c);
        let key = shared(rotated(heads(&self.key, r.kv_heads), c), r);
        let value = shared(heads(&self.value, r.kv_heads), r);
        let scores = query.matmul(key.swap_dims(2, 3)) / (r.head_dim() as f64).sqrt();
        let mixed = softmax(scores + c.mask.clone(), 3).matmul(value);
        mixed.swap_dims(1, 2).reshape([r.batch * r.seq, r.dim]).matmul(self.output.val())
    }

    fn feed_forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let gate = silu(x.clone().matmul(self.gate.val()));
        (gate * x.matmul(self.up.val())).matmul(self.down.val())
    }
}

/// RoPE, a head's first half turned against its second.
fn rotated<B: Backend>(x: Tensor<B, 4>, c: &Constants<B>) -> Tensor<B, 4> {
    let halves = x.chunk(2, 3);
    let (low, high) = (halves[0].clone(), halves[1].clone());
    let (cos, sin) = (c.cos.clone(), c.sin.clone());
    Tensor::cat(vec![low.clone() * cos.clone() - high.clone() * sin.clone(), high * cos + low * sin], 3)
}

/// Heads of keys and values, each as often as there are heads of queries for it.
fn shared<B: Backend>(x: Tensor<B, 4>, r: &Request) -> Tensor<B, 4> {
    let group = r.heads / r.kv_heads;
    if group == 1 {
        return x;
    }
    x.unsqueeze_dim::<5>(2).expand([r.batch, r.kv_heads, group, r.seq, r.head_dim()]).reshape([
        r.batch,
        r.heads,
        r.seq,
        r.head_dim(),
    ])
}

impl<B: Backend> Constants<B> {
    fn new(r: &Request, device: &B::Device) -> Self {
        let tensor =
            |values: Vec<f32>, last| Tensor::from_data(TensorData::new(values, [1, 1, r.seq, last]), device);
        let (cos, sin) = r.rotation();
        let mask = (0..r.seq * r.seq).map(|i| if i % r.seq > i / r.seq { f32::NEG_INFINITY } else { 0.0 });
        Self {
            cos: tensor(cos, r.head_dim() / 2),
            sin: tensor(sin, r.head_dim() / 2),
            mask: tensor(mask.collect(), r.seq),
            cross_entropy: CrossEntropyLossConfig::new().init(device),
        }
    }
}

fn tokens<B: Backend>(tokens: Vec<u32>, device: &B::Device) -> Tensor<B, 1, Int> {
    let tokens: Vec<i32> = tokens.into_iter().map(|token| token as i32).collect();
    Tensor::from_ints(&tokens[..], device)
}

fn main() -> Result<()> {
    let request = Request::from_arguments()?;
    let device = Default::default();
    let mut trained = Some(Llama::<Cpu>::new(&request, &device));
    let constants = Constants::new(&request, &device);
    // burn clips the norm of each tensor, not of all together, which costs the same.
    let mut optimiser = AdamWConfig::new()
        .with_beta_2(0.95)
        .with_epsilon(1e-8)
        .with_weight_decay(0.1)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)))
        .init();
    request.run(|step| {
        let llama = trained.take().ok_or("the step before failed")?;
        let (inputs, targets) = request.tokens(step);
        let loss = llama.loss(&request, &constants, tokens(inputs, &device), tokens(targets, &device));
        let gradients = GradientsParams::from_grads(loss.backward(), &llama);
        trained = Some(optimiser.step(3e-4, llama, gradients));
        Ok(loss.into_scalar())
    })
}
