//! What the engine draws.

use ferrane_engine::WeightFiles;

use super::speed::{
    DEPTH, NO_BYTES, WIDE, by_bytes, functions, load, one_byte_weight, one_weight, sharing, takes_bytes,
};
use crate::finding::{Found, Measured, Sharpness, Trouble};
use crate::mil::{Mil, SAFE};
use crate::rig::Rig;

/// Functions one after the other that keep it busy without a product.
const FUNCTIONS: usize = 200;

pub(super) fn power(rig: &Rig) -> Result<Found, Trouble> {
    let [channels, _] = WIDE;
    let watts = |mil: &Mil, files: &WeightFiles| rig.watts(&mut load(rig, mil, files)?);
    let functions = functions([SAFE[0], 1024], FUNCTIONS);
    let found = Found::default()
        .timed("power.active_w", watts(&functions, &WeightFiles::none())?)
        .timed("power.fp16_w", watts(&sharing(WIDE, DEPTH), &one_weight(channels, 1, channels)?)?);
    let found = match takes_bytes(rig) {
        true => found.timed("power.int8_w", watts(&by_bytes(WIDE, DEPTH), &one_byte_weight(channels)?)?),
        false => found.note(NO_BYTES),
    };
    Ok(match rig.is_modelled() {
        true => found.note("what it draws at rest is not modelled"),
        // It may be nothing.
        false => found.with("power.idle_w", Measured::Number(rig.idle_watts()?), Sharpness::Timed),
    })
}
