//! The engine's arithmetic, held against what was published of it.

use ferrane_engine::WeightFiles;
use half::f16;

use crate::finding::{Found, Measured, Sharpness, Trouble};
use crate::mil::{Mil, SAFE, blob, constant, conv, diagonal, port, weight};
use crate::rig::Rig;

const ELEMENTS: usize = SAFE[0] * SAFE[1];

/// `Σ terms · weight` by a convolution: the terms are channels.
fn sum(rig: &Rig, terms: &[f32], by: f32) -> Result<f32, Trouble> {
    let [c, w] = SAFE;
    let mut files = WeightFiles::none();
    weight(&mut files, "w", &vec![by; c * c])?;
    let mut x = vec![0.0; ELEMENTS];
    terms.iter().enumerate().for_each(|(channel, term)| x[channel * w] = *term);
    let mil = Mil::new(SAFE, blob("w", "fp16", &[c, c, 1, 1], "w") + &conv("y", SAFE, "w", "x"));
    Ok(rig.values(&mil, &files, &[&x])?[0][0])
}

/// `op` of pairs.
fn pairs(rig: &Rig, op: &str, cases: &[(f32, f32)]) -> Result<Vec<f32>, Trouble> {
    let (mut a, mut b) = (vec![0.0; ELEMENTS], vec![0.0; ELEMENTS]);
    cases.iter().enumerate().for_each(|(i, case)| (a[i], b[i]) = *case);
    let mil = Mil::of([("a", SAFE), ("b", SAFE)], port("y", SAFE, &format!("{op}(x = a, y = b)")));
    Ok(rig.values(&mil, &WeightFiles::none(), &[&a, &b])?[0][..cases.len()].to_vec())
}

pub(super) fn rounding(rig: &Rig) -> Result<Found, Trouble> {
    let sums = pairs(rig, "add", &[(2048.0, 1.0), (-2048.0, -1.0), (2050.0, 1.0), (2048.0, 3.0)])?;
    let away = match sums[..] {
        [2050.0, -2050.0, 2052.0, 2052.0] => true,
        [2048.0, -2048.0, 2052.0, 2052.0] => false,
        _ => {
            return Err(Trouble::Unclear(format!(
                "2048 + 1, −2048 − 1, 2050 + 1, 2048 + 3 are {sums:?}: no rule for ties is known that does that"
            )));
        }
    };
    let products = sum(rig, &[2048.0, 1.0], 1.0)?;
    let found = Found::default().flag("numerics.ties_away", away);
    Ok(match (products, away) {
        (2050.0, true) | (2048.0, false) => found,
        _ => found.note(format!("the array rounds otherwise: 2048 + 1 is {products} as a sum of products")),
    })
}

pub(super) fn accumulator(rig: &Rig) -> Result<Found, Trouble> {
    let unit = 2f32.powi(-16);
    // Kept from an exponent sum of −16 up, and gone below it; infinite for good once 32768 is reached.
    let kept = sum(rig, &[1.5 * 2f32.powi(-8)], 1.5 * 2f32.powi(-8))?;
    let gone = sum(rig, &[1.9375 * 2f32.powi(-8)], 1.9375 * 2f32.powi(-9))?;
    let wave: Vec<f32> = [4096.0, -4096.0, 1.0].into_iter().cycle().take(48).collect();
    let survivors = sum(rig, &wave, 1.0)?;
    let sticky = sum(rig, &[16_384.0, 16_384.0, -16_384.0, -16_384.0, 1.0], 1.0)?;
    let seen = format!(
        "1.5·2⁻⁸ squared is {kept:e}, 1.9375·2⁻⁸ · 1.9375·2⁻⁹ is {gone:e}, 16 times 4096 − 4096 + 1 is {survivors}, \
         32768 − 32768 + 1 is {sticky}"
    );
    let kind = match (kept == 2.0 * unit, gone, survivors, sticky) {
        (true, 0.0, 16.0, f32::INFINITY) => "fixed16",
        (false, gone, 16.0, 1.0) if gone > 0.0 => "fp32",
        (_, _, 4.0, _) => "tiles",
        _ => return Err(Trouble::Unclear(format!("no published rule does that: {seen}"))),
    };
    Ok(Found::default()
        .with("numerics.accumulator", Measured::Name(kind.into()), Sharpness::Exact)
        .note(seen))
}

pub(super) fn limit(rig: &Rig) -> Result<Found, Trouble> {
    let [c, _] = SAFE;
    let mut files = WeightFiles::none();
    weight(&mut files, "w", &diagonal(c, 1.0))?;
    let mil = Mil::new(SAFE, blob("w", "fp16", &[c, c, 1, 1], "w") + &conv("y", SAFE, "w", "x"));
    let x = super::values::from_one();
    let y = rig.values(&mil, &files, &[&x])?;
    const KEY: &str = "numerics.accumulator_limit";
    Ok(match x.iter().zip(&y[0]).find(|(_, y)| !y.is_finite()) {
        Some((x, _)) => Found::default().with(KEY, Measured::Number(f64::from(*x)), Sharpness::Exact),
        None => Found::default().with(KEY, Measured::Number(65_504.0), Sharpness::AtLeast),
    })
}

/// A published case: what it is, and whether it was seen.
type Case = (&'static str, f32, f32);

/// Which published cases are seen here, and which are not.
fn cases(what: &str, cases: &[Case]) -> Found {
    let same = |(_, found, published): &&Case| found == published || (found.is_nan() && published.is_nan());
    let seen = cases.iter().filter(same).count();
    let others = cases.iter().filter(|case| !same(case));
    let others = others.map(|(case, found, published)| format!("{case} is {found}, published {published}"));
    others.fold(
        Found::default().note(format!("{what}: {seen} of {} published cases are so here", cases.len())),
        Found::note,
    )
}

pub(super) fn special_values(rig: &Rig) -> Result<Found, Trouble> {
    const INF: f32 = f32::INFINITY;
    let tiny = 2f32.powi(-24);
    let add = pairs(
        rig,
        "add",
        &[(16_384.0, 16_384.0), (65_504.0, 0.0), (f32::NAN, 1.0), (INF, -INF), (tiny, 0.0)],
    )?;
    let mul = pairs(rig, "mul", &[(256.0, 256.0), (0.0, INF), (2f32.powi(-12), 2f32.powi(-12))])?;
    let elementwise = cases(
        "elementwise",
        &[
            ("16384 + 16384", add[0], 32_768.0),
            ("65504 + 0", add[1], 65_504.0),
            ("NaN + 1", add[2], INF),
            ("∞ − ∞", add[3], 0.0),
            ("2⁻²⁴ + 0", add[4], tiny),
            ("256 · 256", mul[0], INF),
            ("0 · ∞", mul[1], 0.0),
            ("2⁻¹² · 2⁻¹²", mul[2], tiny),
        ],
    );
    let array = cases(
        "array",
        &[
            ("∞ / 16", sum(rig, &[INF], 0.0625)?, 4096.0),
            ("NaN / 16", sum(rig, &[f32::NAN], 0.0625)?, 6144.0),
            ("64 times 2⁻²⁴", sum(rig, &[tiny; 64], 1.0)?, 0.0),
            ("1024 + 2⁻¹⁶ − 1024", sum(rig, &[1024.0, 2f32.powi(-16), -1024.0], 1.0)?, 2f32.powi(-16)),
            ("1024 + 2⁻¹⁸ − 1024", sum(rig, &[1024.0, 2f32.powi(-18), -1024.0], 1.0)?, 0.0),
            ("16384 + 16376", sum(rig, &[16_384.0, 16_376.0], 1.0)?, 32_768.0),
        ],
    );
    let unary = |op: &str, x: f32| -> Result<f32, Trouble> {
        let named = constant("fp16", "epsilon", "0.0");
        let call = port("y", SAFE, op);
        let body = if op.contains("epsilon") { named + &call } else { call };
        Ok(rig.values(&Mil::new(SAFE, body), &WeightFiles::none(), &[&vec![x; ELEMENTS]])?[0][0])
    };
    let functions = cases(
        "functions",
        &[
            ("exp(11.094)", unary("exp(x = x)", 11.094)?, INF),
            ("square(256)", unary("square(x = x)", 256.0)?, INF),
            ("log(0)", unary("log(epsilon = epsilon, x = x)", 0.0)?, -45_440.0),
            ("log(−1)", unary("log(epsilon = epsilon, x = x)", -1.0)?, 0.0),
            ("sqrt(−1)", unary("sqrt(x = x)", -1.0)?, 0.0),
            ("rsqrt(−1)", unary("rsqrt(epsilon = epsilon, x = x)", -1.0)?, 0.0),
            ("1 / −0", unary("inverse(epsilon = epsilon, x = x)", -0.0)?, INF),
            ("softsign(∞)", unary("softsign(x = x)", INF)?, 0.0),
            ("sigmoid(−9.945)", unary("sigmoid(x = x)", -9.945)?, 0.0),
            ("sigmoid(8.32)", unary("sigmoid(x = x)", 8.32)?, 1.0),
        ],
    );
    Ok(elementwise.and(array).and(functions))
}

pub(super) fn tables(rig: &Rig) -> Result<Found, Trouble> {
    type Function = (&'static str, fn(f64) -> f64, f64, f64);
    let functions: [Function; 4] = [
        ("sigmoid", |x| 1.0 / (1.0 + (-x).exp()), 12.0, 3.4e-3),
        ("tanh", f64::tanh, 6.0, 1.6e-3),
        ("silu", |x| x / (1.0 + (-x).exp()), 12.0, 1.5e-2),
        ("sin", f64::sin, 8.0, 6.3e-4),
    ];
    let mut found = Found::default();
    for (name, exact, bound, published) in functions {
        let step = 2.0 * bound / ELEMENTS as f64;
        let x: Vec<f32> = (0..ELEMENTS).map(|i| f16::from_f64(i as f64 * step - bound).to_f32()).collect();
        let mil = Mil::new(SAFE, port("y", SAFE, &format!("{name}(x = x)")));
        let y = rig.values(&mil, &WeightFiles::none(), &[&x])?;
        let error = |(x, y): (&f32, &f32)| (f64::from(*y) - exact(f64::from(*x))).abs();
        let largest = x.iter().zip(&y[0]).map(error).fold(0.0, f64::max);
        found = found.note(format!("{name} errs by {largest:.2e}; published {published:.1e}"));
    }
    Ok(found)
}
