//! `ferrane data fetch`: what to download, and where to put it.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::failure::Failure;

/// Get a public data set.
///
/// Downloads it when built with the feature `hub`; otherwise says what to download and where to put it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The data set
    #[arg(value_enum)]
    set: DataSet,
    /// The folder to put it in
    #[arg(long, value_name = "DIR", default_value = "data")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "lower")]
enum DataSet {
    /// Short stories in simple words: 2.2 GB of text
    TinyStories,
}

/// A data set on the Hugging Face hub.
pub(super) struct Remote {
    repository: &'static str,
    files: [&'static str; 2],
}

impl Remote {
    /// Where a file is, on the hub or a mirror of it.
    pub(super) fn url(&self, endpoint: &str, file: &str) -> String {
        format!("{}/datasets/{}/resolve/main/{file}", endpoint.trim_end_matches('/'), self.repository)
    }
}

impl DataSet {
    fn remote(self) -> Remote {
        match self {
            DataSet::TinyStories => Remote {
                repository: "roneneldan/TinyStories",
                files: ["TinyStoriesV2-GPT4-train.txt", "TinyStoriesV2-GPT4-valid.txt"],
            },
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let remote = args.set.remote();
    let files = remote.files;
    let missing: Vec<&str> = files.into_iter().filter(|file| !args.out.join(file).exists()).collect();
    if !missing.is_empty()
        && let Err(reason) = download(&remote, &missing, &args.out)
    {
        return Err(Failure::Failed(instructions(&reason, args, &remote, &missing)));
    }
    let mut out = io::stdout().lock();
    for file in files {
        writeln!(out, "{}", args.out.join(file).display())?;
    }
    writeln!(
        out,
        "next:\n    ferrane data prepare {} --tokenizer PATH --out DIR",
        args.out.join(files[0]).display()
    )?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "hub")]
use super::hub::download;

#[cfg(not(feature = "hub"))]
fn download(_: &Remote, _: &[&str], _: &std::path::Path) -> Result<(), String> {
    Err("this build does not download (cargo build --features hub makes one that does)".to_owned())
}

fn instructions(reason: &str, args: &Args, remote: &Remote, missing: &[&str]) -> String {
    let mut text = format!("{reason}; fetch the files yourself, then run this again:\n");
    for file in missing {
        let target = args.out.join(file);
        let url = remote.url("https://huggingface.co", file);
        text.push_str(&format!("    curl --create-dirs -L -o {} {url}\n", target.display()));
    }
    text.push_str(
        "or, already encoded with the Llama 2 tokenizer, for `ferrane train --model stories110m --data DIR`:\n    \
         https://huggingface.co/datasets/enio/TinyStories/resolve/main/tok32000/TinyStories_tok32000.tar.gz, unpacked in DIR",
    );
    text
}
