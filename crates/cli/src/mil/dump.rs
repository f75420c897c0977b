//! `ferrane mil dump`: the kernels of a model as folders of MIL text and weight files.

use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;
use ferrane_engine::{Profile, legalise, share_input};
use ferrane_mil::blob::{BlobWriter, resolve, type_code};
use ferrane_mil::pass::{flatten_ports, transposed_weights, weights_to_inputs};
use ferrane_mil::text::{self, Dialect};
use ferrane_mil::{BlobRef, DType, Function, Payload, Program, verify};
use ferrane_model::plan::{Piece, Place, Plan, PlanKind};
use ferrane_model::stage::Tokens;
use ferrane_model::{LayerRole, ModelConfig, Parameters, Preset, hf};

use super::source::MODEL_FILE;
use crate::failure::Failure;
use crate::layers::Layers;
use crate::profile::built_in as profile;

/// Write the kernels of a model as folders with model.mil and weights/.
///
/// What is written is legal for the chip: `ferrane mil check --chip` takes it and `ferrane mil run` runs it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A preset (its weights drawn at random) or a Hugging Face model folder
    #[arg(long, value_name = "PRESET|DIR")]
    model: String,
    /// How layers are cut into kernels
    #[arg(long, value_name = "PLAN", default_value = "six")]
    plan: Cut,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where the weights are
    #[arg(long, value_name = "MODE", default_value = "baked")]
    mode: Mode,
    /// The chip the programs are made legal for
    #[arg(long, value_name = "CHIP", default_value = "m4")]
    chip: String,
    /// The layer whose weights are baked in; `all` writes every layer's kernels, to DIR/layer-N
    #[arg(long, value_name = "N|all", default_value = "0")]
    layer: Layers,
    /// Also write what the plan computes on the host, in fp32, to run with `--engine cpu`
    #[arg(long)]
    host: bool,
    /// Tokens in a sequence; at most the model's context
    #[arg(long, value_name = "N")]
    seq: Option<usize>,
    /// Sequences side by side
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: usize,
    /// Seed of a preset's weights
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Cut {
    /// Training in six kernels a layer
    Six,
    /// The forward pass alone in two kernels a layer
    Inference,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Constants in weight files, one kernel for each layer
    Baked,
    /// Inputs, one kernel for all layers
    Streamed,
}

/// Constants of more elements than this go to weight files; smaller ones stay in the text.
pub(crate) const INLINE: usize = 64;

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let profile = profile(&args.chip)?;
    let parameters = parameters(&args.model, args.seed)?;
    let config = parameters.config().clone();
    let numbers = args.layer.of(config.layers)?;
    let layers: Vec<_> = match args.layer {
        Layers::One(layer) => vec![(layer, args.out.clone())],
        // Kernels whose weights are inputs serve all layers.
        Layers::All if args.mode == Mode::Streamed => vec![(0, args.out.clone())],
        Layers::All => numbers.map(|n| (n, args.out.join(format!("layer-{n}")))).collect(),
    };
    let tokens = tokens(&config, args.batch, args.seq)?;
    let pieces = match args.plan {
        Cut::Six => {
            let layer = Plan::new(PlanKind::Six, &config, tokens).map_err(Failure::failed)?.layer;
            layer.forward.into_iter().chain(layer.backward).collect()
        }
        Cut::Inference => Plan::inference(&config, tokens).map_err(Failure::failed)?,
    };
    for piece in pieces.iter().filter(|p| args.host || p.place == Place::Engine) {
        for (layer, out) in &layers {
            let folder = out.join(piece.name);
            let kernel = Kernel::new(piece, args.mode, &profile).map_err(|why| failed(piece.name, &why))?;
            kernel.write(&folder, &parameters, *layer).map_err(|why| failed(piece.name, &why))?;
            writeln!(io::stdout(), "{}", folder.display())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn failed(kernel: &str, why: &str) -> Failure {
    Failure::Failed(format!("kernel `{kernel}`: {why}"))
}

/// The weights of a model folder, or those that a preset begins with.
pub(crate) fn parameters(model: &str, seed: u64) -> Result<Parameters, Failure> {
    let folder = Path::new(model);
    if folder.is_dir() {
        let loaded = hf::load(folder).map_err(Failure::failed)?;
        for warning in &loaded.warnings {
            writeln!(io::stderr(), "warning: {warning}")?;
        }
        return Ok(loaded.parameters);
    }
    let preset: Preset = model.parse().map_err(|error| {
        Failure::Usage(format!("`model` {model}: no such folder, and as a preset: {error}"))
    })?;
    Parameters::init(&preset.config(), seed).map_err(Failure::failed)
}

/// A kernel ready to be written.
struct Kernel {
    program: Program,
    /// Transposed weights: name, and the name of the weight they are the transpose of.
    transposed: Vec<(String, String)>,
}

impl Kernel {
    fn new(piece: &Piece, mode: Mode, profile: &Profile) -> Result<Self, String> {
        let (mut function, transposed) = match mode {
            Mode::Baked => {
                let (function, list) = transposed_weights(&piece.function).map_err(|e| e.to_string())?;
                (function, list.into_iter().map(|w| (w.name, w.of)).collect())
            }
            Mode::Streamed => {
                let streamed = weights_to_inputs(&piece.function).map_err(|e| e.to_string())?;
                (streamed.function, Vec::new())
            }
        };
        let least = match piece.place {
            Place::Engine => profile.limits.min_input_width.value,
            Place::Host => 1,
        };
        function = flatten_ports(&function, least).map_err(|e| e.to_string())?;
        function.name = "main".to_owned();
        let program = match piece.place {
            Place::Engine => {
                let (function, _) = share_input(function, profile).map_err(|e| e.to_string())?;
                legalise(function, profile).map_err(|e| e.to_string())?.program().clone()
            }
            // The host computes in fp32 and follows no chip's rules.
            Place::Host => Program::single(function),
        };
        Ok(Self { program, transposed })
    }

    fn write(mut self, folder: &Path, parameters: &Parameters, layer: usize) -> Result<(), String> {
        let io = |path: &Path, error: io::Error| format!("cannot write {}: {error}", path.display());
        fs::create_dir_all(folder).map_err(|e| io(folder, e))?;
        for function in &self.program.functions {
            for value in &function.values {
                let Some(constant) = &value.constant else { continue };
                let Some(blob) = constant.blob_ref() else { continue };
                let elements = self.weight(&value.name, parameters, layer)?;
                write_blob(folder, blob, |w| {
                    w.chunk_f32(constant.ty.dtype, &elements).map_err(|e| e.to_string())
                })?;
            }
        }
        for function in &mut self.program.functions {
            move_out_constants(function, folder)?;
        }
        let dialect = Dialect::of(&self.program);
        let text = text::print(&self.program, dialect).map_err(|e| e.to_string())?;
        verify(self.program).map_err(|errors| errors[0].to_string())?;
        let file = folder.join(MODEL_FILE);
        fs::write(&file, text).map_err(|e| io(&file, e))
    }

    /// The elements of a layer's weight, transposed if the kernel has it so.
    fn weight(&self, name: &str, parameters: &Parameters, layer: usize) -> Result<Vec<f32>, String> {
        let of = self.transposed.iter().find(|(t, _)| t == name).map(|(_, of)| of.as_str());
        let plain = of.unwrap_or(name);
        let role = LayerRole::ALL.into_iter().find(|r| r.weight_name() == plain);
        let role = role.ok_or_else(|| format!("the model has no weight `{plain}`"))?;
        let values = parameters.layer(layer, role);
        if of.is_none() {
            return Ok(values.to_vec());
        }
        let param = parameters.table().layer(layer, role);
        let [rows, columns] = param.shape[..] else {
            return Err(format!("the weight `{plain}` is not a matrix"));
        };
        let element = |i: usize| values[i % rows * columns + i / rows];
        Ok((0..rows * columns).map(element).collect())
    }
}

/// Puts the function's large constants (masks, rotation tables) into weight files, as compilers do.
fn move_out_constants(function: &mut Function, folder: &Path) -> Result<(), String> {
    for value in &mut function.values {
        let Some(constant) = &mut value.constant else { continue };
        let (dtype, elements): (DType, usize) = (constant.ty.dtype, constant.ty.elements());
        if elements <= INLINE || type_code(dtype).is_none() {
            continue;
        }
        let Payload::Inline(data) = &constant.payload else { continue };
        let data = Arc::clone(data);
        let path = format!("@model_path/weights/{}.bin", value.name);
        let mut blob = BlobRef { path, offset: 0 };
        blob.offset = write_blob(folder, &blob, |w| w.chunk_data(dtype, &data).map_err(|e| e.to_string()))?;
        constant.payload = Payload::Blob(blob);
    }
    Ok(())
}

type Writer = BlobWriter<BufWriter<fs::File>>;

/// Writes a weight file of one chunk; returns the chunk's offset.
fn write_blob(
    folder: &Path,
    blob: &BlobRef,
    chunk: impl FnOnce(&mut Writer) -> Result<u64, String>,
) -> Result<u64, String> {
    let path = resolve(folder, &blob.path).map_err(|e| e.to_string())?;
    let unwritable = |e: io::Error| format!("cannot write {}: {e}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(unwritable)?;
    }
    let file = fs::File::create(&path).map_err(unwritable)?;
    let mut writer = BlobWriter::new(BufWriter::new(file)).map_err(|e| e.to_string())?;
    let offset = chunk(&mut writer)?;
    writer.finish().map_err(|e| e.to_string())?;
    Ok(offset)
}

/// The tokens a model's kernels see; 256 in a sequence, or the model's context, unless said.
pub(crate) fn tokens(config: &ModelConfig, batch: usize, seq: Option<usize>) -> Result<Tokens, Failure> {
    let seq = seq.unwrap_or(config.max_seq.min(256));
    if seq == 0 || seq > config.max_seq || batch == 0 {
        return Err(Failure::Usage(format!(
            "`seq` {seq}, `batch` {batch}: a sequence has 1 to {} tokens, a batch at least one sequence",
            config.max_seq
        )));
    }
    Ok(Tokens { batch, seq })
}
