//! Imports the models given as arguments and counts the ops that the catalogue does not have.

#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use std::collections::BTreeMap;

fn main() {
    let mut missing: BTreeMap<String, usize> = BTreeMap::new();
    for path in std::env::args().skip(1) {
        match ferrane_package::import(&path) {
            Ok(model) => {
                let ops = model.program.functions.iter().map(|f| f.ops.len()).sum::<usize>();
                println!("{path}: {ops} ops {:?}", model.warnings);
                for op in model.program.functions.iter().flat_map(|f| &f.ops) {
                    match ferrane_mil::ops::spec(op.code) {
                        None => *missing.entry(op.code.name().into()).or_insert(0) += 1,
                        Some(spec) => {
                            for (name, _) in op.args.iter().filter(|(name, _)| spec.arg(name).is_none()) {
                                *missing.entry(format!("{}({name} = …)", op.code)).or_insert(0) += 1;
                            }
                        }
                    }
                }
            }
            Err(error) => println!("{path}: {error}"),
        }
    }
    println!("\nnot in the catalogue:");
    for (what, n) in missing {
        println!("{n:6}  {what}");
    }
}
