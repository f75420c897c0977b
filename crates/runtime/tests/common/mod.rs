//! A Llama in plain f64 loops, written from the definition and sharing nothing with the implementation but the order of
//! the parameters.
#![allow(dead_code, reason = "each test binary uses its part")]

use ferrane_model::{LayerRole, ModelConfig, ParamTable, config::RopeScaling};

/// A small model in which every extent differs and grouped queries and several sequences occur.
pub(crate) fn config(tied: bool) -> ModelConfig {
    ModelConfig {
        dim: 10,
        hidden: 14,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 6,
        vocab: 11,
        max_seq: 8,
        rms_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        qk_norm: false,
        residual_scale: 1.0,
        tied,
    }
}

/// The models that gradients are checked of: tied and untied, and one with all that is optional.
pub(crate) fn configs() -> [ModelConfig; 3] {
    let scaling =
        RopeScaling { factor: 4.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_seq: 16 };
    let other = ModelConfig {
        kv_heads: 1,
        rope_theta: 100.0,
        rope_scaling: Some(scaling),
        qk_norm: true,
        residual_scale: 0.5,
        ..config(false)
    };
    [config(true), config(false), other]
}

/// Plain numbers without pattern, in −scale..scale.
pub(crate) fn noise(len: usize, seed: u64, scale: f64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f64 / (1u64 << 23) as f64 - 1.0) * scale
    };
    (0..len).map(|_| next()).collect()
}

/// Parameters with norms around 1, so that a norm's derivative that forgets its weight shows.
pub(crate) fn parameters(table: &ParamTable) -> Vec<f64> {
    let mut data = noise(table.len(), 7, 0.5);
    for p in table.params() {
        if p.shape.len() == 1 {
            data[p.range()].iter_mut().for_each(|x| *x += 1.0);
        }
    }
    data.iter().map(|&x| f64::from(x as f32)).collect()
}

/// The central difference of `f` along each parameter.
pub(crate) fn numeric_gradient(data: &[f64], mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    const H: f64 = 1e-5;
    let mut data = data.to_vec();
    (0..data.len())
        .map(|i| {
            let x = data[i];
            data[i] = x + H;
            let up = f(&data);
            data[i] = x - H;
            let down = f(&data);
            data[i] = x;
            (up - down) / (2.0 * H)
        })
        .collect()
}

/// ‖a − b‖ / ‖b‖
pub(crate) fn relative_error(a: &[f64], b: &[f64]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied()).max(1e-300)
}

type Rows = Vec<Vec<f64>>;

/// Sum over positions of the negative log-likelihood; sequences of `seq` tokens one after the other.
pub(crate) fn loss(table: &ParamTable, data: &[f64], seq: usize, inputs: &[u32], targets: &[u32]) -> f64 {
    inputs.chunks(seq).zip(targets.chunks(seq)).map(|(i, t)| sequence_loss(table, data, i, t)).sum()
}

fn sequence_loss(table: &ParamTable, data: &[f64], inputs: &[u32], targets: &[u32]) -> f64 {
    let c = table.config();
    let embedding = &data[table.embedding().range()];
    let mut x: Rows = inputs.iter().map(|&t| embedding[t as usize * c.dim..][..c.dim].to_vec()).collect();
    for layer in 0..c.layers {
        let w = |role| &data[table.layer(layer, role).range()];
        let n = norm(c, &x, w(LayerRole::AttnNorm));
        let (mut q, mut k) = (apply(&n, w(LayerRole::Q)), apply(&n, w(LayerRole::K)));
        if c.qk_norm {
            q = norm_heads(c, &q, w(LayerRole::QNorm));
            k = norm_heads(c, &k, w(LayerRole::KNorm));
        }
        let (q, k) = (rotate(c, &q), rotate(c, &k));
        let v = apply(&n, w(LayerRole::V));
        add(c, &mut x, &apply(&attend(c, &q, &k, &v), w(LayerRole::O)));
        let n = norm(c, &x, w(LayerRole::FfnNorm));
        let (gate, up) = (apply(&n, w(LayerRole::Gate)), apply(&n, w(LayerRole::Up)));
        let silu = |g: f64| g / (1.0 + (-g).exp());
        let product = |(g, u): (&Vec<f64>, &Vec<f64>)| g.iter().zip(u).map(|(g, u)| silu(*g) * u).collect();
        let h: Rows = gate.iter().zip(&up).map(product).collect();
        add(c, &mut x, &apply(&h, w(LayerRole::Down)));
    }
    let n = norm(c, &x, &data[table.final_norm().range()]);
    let logits = apply(&n, &data[table.classifier().range()]);
    logits
        .iter()
        .zip(targets)
        .map(|(l, &t)| l.iter().map(|x| x.exp()).sum::<f64>().ln() - l[t as usize])
        .sum()
}

fn apply(x: &Rows, w: &[f64]) -> Rows {
    let inputs = x[0].len();
    let dot = |x: &[f64], row: &[f64]| x.iter().zip(row).map(|(x, w)| x * w).sum::<f64>();
    x.iter().map(|x| w.chunks(inputs).map(|row| dot(x, row)).collect()).collect()
}

fn add(c: &ModelConfig, x: &mut Rows, y: &Rows) {
    let scale = f64::from(c.residual_scale);
    x.iter_mut().flatten().zip(y.iter().flatten()).for_each(|(x, y)| *x += scale * y);
}

fn norm_heads(c: &ModelConfig, x: &Rows, w: &[f64]) -> Rows {
    let heads = |x: &Vec<f64>| x.chunks(c.head_dim).map(<[f64]>::to_vec).collect::<Rows>();
    x.iter().map(|x| norm(c, &heads(x), w).concat()).collect()
}

fn norm(c: &ModelConfig, x: &Rows, w: &[f64]) -> Rows {
    let one = |x: &Vec<f64>| {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let r = 1.0 / (mean + f64::from(c.rms_eps)).sqrt();
        x.iter().zip(w).map(|(x, w)| x * r * w).collect()
    };
    x.iter().map(one).collect()
}

fn rotate(c: &ModelConfig, x: &Rows) -> Rows {
    let half = c.head_dim / 2;
    let one = |(position, x): (usize, &Vec<f64>)| {
        let mut y = x.clone();
        for head in (0..x.len()).step_by(c.head_dim) {
            for i in 0..half {
                let angle = position as f64 * frequency(c, i);
                let (a, b) = (x[head + i], x[head + half + i]);
                y[head + i] = a * angle.cos() - b * angle.sin();
                y[head + half + i] = b * angle.cos() + a * angle.sin();
            }
        }
        y
    };
    x.iter().enumerate().map(one).collect()
}

/// Written from the text of Llama 3.1's reference code.
fn frequency(c: &ModelConfig, i: usize) -> f64 {
    let plain = 1.0 / f64::from(c.rope_theta).powf(2.0 * i as f64 / c.head_dim as f64);
    let Some(s) = c.rope_scaling else { return plain };
    let (factor, low, high) =
        (f64::from(s.factor), f64::from(s.low_freq_factor), f64::from(s.high_freq_factor));
    let wavelength = 2.0 * std::f64::consts::PI / plain;
    let original = s.original_max_seq as f64;
    if wavelength < original / high {
        plain
    } else if wavelength > original / low {
        plain / factor
    } else {
        let smooth = (original / wavelength - low) / (high - low);
        (1.0 - smooth) * plain / factor + smooth * plain
    }
}

fn attend(c: &ModelConfig, q: &Rows, k: &Rows, v: &Rows) -> Rows {
    let ratio = c.heads / c.kv_heads;
    let head = |x: &[f64], h: usize| x[h * c.head_dim..(h + 1) * c.head_dim].to_vec();
    let mut out: Rows = q.iter().map(|x| vec![0.0; x.len()]).collect();
    for (t, out) in out.iter_mut().enumerate() {
        for h in 0..c.heads {
            let query = head(&q[t], h);
            let score = |s: usize| {
                let key = head(&k[s], h / ratio);
                let dot: f64 = query.iter().zip(&key).map(|(a, b)| a * b).sum();
                (dot / (c.head_dim as f64).sqrt()).exp()
            };
            let scores: Vec<f64> = (0..=t).map(score).collect();
            let total: f64 = scores.iter().sum();
            for (s, score) in scores.iter().enumerate() {
                let value = head(&v[s], h / ratio);
                for (i, value) in value.iter().enumerate() {
                    out[h * c.head_dim + i] += score / total * value;
                }
            }
        }
    }
    out
}
