//! The plan itself, without any engine: its pieces run by the reference interpreter in f64 against central differences
//! of an independent f64 model. What differs here is a wrong derivative or a wrong cut, never rounding.

mod common;

use std::collections::HashMap;

use common::{configs, loss, noise, numeric_gradient, parameters, relative_error};
use ferrane_mil::{
    BlobRef, TensorType,
    interp::{Options, Tensor, interpret},
};
use ferrane_model::{
    LayerRole, ParamTable, Preset,
    plan::{ClassifierPlan, Piece, Plan, PlanKind},
    stage::Tokens,
};

const TOKENS: Tokens = Tokens { batch: 2, seq: 5 };

/// Values of a layer by name.
type Values = HashMap<String, Tensor>;

struct Model<'a> {
    table: &'a ParamTable,
    data: &'a [f64],
}

impl Model<'_> {
    /// Runs a piece of `layer` and adds its outputs to `values`.
    fn run(&self, piece: &Piece, layer: usize, values: &mut Values) {
        let weight = |blob: &BlobRef, _: &TensorType| {
            let name = blob.path.strip_prefix("@model_path/weights/")?.strip_suffix(".bin")?;
            let role = LayerRole::ALL.into_iter().find(|r| r.weight_name() == name);
            let param = match (name, role) {
                ("classifier", _) => self.table.classifier(),
                ("final_norm", _) => self.table.final_norm(),
                (_, role) => self.table.layer(layer, role?),
            };
            Some(self.data[param.range()].to_vec())
        };
        let made: Vec<(String, Tensor)> = {
            let results = interpret(&piece.function, values, &weight, Options::default()).unwrap();
            results.outputs().map(|(name, value)| (name.to_owned(), value.clone())).collect()
        };
        values.extend(made);
    }
}

/// `[1, C, 1, W]` from one row a position, and back.
fn columns(rows: &[Vec<f64>]) -> Tensor {
    let (channels, width) = (rows[0].len(), rows.len());
    let data = (0..channels).flat_map(|c| rows.iter().map(move |row| row[c])).collect();
    Tensor { shape: vec![1, channels, 1, width], data }
}

fn rows(t: &Tensor) -> Vec<Vec<f64>> {
    let width = t.shape[3];
    (0..width).map(|w| t.data.iter().skip(w).step_by(width).copied().collect()).collect()
}

/// Gradients of the hidden states, as rows, and of the classifier's weight, by whoever the plan lets compute them.
fn classifier_gradient(
    model: &Model<'_>,
    plan: &ClassifierPlan,
    head: &mut Values,
    targets: &[u32],
    grads: &mut [f64],
) -> Vec<Vec<f64>> {
    let dim = model.table.config().dim;
    let range = model.table.classifier().range();
    let (weight, grads) = (&model.data[range.clone()], &mut grads[range]);
    let hidden = rows(&head["final"]);
    if let ClassifierPlan::Gradients { loss, gradients } = plan {
        let ones = vec![1.0; hidden.len()];
        head.insert("d_log_sum".to_owned(), Tensor { shape: vec![1, 1, 1, hidden.len()], data: ones });
        model.run(loss, 0, head);
        let log_sum = head.remove("log_sum");
        model.run(gradients, 0, head);
        assert_eq!(head.get("log_sum"), log_sum.as_ref(), "evaluation sees another loss");
        grads.copy_from_slice(&head["d_classifier"].data);
        let mut d_final = rows(&head["d_final"]);
        for ((d, hidden), &target) in d_final.iter_mut().zip(&hidden).zip(targets) {
            let row = target as usize * dim..(target as usize + 1) * dim;
            d.iter_mut().zip(&weight[row.clone()]).for_each(|(d, w)| *d -= w);
            grads[row].iter_mut().zip(hidden).for_each(|(g, h)| *g -= h);
        }
        return d_final;
    }
    let given = head.get("token_probs").map(rows);
    let mut of_position = |(position, (hidden, &target)): (usize, (&Vec<f64>, &u32))| {
        let probs = given.as_ref().map_or_else(
            || {
                let logit = |w: &[f64]| w.iter().zip(hidden).map(|(a, b)| a * b).sum::<f64>().exp();
                let exponentials: Vec<f64> = weight.chunks(dim).map(logit).collect();
                let total: f64 = exponentials.iter().sum();
                exponentials.iter().map(|e| e / total).collect()
            },
            |given| given[position].clone(),
        );
        let mut d = vec![0.0; dim];
        for (token, p) in probs.iter().enumerate() {
            let g = p - f64::from(u8::from(token == target as usize));
            for i in 0..dim {
                d[i] += g * weight[token * dim + i];
                grads[token * dim + i] += g * hidden[i];
            }
        }
        d
    };
    hidden.iter().zip(targets).enumerate().map(&mut of_position).collect()
}

/// Loss gradients of all parameters, as the trainer computes them but in f64.
fn gradient(model: &Model<'_>, plan: &Plan, inputs: &[u32], targets: &[u32]) -> Vec<f64> {
    let (table, c) = (model.table, model.table.config());
    let embedding = &model.data[table.embedding().range()];
    let mut x = columns(
        &inputs.iter().map(|&t| embedding[t as usize * c.dim..][..c.dim].to_vec()).collect::<Vec<_>>(),
    );
    let mut layers = Vec::new();
    for layer in 0..c.layers {
        let mut values = Values::from([("x".to_owned(), x)]);
        plan.layer.forward.iter().for_each(|p| model.run(p, layer, &mut values));
        x = values["y"].clone();
        layers.push(values);
    }
    let mut head = Values::from([("x".to_owned(), x)]);
    plan.head.forward.iter().for_each(|p| model.run(p, 0, &mut head));
    let mut grads = vec![0.0; table.len()];
    let d_final = classifier_gradient(model, &plan.head.classifier, &mut head, targets, &mut grads);
    head.insert("d_final".to_owned(), columns(&d_final));
    model.run(&plan.head.backward, 0, &mut head);
    grads[table.final_norm().range()].copy_from_slice(&head["d_final_norm"].data);

    let mut d_y = head["d_x"].clone();
    for (layer, values) in layers.iter_mut().enumerate().rev() {
        values.insert("d_y".to_owned(), d_y);
        plan.layer.backward.iter().for_each(|p| model.run(p, layer, values));
        d_y = values["d_x"].clone();
        for product in &plan.layer.products {
            let (dy, x) = (rows(&values[&product.dy]), rows(&values[&product.x]));
            let range = table.layer(layer, product.role).range();
            let inputs = x[0].len();
            for (i, g) in grads[range].iter_mut().enumerate() {
                *g = dy.iter().zip(&x).map(|(dy, x)| dy[i / inputs] * x[i % inputs]).sum();
            }
        }
        for (role, value) in &plan.layer.direct {
            grads[table.layer(layer, *role).range()].copy_from_slice(&values[value].data);
        }
    }
    for (row, &token) in rows(&d_y).iter().zip(inputs) {
        let start = table.embedding().offset + token as usize * c.dim;
        grads[start..start + c.dim].iter_mut().zip(row).for_each(|(g, d)| *g += d);
    }
    grads
}

#[test]
fn derived_and_cut_gradients_are_exact() {
    for config in configs() {
        let table = ParamTable::new(&config).unwrap();
        let data = parameters(&table);
        let token = |x: f64| ((x + 1.0) * 5.49) as u32;
        let inputs: Vec<u32> = noise(TOKENS.width(), 1, 1.0).into_iter().map(token).collect();
        let targets: Vec<u32> = noise(TOKENS.width(), 2, 1.0).into_iter().map(token).collect();
        let expected = numeric_gradient(&data, |data| loss(&table, data, TOKENS.seq, &inputs, &targets));
        for kind in PlanKind::ALL {
            let plan = Plan::new(kind, &config, TOKENS).unwrap();
            let derived = gradient(&Model { table: &table, data: &data }, &plan, &inputs, &targets);
            for param in table.params() {
                let error = relative_error(&derived[param.range()], &expected[param.range()]);
                assert!(error < 1e-6, "{kind:?}: {} of {config:?}: {error}", param.name);
            }
        }
    }
}

#[test]
fn stories110m_is_72_kernels_of_which_60_hold_weights() {
    let config = Preset::Stories110M.config();
    let tokens = Tokens { batch: 1, seq: 256 };
    let plan = Plan::new(PlanKind::Six, &config, tokens).unwrap();
    assert_eq!(plan.kernels(config.layers), (72, 60));
    let names: Vec<_> = plan.layer.forward.iter().chain(&plan.layer.backward).map(|p| p.name).collect();
    let expected = [
        "attn_fwd",
        "ffn_fwd",
        "ffn_bwd",
        "ffn_norm_bwd",
        "sdpa_bwd1",
        "sdpa_bwd2",
        "qkv_bwd",
        "attn_norm_bwd",
    ];
    assert_eq!(names, expected);
    // 86 compiles a batch, and 12 + 1 kernels without weights.
    let plan = Plan::new(PlanKind::Extras, &config, tokens).unwrap();
    assert_eq!(plan.kernels(config.layers), (99, 86));
    let plan = Plan::new(PlanKind::Fused, &config, tokens).unwrap();
    assert_eq!(plan.kernels(config.layers), (27, 27));
}
