//! Beginning a run, and going on with one.

use std::sync::Arc;

use ferrane_engine::Engine;
use ferrane_model::{ModelConfig, Parameters, initial, stage::Tokens};

use super::compaction::Compaction;
use super::prepare::{Prepared, prepare, special_tokens};
use super::report::{Ledger, timed};
use super::session::{Host, Outcome, Session};
use super::storyteller::Storyteller;
use super::{Event, ModelSummary, RunError, RunFolder, RunSettings, Source, Timing};
use crate::checkpoint::{CheckpointFolder, WholeCheckpoint};
use crate::data::BatchOrder;
use crate::loss_scale::LossScaleConfig;
use crate::metrics::{Health, MetricsLog};
use crate::trainer::{Progress, StepSettings, Trainer};

/// The engine of a run and what to call it.
pub struct EngineHandle {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// Plain execution on the host, where no limits are.
    pub host: Arc<dyn Engine>,
    /// Its name and what it follows, for people.
    pub title: String,
    /// Threads for what the host does.
    pub threads: usize,
}

/// Trains a new run to its end. If it cannot begin, its folder is as before.
///
/// # Errors
/// Data or weights that cannot be used, an engine that refuses the model, a loss that is not finite, a disk that is full.
pub fn begin(
    folder: RunFolder,
    settings: RunSettings,
    engine: EngineHandle,
    host: Host<'_>,
) -> Result<Outcome, RunError> {
    let ready = match Ready::new(&folder, settings, &engine, None, &mut *host.emit) {
        Ok(ready) => ready,
        Err(error) => {
            folder.abandon();
            return Err(error);
        }
    };
    ready.run(&folder, &engine, host)
}

/// Goes on with a run from its last whole checkpoint, or from its beginning if it has none. `settings` are those of the
/// run; steps, and how often to save, evaluate and sample, may differ from the saved ones.
///
/// # Errors
/// As [`begin`]; and no checkpoint being whole, or fewer steps asked for than are done. Nothing is deleted.
pub fn resume(
    folder: RunFolder,
    settings: RunSettings,
    engine: EngineHandle,
    host: Host<'_>,
) -> Result<Outcome, RunError> {
    let checkpoint = CheckpointFolder::new(folder.checkpoints()).latest_whole()?;
    if let Some(whole) = &checkpoint {
        for damaged in &whole.damaged {
            let (bad, damage, good) = (damaged.path.display(), &damaged.damage, whole.path.display());
            let message = format!("checkpoint {bad} is damaged: {damage}; going on from {good} instead");
            (host.emit)(Event::Warning { message });
        }
        let done = whole.state.step;
        if done > settings.steps {
            return Err(RunError::TooFewSteps { run: folder.root().to_owned(), done, steps: settings.steps });
        }
    }
    Ready::new(&folder, settings, &engine, checkpoint, &mut *host.emit)?.run(&folder, &engine, host)
}

/// All that a run needs before its next step.
struct Ready {
    settings: RunSettings,
    prepared: Prepared,
    trainer: Trainer,
    order: BatchOrder,
    compaction: Option<Compaction>,
    ledger: Ledger,
    from: Option<WholeCheckpoint>,
}

impl Ready {
    fn new(
        folder: &RunFolder,
        mut settings: RunSettings,
        engine: &EngineHandle,
        from: Option<WholeCheckpoint>,
        emit: &mut dyn FnMut(Event),
    ) -> Result<Self, RunError> {
        // Before anything that takes time, so that weights that cannot be used are refused at once.
        let given = if from.is_none() { given_parameters(&settings, emit)? } else { None };
        let mut ledger = from.as_ref().map(|whole| whole.state.ledger).unwrap_or_default();
        ledger.processes += 1;
        let mut prepared = timed(&mut ledger.seconds.prepare, || prepare(folder, &settings, emit))?;
        settings.shape.vocab = prepared.vocab;
        if let Some(whole) = &from
            && whole.state.config_hash != settings.hash()
        {
            return Err(RunError::Edited {
                path: folder.root().join("config.toml"),
                checkpoint: whole.path.clone(),
            });
        }
        folder.write_settings(&settings)?;

        let compaction = match settings.compact_vocab {
            true => {
                emit(Event::Preparing { what: "looking for the tokens that occur".to_owned() });
                let special = special_tokens(&settings, &prepared)?;
                Some(Compaction::of(&mut prepared, &special)?)
            }
            false => None,
        };
        let trained = compaction.as_ref().map_or(prepared.vocab, |compaction| compaction.map.len());
        let parameters = match given {
            _ if from.is_some() => {
                Parameters::zeros(&ModelConfig { vocab: trained, ..settings.shape.clone() })?
            }
            Some(parameters) => parameters,
            None => Parameters::init(&settings.shape, settings.seed)?,
        };
        let parameters = match &compaction {
            Some(compaction) if from.is_none() => compaction.begin(folder, &parameters)?,
            _ => parameters,
        };
        emit(Event::Preparing { what: "compiling the model's programs".to_owned() });
        let (on, step) = (Arc::clone(&engine.engine), step_settings(&settings, engine)?);
        let trainer = || Trainer::new(on, parameters, step, engine.threads);
        let mut trainer = timed(&mut ledger.seconds.compile, trainer)?;
        let model = trainer.model();
        settings.check_budget(model.compile_log().compiles() as usize + model.compiles_due())?;
        let (train, seq) = (prepared.train.clone(), settings.seq);
        let order = match &from {
            Some(whole) => {
                restore(&mut trainer, whole)?;
                BatchOrder::resume(train, seq, &whole.state.cursor)?
            }
            None => BatchOrder::new(train, seq, settings.order, settings.seed)?,
        };
        Ok(Self { settings, prepared, trainer, order, compaction, ledger, from })
    }

    fn run(self, folder: &RunFolder, engine: &EngineHandle, host: Host<'_>) -> Result<Outcome, RunError> {
        let Self { settings, prepared, trainer, order, compaction, ledger, from } = self;
        let summary = ModelSummary::new(&settings, trainer.model());
        let before = from.as_ref().map(|whole| whole.state.compiling).unwrap_or_default();
        let (done, tokens) = from.as_ref().map_or((0, 0), |whole| (whole.state.step, whole.state.tokens));
        let metrics = MetricsLog::open(&folder.metrics(), done)?;
        (host.emit)(Event::Started {
            run: folder.root().to_owned(),
            engine: engine.title.clone(),
            parameters: settings.shape.parameters(),
            vocab: settings.shape.vocab,
            trained_vocab: prepared.train.vocab(),
            model: summary,
            train_tokens: prepared.train.len(),
            held_out_tokens: prepared.held_out.as_ref().map_or(0, |held| held.len()),
            tokens_per_step: (settings.micro_batches * settings.batch_size * settings.seq) as u64,
            done,
            steps: settings.steps,
        });
        let storyteller = prepared.tokenizer.as_ref().map(|tokenizer| {
            // A sample has no claim on compiles that training needs.
            let on = if settings.weights.recompiles() { &engine.host } else { &engine.engine };
            let (on, weights) = (Arc::clone(on), trainer.weights().clone());
            let vocab = compaction.as_ref().map(|compaction| &*compaction.map);
            Storyteller::new(on, engine.threads, weights, tokenizer, vocab, settings.seed)
        });
        let session = Session {
            folder,
            settings: &settings,
            prepared: &prepared,
            engine: &*engine.engine,
            compaction: compaction.as_ref(),
            special: special_tokens(&settings, &prepared)?,
            trainer,
            cursor: order.cursor(),
            order,
            metrics,
            checkpoints: CheckpointFolder::new(folder.checkpoints()),
            done,
            tokens,
            best: from.as_ref().and_then(|whole| whole.state.best),
            before,
            saved: from.map(|whole| (whole.state.step, whole.path)),
            ledger,
            title: &engine.title,
            loss: None,
            timing: Timing::default(),
            modelled: None,
            saturations: Default::default(),
            storyteller,
            health: Health::default(),
            reported: Health::default(),
            host,
        };
        Ok(Outcome {
            run: folder.root().to_owned(),
            ended: session.run()?,
            steps: settings.steps,
            has_tokenizer: prepared.tokenizer.is_some(),
            prompt: if settings.source() == Source::Stories { "One day" } else { "The" },
        })
    }
}

/// The weights of the folder a run starts from, if it does.
fn given_parameters(
    settings: &RunSettings,
    emit: &mut dyn FnMut(Event),
) -> Result<Option<Parameters>, RunError> {
    let Some(folder) = &settings.init else { return Ok(None) };
    let loaded = initial::load(folder)?;
    loaded.warnings.into_iter().for_each(|message| emit(Event::Warning { message }));
    Ok(Some(loaded.parameters))
}

fn step_settings(settings: &RunSettings, engine: &EngineHandle) -> Result<StepSettings, RunError> {
    // fp32 gradients need no scale.
    let half = engine.engine.profile().compute.value == ferrane_mil::DType::Fp16;
    let tokens = Tokens { batch: settings.batch_size, seq: settings.seq };
    let dynamic = LossScaleConfig::dynamic(tokens.width() * settings.micro_batches);
    Ok(StepSettings {
        tokens,
        micro_batches: settings.micro_batches,
        optimiser: settings.optimiser(),
        z_loss: settings.z_loss,
        clip: settings.clip,
        schedule: settings.schedule()?,
        loss_scale: if half { dynamic } else { LossScaleConfig::FIXED },
        plan: settings.plan,
        weights: settings.weights,
        compile_budget: (settings.compile_budget > 0).then_some(settings.compile_budget),
    })
}

fn restore(trainer: &mut Trainer, whole: &WholeCheckpoint) -> Result<(), RunError> {
    let state = &whole.state;
    let progress = Progress { step: state.step, updates: state.updates, loss_scale: state.loss_scale };
    trainer.restore(progress, |tensors| {
        CheckpointFolder::load(&whole.path, tensors)?;
        Ok(())
    })
}
