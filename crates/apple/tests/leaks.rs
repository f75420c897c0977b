//! What was taken is given back. Alone in its process, for the counts are the process's.
#![cfg(not(target_vendor = "apple"))]

mod common;

use std::fs;

use common::*;
use ferrane_apple_double::Fault;
use ferrane_engine::{Engine, ReloadWay};

#[test]
fn nothing_is_left_behind_by_success_or_failure() {
    let world = World::enter();
    let before = world.live();
    for door in DOORS {
        let engine = open(door);
        for _ in 0..3 {
            let mut kernel = engine.compile(&convolution(), &weights(1.0)).unwrap();
            assert_eq!(world.live().loaded, 1);
            // Twice on the same surfaces, then on others, while the first are gone.
            let (x, y) = (surfaces(&engine, kernel.inputs()), surfaces(&engine, kernel.outputs()));
            kernel.evaluate(&[&x[0]], &[&y[0]]).unwrap();
            kernel.evaluate(&[&x[0]], &[&y[0]]).unwrap();
            drop((x, y));
            convolve(&engine, &mut *kernel);
            convolve(&engine, &mut *kernel);
            // The surfaces of the last request live as long as it does.
            assert_eq!(world.live().surfaces, 2, "{door}: requests keep surfaces that nobody has any more");
            for way in ReloadWay::ALL {
                kernel.reload(&weights(2.0), way).unwrap();
            }
            world.fail_next(Fault::Evaluate);
            let (x, y) = (surfaces(&engine, kernel.inputs()), surfaces(&engine, kernel.outputs()));
            kernel.evaluate(&[&x[0]], &[&y[0]]).unwrap_err();
        }
        for faults in [vec![Fault::Compile], vec![Fault::Load, Fault::Load]] {
            faults.iter().for_each(|fault| world.fail_next(*fault));
            engine.compile(&convolution(), &weights(1.0)).err().unwrap();
        }
        drop(engine);
        assert_eq!(world.live(), before, "{door}");
        let left: Vec<_> = fs::read_dir(world.temporary()).unwrap().collect();
        assert!(left.is_empty(), "{door}: {left:?}");
    }
}
