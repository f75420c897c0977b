//! What takes minutes, gigabytes or a rest of the engine.

use std::sync::Arc;
use std::time::Duration;

use ferrane_engine::WeightFiles;

use super::process::refuse;
use super::speed::{load, one_weight};
use crate::finding::{Found, Measured, Sharpness, Trouble};
use crate::mil::{Mil, SAFE, blob, conv, path, port};
use crate::rig::Rig;
use crate::search::{Limit, largest};

/// Channels of a weight of so many bytes, and of the next one.
const CHANNELS: [usize; 2] = [8192, 4096];
const PIECE: u64 = 2 * (CHANNELS[0] * CHANNELS[1]) as u64;

pub(super) fn weight_bytes(rig: &Rig) -> Result<Found, Trouble> {
    // One file of a matrix and its transpose, under many names.
    let bytes = one_weight(CHANNELS[0], 1, CHANNELS[1])?;
    let bytes = bytes.only().map_err(|error| Trouble::Program(error.to_string()))?;
    // 1.6 GB are 23 pieces, and 3.4 GB 51.
    let limit = largest(&[8, 23, 51], |pieces| {
        let (mut files, mut body, mut x) = (WeightFiles::none(), String::new(), "x".to_owned());
        for i in 0..pieces as usize {
            let (name, y) = (format!("w{i}"), format!("t{i}"));
            let [from, to] = [CHANNELS[i % 2], CHANNELS[(i + 1) % 2]];
            files.insert(path(&name), Arc::clone(bytes));
            body += &(blob(&name, "fp16", &[to, from, 1, 1], &name) + &conv(&y, [to, SAFE[1]], &name, &x));
            x = y;
        }
        let last = [CHANNELS[pieces as usize % 2], SAFE[1]];
        let end = port("y", last, &format!("relu(x = {x})"));
        rig.takes(&Mil::new([CHANNELS[0], SAFE[1]], body + &end), &files)
    })?;
    let count = |pieces: u64| Measured::Count(pieces * PIECE);
    let key = "limits.max_weight_bytes";
    Ok(match limit {
        Limit::At(most) => {
            Found::default().with(key, count(most), Sharpness::UpTo(((most + 1) * PIECE) as f64))
        }
        Limit::Beyond(most) => Found::default().with(key, count(most), Sharpness::AtLeast),
    })
}

/// Rests, in seconds. M1 and M6 were seen to sleep after 5 and 5.68.
const RESTS: [f64; 8] = [0.5, 1.0, 2.0, 4.0, 5.0, 5.5, 6.0, 10.0];

pub(super) fn wake(rig: &Rig) -> Result<Found, Trouble> {
    if rig.is_modelled() {
        return Err(Trouble::Unclear("time is modelled, and none passes between evaluations".into()));
    }
    let mut loaded = load(rig, &Mil::new(SAFE, port("y", SAFE, "relu(x = x)")), &WeightFiles::none())?;
    let awake = rig.seconds(&mut loaded)?;
    let rested = |rest| Ok((rest, rig.seconds_after(Duration::from_secs_f64(rest), &mut loaded)?));
    waking(awake, &RESTS.into_iter().map(rested).collect::<Result<Vec<_>, Trouble>>()?)
}

/// Milliseconds by which the first evaluation is slower that finds the engine asleep: far more than a busy host adds.
const ASLEEP: f64 = 10.0;

/// When it sleeps and what waking takes, from the time an evaluation takes when the engine is awake and after each rest.
fn waking(awake: f64, rested: &[(f64, f64)]) -> Result<Found, Trouble> {
    let late = |seconds: f64| 1e3 * (seconds - awake);
    let Some(first) = rested.iter().position(|(_, seconds)| late(*seconds) > ASLEEP) else {
        let longest = rested.iter().map(|(rest, _)| *rest).fold(0.0, f64::max);
        return Ok(Found::default().note(format!("no rest up to {longest} s makes an evaluation slower")));
    };
    let Some(before) = first.checked_sub(1) else {
        return Err(Trouble::Unclear(format!("an evaluation is late after {} s already", rested[0].0)));
    };
    if rested[first..].iter().any(|(_, seconds)| late(*seconds) <= ASLEEP) {
        return Err(Trouble::Unclear(format!("evaluations are late after some rests alone: {rested:?}")));
    }
    let wakes: Vec<f64> = rested[first..].iter().map(|(_, seconds)| late(*seconds)).collect();
    Ok(Found::default()
        .with("speed.sleep_s", Measured::Number(rested[before].0), Sharpness::UpTo(rested[first].0))
        .timed("speed.wake_ms", wakes.iter().sum::<f64>() / wakes.len() as f64))
}

/// Refusals after which compilers were seen to be slow for minutes.
const BURST: u64 = 32;
/// How many times longer a program takes then, at the least.
const SLOW: f64 = 10.0;

pub(super) fn failed_compiles(rig: &Rig) -> Result<Found, Trouble> {
    if rig.is_modelled() {
        return Err(Trouble::Unclear("the simulation's compiler never tires".into()));
    }
    let plain = || {
        let mil = Mil::new(SAFE, port("y", SAFE, "tanh(x = x)"));
        rig.compile_seconds(&mil, &WeightFiles::none())
    };
    let before = plain()?;
    refuse(rig, BURST)?;
    let after = plain()?;
    Ok(Found::default().quirk("failed-compiles", after > SLOW * before).note(format!(
        "{:.0} ms before {BURST} refusals, {:.0} ms after",
        1e3 * before,
        1e3 * after
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_is_told_from_a_late_evaluation() {
        let found = waking(1e-4, &[(1.0, 2e-4), (5.0, 3e-4), (6.0, 0.0501), (10.0, 0.0701)]).unwrap();
        assert_eq!(found.findings[0].to_string(), "speed.sleep_s = 5 to 6");
        assert_eq!(found.findings[1].to_string(), "speed.wake_ms = 60.0000");
        assert!(waking(1e-4, &[(1.0, 2e-4)]).unwrap().findings.is_empty());
        for odd in [&[(1.0, 0.05), (2.0, 0.05)][..], &[(1.0, 1e-4), (2.0, 0.05), (4.0, 1e-4)]] {
            assert!(waking(1e-4, odd).is_err(), "{odd:?}");
        }
    }
}
