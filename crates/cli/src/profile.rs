//! From `--chip` and `--profile` to a profile.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use ferrane_engine::Profile;
use ferrane_train::run::EngineChoice;

use crate::engine::default_chip;
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

    /// The TOML text of the profile that was asked for, or one that is that which `engine` follows.
    pub(crate) fn text(&self, engine: EngineChoice) -> Result<String, Failure> {
        match &self.profile {
            Some(file) => read_text(file),
            None => {
                let chip = self.chip.as_deref().map_or_else(|| default_chip(engine), Ok)?;
                Ok(format!("name = {chip:?}\nextends = {chip:?}\n"))
            }
        }
    }

    /// The flags as they were given.
    pub(crate) fn args(&self) -> Vec<OsString> {
        match (&self.chip, &self.profile) {
            (_, Some(file)) => vec!["--profile".into(), file.into()],
            (Some(chip), None) => vec!["--chip".into(), chip.into()],
            (None, None) => Vec::new(),
        }
    }

    /// The profile that was asked for, or the one that `engine` follows.
    pub(crate) fn or_default(&self, engine: EngineChoice) -> Result<Profile, Failure> {
        self.given()?.map_or_else(|| built_in(default_chip(engine)?), Ok)
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
    let text = read_text(file)?;
    Profile::parse(&file.display().to_string(), &text).map_err(|error| {
        // What TOML says may span lines and ends in one.
        Failure::Usage(error.to_string().trim_end().to_owned())
    })
}

fn read_text(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("`profile`: cannot read {}: {error}", file.display())))
}
