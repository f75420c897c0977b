//! Defaults, then the file, then flags: what a run is told.

use std::fs;
use std::path::{Path, PathBuf};

use ferrane_mil::diagnostic::nearest;
use ferrane_model::{ModelConfig, Preset, hf, initial};
use ferrane_train::run::{EngineChoice, LION_BETAS, OptimizerKind, PlanChoice, RunSettings, absolute};
use serde::Serialize;
use toml::{Table, Value};

use super::args::{Args, Given, SHAPE_KEYS, ShapeChanges, keys};
use crate::engine;
use crate::failure::Failure;

/// What the user said, file and flags together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    /// The flags, and beneath them the file.
    pub(crate) given: Given,
    /// Name for the run's folder if none is given: the file's, without `.toml`.
    pub(crate) name: Option<String>,
}

/// Reads the file, if one is given, and lays the flags over it.
pub(crate) fn read(args: Args) -> Result<Said, Failure> {
    let Some(path) = args.config else { return Ok(Said { given: args.given, name: None }) };
    let text = fs::read_to_string(&path)
        .map_err(|error| Failure::Usage(format!("cannot read CONFIG.toml {}: {error}", path.display())))?;
    let mut file =
        parse(&text).map_err(|problem| Failure::Usage(format!("{}: {problem}", path.display())))?;
    if args.given.model.is_some() || args.given.init.is_some() {
        // The file's shape is of the file's model.
        file.shape = None;
    }
    let given = overlay(&file, &args.given)?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Ok(Said { given, name: name.filter(|name| name != "config") })
}

/// The text of a settings file. Unknown keys are errors that name the nearest known one.
fn parse(text: &str) -> Result<Given, String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let known = keys();
    check_keys(&table, known.iter().map(String::as_str), "")?;
    if let Some(Value::Table(shape)) = table.get("shape") {
        check_keys(shape, SHAPE_KEYS, " in [shape]")?;
    }
    toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
}

fn check_keys<'a>(
    table: &Table,
    known: impl IntoIterator<Item = &'a str> + Clone,
    place: &str,
) -> Result<(), String> {
    for key in table.keys() {
        if known.clone().into_iter().any(|name| name == key) {
            continue;
        }
        let advice = match nearest(key, known) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "`ferrane train --help` lists the keys".to_owned(),
        };
        return Err(format!("unknown key `{key}`{place}; {advice}"));
    }
    Ok(())
}

/// `upper` where it says something, else `lower`.
fn overlay(lower: &Given, upper: &Given) -> Result<Given, Failure> {
    let mut table = table_of(lower)?;
    table.extend(table_of(upper)?);
    table.try_into().map_err(Failure::usage)
}

pub(super) fn table_of(value: &impl Serialize) -> Result<Table, Failure> {
    Table::try_from(value).map_err(Failure::usage)
}

/// The settings of a new run: defaults where nothing was said, everything checked that can be without work.
pub(crate) fn new_run(given: &Given) -> Result<RunSettings, Failure> {
    if given.while_compiling.is_some() {
        return Err(Failure::usage(
            "`while-compiling` belongs to --preset tiny-mlp; leave it out, or add the preset",
        ));
    }
    let (model, shape) = model(given)?;
    let mut table = table_of(&RunSettings::defaults(&model, shape.clone()))?;
    for (key, value) in table_of(given)? {
        if !NOT_SETTINGS.contains(&key.as_str()) {
            table.insert(key, value);
        }
    }
    let mut settings: RunSettings = table.try_into().map_err(Failure::usage)?;
    if settings.optimizer == OptimizerKind::Lion && given.betas.is_none() {
        settings.betas = LION_BETAS;
    }
    // What a compile costs is shared by more micro-batches, as published.
    if settings.weights.recompiles() && given.micro_batches.is_none() {
        settings.micro_batches = BAKED_MICRO_BATCHES;
    }
    // Not from the table, where an f32 went through an f64.
    settings.shape = shape;
    settings.model = model;
    settings.init = given.init.as_deref().map(|folder| absolute(folder, "--init")).transpose()?;
    settings.profile = given.profile.as_deref().map(|file| absolute(file, "--profile")).transpose()?;
    settings.engine = engine::resolve(settings.engine);
    if settings.engine == EngineChoice::Cpu && given.plan.is_none() {
        settings.plan = PlanChoice::Five;
    }
    if given.chip.is_none() {
        settings.chip = engine::default_chip(settings.engine)?.to_owned();
    }
    if let Some(path) = settings.source().path() {
        settings.data = utf8(absolute(path, "--data")?)?;
    }
    settings.validate().map_err(Failure::usage)?;
    Ok(settings)
}

/// Micro-batches of a step with baked weights.
const BAKED_MICRO_BATCHES: usize = 10;

/// Keys that say what to do with a run, not what it is.
const NOT_SETTINGS: [&str; 6] = ["out", "resume", "quiet", "json", "telemetry", "shape"];

/// Settings that may change while resuming: they do not say what is computed, or, as `steps`, only what comes after.
const MAY_CHANGE: [&str; 8] = [
    "steps",
    "compile-budget",
    "checkpoint-every",
    "keep",
    "eval-every",
    "sample-every",
    "lenient",
    "faults",
];

/// The settings of a run to go on with: its own, with what was said where that may change.
pub(crate) fn resumed(root: &Path, saved: &RunSettings, given: &Given) -> Result<RunSettings, Failure> {
    let mut table = table_of(saved)?;
    // They were the ended process's.
    table.remove("faults");
    for (key, value) in table_of(&comparable(given)?)? {
        match (key.as_str(), value) {
            (key, value) if MAY_CHANGE.contains(&key) => drop(table.insert(key.to_owned(), value)),
            ("shape", Value::Table(shape)) => {
                // The vocabulary asked for is an upper bound of the one the tokenizer gave.
                let asked = shape.into_iter().filter(|(key, _)| key != "vocab");
                for (key, value) in asked {
                    require_same(root, &key, table.get("shape").and_then(|shape| shape.get(&key)), &value)?;
                }
            }
            (key, value) if !NOT_SETTINGS.contains(&key) => require_same(root, key, table.get(key), &value)?,
            _ => {}
        }
    }
    let mut settings: RunSettings = table.try_into().map_err(Failure::usage)?;
    // Not from the table, where an f32 went through an f64.
    settings.shape = saved.shape.clone();
    settings.validate().map_err(Failure::usage)?;
    Ok(settings)
}

fn require_same(root: &Path, key: &str, saved: Option<&Value>, given: &Value) -> Result<(), Failure> {
    if saved == Some(given) {
        return Ok(());
    }
    let saved = saved.map_or_else(|| "not set".to_owned(), Value::to_string);
    Err(Failure::Usage(format!(
        "`{key}` cannot change while resuming {0}: it is {saved} and {given} was given; \
         leave it out, or start a new run from the model with --init {0}/model",
        root.display()
    )))
}

/// What was said, spelled as a run keeps it.
fn comparable(given: &Given) -> Result<Given, Failure> {
    let mut given = given.clone();
    given.engine = given.engine.map(engine::resolve);
    given.init = given.init.as_deref().map(|folder| absolute(folder, "--init")).transpose()?;
    given.profile = given.profile.as_deref().map(|file| absolute(file, "--profile")).transpose()?;
    if given.model.is_some() {
        given.model = Some(model(&Given { shape: None, ..given.clone() })?.0);
    }
    if let Some(data) = given.data.as_ref().filter(|data| *data != "stories") {
        given.data = Some(utf8(absolute(Path::new(data), "--data")?)?);
    }
    Ok(given)
}

/// The model's name as the run keeps it, and its shape.
fn model(given: &Given) -> Result<(String, ModelConfig), Failure> {
    if let Some(folder) = &given.init {
        if given.model.is_some() || given.shape.is_some() {
            return Err(Failure::usage(
                "--init takes the shape from its folder; leave out `model` and [shape], or leave out `init`",
            ));
        }
        let folder = absolute(folder, "--init")?;
        let config = initial::load_config(&folder).map_err(Failure::failed)?;
        return Ok((utf8(folder)?, config.model));
    }
    let name = given.model.as_deref().unwrap_or("nano");
    let (name, base) = match name.parse::<Preset>() {
        Ok(preset) => (preset.name().to_owned(), preset.config()),
        Err(_) if Path::new(name).is_dir() => {
            let folder = absolute(Path::new(name), "--model")?;
            let config = hf::load_config(&folder).map_err(Failure::failed)?;
            (utf8(folder)?, config.model)
        }
        Err(error) => return Err(Failure::Usage(format!("`model`: {error}"))),
    };
    let shape = change(base, &given.shape.clone().unwrap_or_default())?;
    shape.validate().map_err(Failure::usage)?;
    Ok((name, shape))
}

/// Lays a `[shape]` over the model's own. A head's size follows from `dim` and `heads` if one of them changes.
fn change(base: ModelConfig, changes: &ShapeChanges) -> Result<ModelConfig, Failure> {
    let dim = changes.dim.unwrap_or(base.dim);
    let heads = changes.heads.unwrap_or(base.heads);
    let head_dim = match changes.head_dim {
        Some(head_dim) => head_dim,
        None if (dim, heads) == (base.dim, base.heads) => base.head_dim,
        None if heads > 0 && dim.is_multiple_of(heads) => dim / heads,
        None => {
            return Err(Failure::Usage(format!(
                "[shape]: {heads} heads do not divide dim {dim}; choose heads that do, or give head-dim"
            )));
        }
    };
    Ok(ModelConfig {
        dim,
        heads,
        head_dim,
        hidden: changes.hidden.unwrap_or(base.hidden),
        layers: changes.layers.unwrap_or(base.layers),
        kv_heads: changes.kv_heads.unwrap_or(base.kv_heads),
        vocab: changes.vocab.unwrap_or(base.vocab),
        max_seq: changes.max_seq.unwrap_or(base.max_seq),
        rms_eps: changes.rms_eps.unwrap_or(base.rms_eps),
        rope_theta: changes.rope_theta.unwrap_or(base.rope_theta),
        rope_scaling: changes.rope_scaling.or(base.rope_scaling),
        qk_norm: changes.qk_norm.unwrap_or(base.qk_norm),
        residual_scale: changes.residual_scale.unwrap_or(base.residual_scale),
        tied: changes.tied.unwrap_or(base.tied),
    })
}

fn utf8(path: PathBuf) -> Result<String, Failure> {
    path.into_os_string()
        .into_string()
        .map_err(|path| Failure::Usage(format!("{} is not a name in UTF-8; rename it", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrane_train::run::EngineChoice;

    fn message(failure: Failure) -> String {
        match failure {
            Failure::Usage(message) | Failure::Failed(message) => message,
            Failure::OutputClosed => "output closed".to_owned(),
        }
    }

    fn settings(file: &str) -> Result<RunSettings, String> {
        new_run(&parse(file)?).map_err(message)
    }

    #[test]
    fn unknown_keys_name_the_nearest_known_one() {
        assert_eq!(parse("stesp = 3").unwrap_err(), "unknown key `stesp`; did you mean `steps`?");
        assert_eq!(
            parse("micro_batches = 3").unwrap_err(),
            "unknown key `micro_batches`; did you mean `micro-batches`?"
        );
        assert_eq!(
            parse("[shape]\nlayer = 3").unwrap_err(),
            "unknown key `layer` in [shape]; did you mean `layers`?"
        );
        let far = parse("colour = 3").unwrap_err();
        assert!(far.contains("`colour`") && far.contains("--help"), "{far}");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_shown_with_its_place() {
        let problem = parse("seed = 1\nsteps = \"many\"").unwrap_err();
        assert!(problem.contains("line 2") && problem.contains("steps"), "{problem}");
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.toml");
        fs::write(&path, "steps = 7\nseq = 16\n[shape]\ndim = 64\n").unwrap();
        let flags = Given { steps: Some(9), ..Given::default() };
        let said = read(Args { config: Some(path.clone()), given: flags }).unwrap();
        assert_eq!(said.name.as_deref(), Some("tiny"));
        let settings = new_run(&said.given).unwrap();
        assert_eq!((settings.steps, settings.seq, settings.shape.dim), (9, 16, 64));
        assert_eq!(settings.batch_size, RunSettings::defaults("nano", Preset::Nano.config()).batch_size);
        assert_eq!(settings.engine, EngineChoice::Sim, "auto is resolved");

        // Another model's shape is not what the file's [shape] was written for.
        let flags = Given { model: Some("stories260k".to_owned()), ..Given::default() };
        let said = read(Args { config: Some(path), given: flags }).unwrap();
        assert_eq!(new_run(&said.given).unwrap().shape, Preset::Stories260K.config());
    }

    #[test]
    fn shapes_that_contradict_themselves_are_refused_before_any_work() {
        let refused = |file: &str| settings(file).unwrap_err();
        assert!(refused("[shape]\nheads = 3").contains("3 heads do not divide dim 128"));
        assert!(refused("[shape]\nkv-heads = 3").contains("kv_heads is 3"));
        assert!(refused("[shape]\nvocab = 0").contains("vocab is 0"));
        assert!(refused("seq = 100000").contains("`seq` is 100000"));
        assert!(refused("model = \"nanoo\"").contains("nanoo"));
        assert!(refused("data = \"/no/such.txt\"").contains("/no/such.txt"));
        assert!(refused("init = \"/no/such\"").contains("/no/such"));
        assert!(refused("init = \"/tmp\"\nmodel = \"nano\"").contains("leave out"));
    }

    #[test]
    fn the_resolved_settings_are_a_file_that_means_the_same() {
        let first = settings("lr = 0.02\n[shape]\nrms-eps = 1e-6\nlayers = 2").unwrap();
        let text = toml::to_string(&first).unwrap();
        assert_eq!(settings(&text).unwrap(), first, "{text}");
    }

    #[test]
    fn resuming_changes_only_what_may_change() {
        let saved = settings("lr = 0.02\nsteps = 10").unwrap();
        let resumed = |file: &str| resumed(Path::new("r"), &saved, &parse(file).unwrap()).map_err(message);
        assert_eq!(resumed("").unwrap(), saved);
        assert_eq!(
            resumed("lr = 0.02\nmodel = \"nano\"\nengine = \"auto\"\n[shape]\ndim = 128").unwrap(),
            saved
        );
        assert_eq!(
            resumed("steps = 30\nkeep = 5").unwrap(),
            RunSettings { steps: 30, keep: 5, ..saved.clone() }
        );
        let refused = resumed("lr = 0.03").unwrap_err();
        assert!(
            refused.contains("`lr`") && refused.contains("0.02") && refused.contains("0.03"),
            "{refused}"
        );
        assert!(resumed("[shape]\nlayers = 3").unwrap_err().contains("`layers`"));
        assert!(resumed("model = \"stories15m\"").unwrap_err().contains("`model`"));
        assert!(resumed("steps = 0").unwrap_err().contains("`steps`"));
    }
}
