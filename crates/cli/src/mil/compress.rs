//! `ferrane mil compress`: a program with its weights in fewer bits.

use std::fs;
use std::io::{self, BufWriter, Seek, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use ferrane_mil::blob::{BlobFile, BlobWriter, type_code};
use ferrane_mil::compress::{Scheme, compress};
use ferrane_mil::pass::compress_weights;
use ferrane_mil::text::{self, Dialect};
use ferrane_mil::{BlobRef, Constant, DType, Opset, Payload, Program, TensorType, verify};

use super::source::{self, LoadError, MODEL_FILE};
use super::weights::FolderWeights;
use crate::failure::Failure;

/// Write a program with its weights in fewer bits, as a folder with model.mil and its weight file.
///
/// Weights are compressed where that makes them smaller; the others stay as they are. What decodes them are the
/// `constexpr` ops of the program's op set.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A .mil file, a folder with model.mil or a package
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// How weights are written
    #[arg(long, value_name = "FORM")]
    weights: Form,
    /// Leave weights of fewer elements as they are
    #[arg(long, value_name = "N", default_value_t = 2048)]
    least: usize,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Integers of 8 bits with a scale for each slice of the first axis
    Int8,
    /// Integers of 4 bits with a scale for every 32 elements of the second axis (ios18)
    Int4,
    /// 256 values for each weight, chosen by k-means
    Palette8,
    /// 64 values for each weight
    Palette6,
    /// 16 values for each weight
    Palette4,
    /// 8 values for each weight (ios18)
    Palette3,
    /// 4 values for each weight
    Palette2,
    /// 2 values for each weight
    Palette1,
    /// A mask of what is not zero, and that; exact
    Sparse,
    /// A mask of what is not zero, and that as `int8` with a scale for each slice of the first axis (ios18)
    SparseInt8,
    /// A mask of what is not zero, and that as one of 16 values for each weight (ios18)
    SparsePalette4,
}

impl Form {
    fn scheme(self, ty: &TensorType) -> Scheme {
        let sparse = |form| Scheme::Sparse(Some(Box::new(form)));
        let palette = |bits| Scheme::Palette { bits, groups: Vec::new(), vector: None };
        match self {
            Form::Int8 => {
                let axis = (ty.rank() > 1).then_some(0);
                Scheme::Affine { dtype: DType::Int8, axis, symmetric: true }
            }
            Form::Int4 => Scheme::Blockwise { dtype: DType::Int4, blocks: blocks_of_32(ty), symmetric: true },
            Form::Palette8 => palette(8),
            Form::Palette6 => palette(6),
            Form::Palette4 => palette(4),
            Form::Palette3 => palette(3),
            Form::Palette2 => palette(2),
            Form::Palette1 => palette(1),
            Form::Sparse => Scheme::Sparse(None),
            Form::SparseInt8 => {
                let mut blocks = vec![1; ty.rank()];
                if let ([rows, _, ..], [first, ..]) = (&ty.shape[..], &mut blocks[..]) {
                    *first = *rows;
                }
                sparse(Scheme::Blockwise { dtype: DType::Int8, blocks, symmetric: true })
            }
            Form::SparsePalette4 => sparse(palette(4)),
        }
    }
}

/// A block for each slice of the first axis and every 32 elements of the second, or all of it if 32 does not divide it.
fn blocks_of_32(ty: &TensorType) -> Vec<usize> {
    let mut blocks = vec![1; ty.rank()];
    if let [rows, columns, ..] = ty.shape[..] {
        blocks[0] = rows;
        blocks[1] = if columns.is_multiple_of(32) { columns / 32 } else { 1 };
    }
    blocks
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let model = source::load(&args.path).map_err(LoadError::into_failure)?;
    let mut program = source::verified(&model, &args.path)?.program().clone();
    let files = FolderWeights::new(&model.folder);
    if same_folder(&model.folder, &args.out) {
        return Err(Failure::usage("`out` is the folder of the program itself; give another"));
    }
    let (mut before, mut after) = (0, 0);
    for function in &mut program.functions {
        let opset = function.opset;
        *function = compress_weights(function, |name, blob, ty| {
            let compressed = encode(args, &files, blob, ty, opset).map_err(|why| failed(name, &why))?;
            before += ty.bytes();
            after += compressed.as_ref().map_or(ty.bytes(), |c| c.bytes());
            Ok::<_, Failure>(compressed)
        })?;
    }
    write(&mut program, &files, args)?;
    verify(program).map_err(|errors| Failure::failed(&errors[0]))?;
    let file = args.out.join(MODEL_FILE);
    writeln!(io::stdout(), "{}: {before} bytes of weights became {after}", file.display())?;
    Ok(ExitCode::SUCCESS)
}

fn failed(name: &str, why: &str) -> Failure {
    Failure::Failed(format!("the weight `{name}`: {why}"))
}

fn same_folder(a: &std::path::Path, b: &std::path::Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The compressed weight, or `None` if it is better left.
fn encode(
    args: &Args,
    files: &FolderWeights,
    blob: &BlobRef,
    ty: &TensorType,
    opset: Opset,
) -> Result<Option<ferrane_mil::compress::Compressed>, String> {
    if ty.elements() < args.least || !matches!(ty.dtype, DType::Fp16 | DType::Fp32) {
        return Ok(None);
    }
    let values = files.elements(blob, ty)?;
    let compressed = compress(&values, ty, &args.weights.scheme(ty), opset).map_err(|e| e.to_string())?;
    Ok(Some(compressed).filter(|c| c.bytes() < ty.bytes()))
}

/// Writes the program's text and one file with all its weights and large constants.
fn write(program: &mut Program, files: &FolderWeights, args: &Args) -> Result<(), Failure> {
    let folder = args.out.join("weights");
    let unwritable = |path: &std::path::Path, e: io::Error| {
        Failure::Failed(format!("cannot write {}: {e}", path.display()))
    };
    fs::create_dir_all(&folder).map_err(|e| unwritable(&folder, e))?;
    let path = folder.join("weight.bin");
    let file = fs::File::create(&path).map_err(|e| unwritable(&path, e))?;
    let mut writer = BlobWriter::new(BufWriter::new(file)).map_err(Failure::failed)?;
    for function in &mut program.functions {
        for constant in function.constants_mut() {
            store(constant, files, &mut writer).map_err(Failure::Failed)?;
        }
    }
    writer.finish().map_err(Failure::failed)?;
    let text = text::print(program, Dialect::of(program)).map_err(Failure::failed)?;
    let file = args.out.join(MODEL_FILE);
    fs::write(&file, text).map_err(|e| unwritable(&file, e))
}

/// Moves a weight, or the elements of a large constant, into the file that is written.
fn store<W: Write + Seek>(
    constant: &mut Constant,
    files: &FolderWeights,
    writer: &mut BlobWriter<W>,
) -> Result<(), String> {
    let dtype = constant.ty.dtype;
    let offset = match &constant.payload {
        Payload::Inline(data) if data.len() > super::dump::INLINE && type_code(dtype).is_some() => {
            writer.chunk_data(dtype, data)
        }
        Payload::Inline(_) => return Ok(()),
        Payload::Blob(blob) => {
            let bytes = files.file(&blob.path)?;
            let chunk = BlobFile::parse(&bytes).and_then(|file| file.chunk(blob.offset, &constant.ty));
            let chunk = chunk.map_err(|e| format!("`{}`: {e}", blob.path))?;
            writer.chunk(dtype, chunk.elements, chunk.bytes)
        }
    };
    let offset = offset.map_err(|e| e.to_string())?;
    constant.payload = Payload::Blob(BlobRef { path: "@model_path/weights/weight.bin".into(), offset });
    Ok(())
}
