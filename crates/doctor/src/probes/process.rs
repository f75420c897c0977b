//! What a process can hold and compile.

use ferrane_engine::{ReloadWay, WeightFiles};
use ferrane_mil::Verified;

use crate::finding::{Found, Measured, Sharpness, Trouble};
use crate::mil::{Mil, SAFE, blob, constant, conv, diagonal, port, weight};
use crate::rig::{Compiling, Loaded, Rig};
use crate::search::Limit;

/// Programs after which no limit is looked for any more. More than twice of what most sources report.
const MOST: u64 = 300;

/// The n-th of many programs that differ, so that none is taken for another.
fn numbered(rig: &Rig, n: u64) -> Result<Verified, Trouble> {
    // Every number is another fp16 value.
    let term = constant("fp16", "n", &format!("{n}.0"));
    rig.program(&Mil::new(SAFE, term + &port("y", SAFE, "add(x = x, y = n)")))
}

fn compile(rig: &Rig, n: u64) -> Result<Result<Loaded, String>, Trouble> {
    match rig.compile(&numbered(rig, n)?, &WeightFiles::none()) {
        Ok(loaded) => Ok(Ok(loaded)),
        Err(Compiling::Refused(error)) => Ok(Err(error.to_string())),
        Err(Compiling::Trouble(trouble)) => Err(trouble),
    }
}

pub(super) fn slots(rig: &Rig) -> Result<Found, Trouble> {
    let mut held = Vec::new();
    let refusal = loop {
        let n = held.len() as u64;
        if n == MOST {
            return Ok(Limit::Beyond(n).finding("limits.slots").quirk("load-limit", false));
        }
        match compile(rig, n)? {
            Ok(loaded) => held.push(loaded),
            Err(refusal) => break refusal,
        }
    };
    let most = held.len() as u64;
    if most == 0 {
        return Err(Trouble::Control(refusal));
    }
    // A slot that comes free makes room for a program, if slots are what ran out.
    held.pop();
    if compile(rig, MOST)?.is_ok() {
        return Ok(Limit::At(most).finding("limits.slots").quirk("load-limit", true).note(refusal));
    }
    held.clear();
    match compile(rig, MOST + 1)? {
        Ok(_) => Err(Trouble::Unclear(format!(
            "{most} programs are held; dropping one makes no room, and dropping all does: {refusal}"
        ))),
        Err(_) => Ok(Found::default()
            .with("limits.slots", Measured::Count(most), Sharpness::AtLeast)
            .note("the process can compile no more, and had room for them all (see compiles)")),
    }
}

pub(super) fn compiles(rig: &Rig) -> Result<Found, Trouble> {
    while rig.compiles() < MOST {
        let n = rig.compiles();
        match compile(rig, n)? {
            Ok(_) => {}
            Err(refusal) if n == 0 => return Err(Trouble::Control(refusal)),
            Err(refusal) => return Ok(Limit::At(n).finding("limits.compiles").note(refusal)),
        }
    }
    Ok(Limit::Beyond(MOST).finding("limits.compiles").note("programs that are dropped do not count"))
}

/// Programs that no compiler takes, before those of which as many compile as still can. Few: many make compilers slow.
const REFUSED: u64 = 16;

/// Has so many programs refused, no two of them alike.
pub(super) fn refuse(rig: &Rig, count: u64) -> Result<(), Trouble> {
    for n in 0..count {
        let wide = [1, (1 << 20) + n as usize];
        let program = rig.program(&Mil::new(wide, port("y", wide, "relu(x = x)")))?;
        match rig.compile(&program, &WeightFiles::none()) {
            Err(Compiling::Refused(_)) => {}
            Err(Compiling::Trouble(trouble)) => return Err(trouble),
            Ok(_) => return Err(Trouble::Unclear(format!("a width of {} is taken", wide[1]))),
        }
    }
    Ok(())
}

pub(super) fn refusals(rig: &Rig) -> Result<Found, Trouble> {
    refuse(rig, REFUSED)?;
    let (mut taken, mut end) = (0, "and there is no end to it".to_owned());
    while taken < MOST {
        match compile(rig, taken)? {
            Ok(_) => taken += 1,
            Err(refusal) => {
                end = refusal;
                break;
            }
        }
    }
    Ok(Found::default().note(format!(
        "after {REFUSED} refusals {taken} programs compile; if refusals count, `compiles` finds {REFUSED} more: {end}"
    )))
}

pub(super) fn reload(rig: &Rig) -> Result<Found, Trouble> {
    reload_by(rig, ReloadWay::Files)
}

pub(super) fn reload_data(rig: &Rig) -> Result<Found, Trouble> {
    reload_by(rig, ReloadWay::Data)
}

fn reload_by(rig: &Rig, way: ReloadWay) -> Result<Found, Trouble> {
    let program =
        rig.program(&Mil::new(SAFE, blob("w", "fp16", &[256, 256, 1, 1], "w") + &conv("y", SAFE, "w", "x")))?;
    let times = |gain: f32| {
        let mut files = WeightFiles::none();
        weight(&mut files, "w", &diagonal(256, gain)).map(|()| files)
    };
    let mut loaded = rig.compile(&program, &times(2.0)?)?;
    let x = vec![3.0; SAFE[0] * SAFE[1]];
    let run = |loaded: &mut Loaded| -> Result<f32, Trouble> {
        let y = loaded.run(&[&x])?.map_err(|error| Trouble::Unclear(error.to_string()))?;
        Ok(y[0][0])
    };
    let before = run(&mut loaded)?;
    if before != 6.0 {
        return Err(Trouble::Unclear(format!("2 · 3 is {before} before anything is reloaded")));
    }
    if let Err(error) = loaded.kernel.reload(&times(5.0)?, way) {
        return Err(Trouble::Unclear(format!("reloading fails: {error}")));
    }
    match run(&mut loaded)? {
        6.0 => Ok(Found::default().quirk(way.quirk(), true)),
        15.0 => Ok(Found::default().quirk(way.quirk(), false)),
        other => Err(Trouble::Unclear(format!("after reloading, 5 · 3 is {other}, and 2 · 3 was 6"))),
    }
}

pub(super) fn tile(rig: &Rig) -> Result<Found, Trouble> {
    let plain = numbered(rig, 1)?;
    let reps = constant("tensor<int32, [4]>", "reps", "[1, 2, 1, 1]");
    let tiled = port("y", [512, 64], "tile(reps = reps, x = x)");
    let tile = rig.program(&Mil::new(SAFE, reps + &tiled))?;
    let (mut plain, mut tile) =
        (rig.compile(&plain, &WeightFiles::none())?, rig.compile(&tile, &WeightFiles::none())?);
    let x = vec![1.0; SAFE[0] * SAFE[1]];
    let unclear = |error: ferrane_engine::EngineError| Trouble::Unclear(error.to_string());
    plain.run(&[&x])?.map_err(unclear)?;
    let y = tile.run(&[&x])?.map_err(unclear)?;
    let found = match y[0].iter().all(|y| *y == 1.0) {
        true => Found::default(),
        false => Found::default().note("its result is wrong"),
    };
    Ok(match plain.run(&[&x])? {
        Ok(_) => found.quirk("tile-poisons", false),
        Err(error) => found.quirk("tile-poisons", true).note(error.to_string()),
    })
}
