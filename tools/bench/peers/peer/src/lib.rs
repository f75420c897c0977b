//! What the peers written in Rust share: the request they are started with, the numbers of the model, the timing of steps.
//!
//! `llama.py` beside this workspace does the same for the peers written in Python, to the same numbers.

use std::error::Error;
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What to train and how long, as JSON on the command line.
#[derive(Deserialize)]
pub struct Request {
    pub dim: usize,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub vocab: usize,
    pub batch: usize,
    pub seq: usize,
    /// Steps that count.
    pub steps: usize,
    /// Steps before them.
    pub warm: usize,
    /// After this time of steps that count a run ends early.
    pub seconds: f64,
}

/// What a peer prints: milliseconds and loss of every step.
#[derive(Serialize)]
struct Reply {
    ms: Vec<f64>,
    loss: Vec<f32>,
}

impl Request {
    pub fn from_arguments() -> Result<Self> {
        let json = std::env::args().nth(1).ok_or("usage: PEER REQUEST, as compare.py starts it")?;
        Ok(serde_json::from_str(&json)?)
    }

    pub fn head_dim(&self) -> usize {
        self.dim / self.heads
    }

    pub fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_dim()
    }

    /// Tokens of a step, and those that follow them, a sequence after the other.
    pub fn tokens(&self, step: usize) -> (Vec<u32>, Vec<u32>) {
        let begins = (0..self.batch).map(|sequence| (step * self.batch + sequence) * (self.seq + 1));
        let window = |shift: usize| {
            begins
                .clone()
                .flat_map(|begin| begin + shift..begin + shift + self.seq)
                .map(|i| self.token(i))
                .collect()
        };
        (window(0), window(1))
    }

    fn token(&self, i: usize) -> u32 {
        mix(i as u32) % self.vocab as u32
    }

    /// Cosine and sine of RoPE's angles, `[seq, head_dim / 2]`.
    pub fn rotation(&self) -> (Vec<f32>, Vec<f32>) {
        let half = self.head_dim() / 2;
        let angle = |i: usize| (i / half) as f64 * 10_000f64.powf(-((i % half) as f64) / half as f64);
        (0..self.seq * half).map(|i| (angle(i).cos() as f32, angle(i).sin() as f32)).unzip()
    }

    /// Times `step`, which takes its number and returns its loss, and prints the reply.
    pub fn run(&self, mut step: impl FnMut(usize) -> Result<f32>) -> Result<()> {
        let mut reply = Reply { ms: Vec::new(), loss: Vec::new() };
        for i in 0..self.warm + self.steps {
            if reply.ms.iter().skip(self.warm).sum::<f64>() > self.seconds * 1e3 {
                break;
            }
            let start = Instant::now();
            reply.loss.push(step(i)?);
            reply.ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
        println!("{}", serde_json::to_string(&reply)?);
        Ok(())
    }
}

/// Matrices of the model in the order in which they are asked for, so that every peer starts with the same.
#[derive(Default)]
pub struct Weights {
    made: u32,
}

impl Weights {
    /// The next matrix, `[rows, columns]`: uniform, of a standard deviation of 0.02.
    pub fn matrix(&mut self, rows: usize, columns: usize) -> Vec<f32> {
        let seed = self.made.wrapping_mul(0x9e37_79b9);
        self.made += 1;
        (0..rows * columns)
            .map(|i| ((f64::from(mix(i as u32 ^ seed)) / 2f64.powi(32) - 0.5) * 0.0693) as f32)
            .collect()
    }

    /// The next matrix, stored by columns.
    pub fn transposed(&mut self, rows: usize, columns: usize) -> Vec<f32> {
        let matrix = self.matrix(rows, columns);
        (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c)).map(|i| matrix[i]).collect()
    }
}

/// Scatters the bits of a number.
fn mix(x: u32) -> u32 {
    let x = x.wrapping_mul(0x9e37_79b1);
    let x = (x ^ x >> 15).wrapping_mul(0x85eb_ca77);
    x ^ x >> 13
}
