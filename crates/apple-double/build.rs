//! The crate objc2 asks for `-lobjc`, which this crate's own runtime stands for: an empty archive satisfies the linker.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_VENDOR").as_deref() == Ok("apple") {
        return Ok(());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    fs::write(out.join("libobjc.a"), b"!<arch>\n")?;
    println!("cargo:rustc-link-search=native={}", out.display());
    Ok(())
}
