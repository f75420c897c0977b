//! Keys and values of the tokens so far, and the kernels that add one token to them.

use ferrane_engine::Surface;
use ferrane_model::{
    plan::{HeadPlan, Plan},
    stage::{MASKED, Tokens, names, rotation},
};

use crate::{
    RuntimeError,
    layers::{Binder, Pass, Values, embed, in_turns},
    weights::Weights,
};

/// Room for the keys and values of some tokens, and kernels compiled for it.
pub(super) struct Cache {
    capacity: usize,
    layers: Pass,
    head: Pass,
    input: Surface,
    /// What turns queries and keys to the token's position.
    rotation: [Surface; 2],
    /// Which of the tokens there is room for are there.
    mask: Surface,
    /// Keys and values of each layer.
    past: Vec<[Surface; 2]>,
    /// Key and value of the token, of the layer that ran last.
    taps: [Surface; 2],
    last: Surface,
}

impl Cache {
    pub(super) fn new(binder: &mut Binder, capacity: usize) -> Result<Self, RuntimeError> {
        let config = binder.weights().table().config().clone();
        let width = binder.min_input_width().max(1);
        let pieces = binder.compile(&Plan::cached(&config, capacity, width)?)?;
        let head = HeadPlan::host(&config, Tokens { batch: 1, seq: width })?.forward;
        let head = binder.compile(&head)?;

        let all: Vec<_> = pieces.iter().collect();
        let values = binder.values(&all, &Values::new())?;
        let mut shared = values.clone();
        shared.retain(|name, _| name != names::PAST_K && name != names::PAST_V);
        let layers =
            (0..config.layers).map(|_| binder.values(&all, &shared)).collect::<Result<Vec<_>, _>>()?;
        let turns = [values[names::X].clone(), values[names::Y].clone()];
        let given = Values::from([(names::X.to_owned(), turns[config.layers % 2].clone())]);
        let head_values = binder.values(&[&head[0]], &given)?;
        let pair = |values: &Values, names: [&str; 2]| names.map(|name| values[name].clone());
        Ok(Self {
            capacity,
            past: layers.iter().map(|values| pair(values, [names::PAST_K, names::PAST_V])).collect(),
            layers: binder.bind(pieces, &in_turns(&turns, &layers))?,
            head: binder.bind(head, std::slice::from_ref(&head_values))?,
            rotation: pair(&values, [names::ROPE_COS, names::ROPE_SIN]),
            mask: values[names::PAST_MASK].clone(),
            taps: pair(&values, [names::K, names::V]),
            last: head_values[names::FINAL].clone(),
            input: turns[0].clone(),
        })
    }

    /// The most tokens it has room for.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Computes the hidden state of the token at `position`, after tokens whose keys and values are here, and adds its own.
    pub(super) fn step(
        &mut self,
        weights: &Weights,
        position: usize,
        token: u32,
    ) -> Result<(), RuntimeError> {
        let config = weights.table().config();
        embed(weights, &vec![token; self.input.shape()[3]], &self.input)?;
        let [cos, sin] = &self.rotation;
        let (cosines, sines): (Vec<f32>, Vec<f32>) = rotation(config, position).unzip();
        write_first_column(cos, &cosines)?;
        write_first_column(sin, &sines)?;
        for layer in 0..config.layers {
            self.layers.run(layer)?;
            self.put(layer, &self.taps, 1, position)?;
        }
        self.mask_after(position + 1)?;
        self.head.run(0)
    }

    /// The normed hidden state, in the first column.
    pub(super) fn last(&self) -> &Surface {
        &self.last
    }

    /// Puts the first `count` columns of keys and values at position `at`.
    pub(super) fn put(
        &self,
        layer: usize,
        taps: &[Surface; 2],
        count: usize,
        at: usize,
    ) -> Result<(), RuntimeError> {
        taps.iter().zip(&self.past[layer]).try_for_each(|(from, to)| copy_columns(from, to, count, at))
    }

    /// Lets the first `count` tokens count, and no others.
    pub(super) fn mask_after(&self, count: usize) -> Result<(), RuntimeError> {
        self.mask.write(|mask| {
            mask[..count].fill(0.0);
            mask[count..].fill(MASKED);
        })?;
        Ok(())
    }

    /// Copies what a smaller cache holds.
    pub(super) fn take_over(&self, smaller: &Cache) -> Result<(), RuntimeError> {
        for (layer, past) in smaller.past.iter().enumerate() {
            self.put(layer, past, smaller.capacity, 0)?;
        }
        let there = smaller.mask.read(|mask| mask.iter().take_while(|&&m| m == 0.0).count())?;
        self.mask_after(there)
    }
}

fn copy_columns(from: &Surface, to: &Surface, count: usize, at: usize) -> Result<(), RuntimeError> {
    let (wide, narrow) = (to.shape()[3], from.shape()[3]);
    from.read(|from| {
        to.write(|to| {
            for (to, from) in to.chunks_exact_mut(wide).zip(from.chunks_exact(narrow)) {
                to[at..at + count].copy_from_slice(&from[..count]);
            }
        })
    })??;
    Ok(())
}

fn write_first_column(surface: &Surface, column: &[f32]) -> Result<(), RuntimeError> {
    let width = surface.shape()[3];
    surface.write(|elements| {
        for (row, &value) in elements.chunks_exact_mut(width).zip(column) {
            row[0] = value;
        }
    })?;
    Ok(())
}
