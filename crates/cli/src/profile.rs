//! From `--chip` and `--profile` to a profile.

use std::fs;
use std::path::{Path, PathBuf};

use ferrane_engine::Profile;

use crate::failure::Failure;

/// The flags that choose a profile.
#[derive(clap::Args)]
pub(crate) struct Flags {
    /// The chip whose profile to use, e.g. m4; `ferrane doctor` lists them [default: m4]
    #[arg(long, value_name = "CHIP")]
    chip: Option<String>,
    /// A profile of your own in TOML, instead of --chip
    #[arg(long, value_name = "FILE", conflicts_with = "chip")]
    profile: Option<PathBuf>,
}

impl Flags {
    /// The profile that was asked for, if one was.
    pub(crate) fn given(&self) -> Result<Option<Profile>, Failure> {
        match (&self.chip, &self.profile) {
            (_, Some(file)) => read(file).map(Some),
            (Some(chip), None) => built_in(chip).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The profile that was asked for, or that of the M4.
    pub(crate) fn or_m4(&self) -> Result<Profile, Failure> {
        self.given()?.map_or_else(|| built_in("m4"), Ok)
    }
}

/// A chip's profile; a chip that is not known is a wrong command line.
pub(crate) fn built_in(chip: &str) -> Result<Profile, Failure> {
    Profile::built_in(chip).map_err(|error| Failure::Usage(format!("`chip`: {error}")))
}

/// A profile from a file, whose name and offending key are in any error.
pub(crate) fn read(file: &Path) -> Result<Profile, Failure> {
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("`profile`: cannot read {}: {error}", file.display())))?;
    Profile::parse(&file.display().to_string(), &text).map_err(|error| {
        // What TOML says may span lines and ends in one.
        Failure::Usage(error.to_string().trim_end().to_owned())
    })
}
