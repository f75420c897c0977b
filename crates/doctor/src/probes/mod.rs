//! The questions, each with the programs that answer it.

mod arithmetic;
mod doubted;
mod extents;
mod long;
mod ops;
mod ports;
mod power;
mod process;
mod speed;
pub(crate) mod text;
mod values;
mod weights;

use crate::finding::{Found, Trouble};
use crate::rig::Rig;

/// A question to an engine.
#[derive(Clone, Copy)]
pub struct Probe {
    /// Short name.
    pub name: &'static str,
    /// What it asks.
    pub question: &'static str,
    /// Its answer does not lie in results: an engine that models its time need not compute any.
    pub ignores_results: bool,
    /// Its answer is that of a door: it is put through every door there is.
    pub is_of_door: bool,
    /// It takes minutes, gigabytes or a rest of the engine: it runs only where it is named.
    pub is_long: bool,
    pub(crate) run: fn(&Rig) -> Result<Found, Trouble>,
}

impl Probe {
    const fn ignoring_results(self) -> Self {
        Self { ignores_results: true, ..self }
    }

    const fn by_each_door(self) -> Self {
        Self { is_of_door: true, ..self }
    }

    const fn long(self) -> Self {
        Self { is_long: true, ..self }
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Probe({})", self.name)
    }
}

impl PartialEq for Probe {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// There is no such probe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no probe `{name}`; there are {known}")]
pub struct UnknownProbe {
    name: String,
    known: String,
}

const fn ask(name: &'static str, question: &'static str, run: fn(&Rig) -> Result<Found, Trouble>) -> Probe {
    Probe { name, question, ignores_results: false, is_of_door: false, is_long: false, run }
}

pub(crate) const DIALECT: Probe = ask("dialect", "which MIL text is taken?", text::dialect);

static PROBES: &[Probe] = &[
    DIALECT,
    ask("port-order", "are surfaces bound in the order of declaration or of names?", ports::order),
    ask("equal-sizes", "must the surfaces of a side claim the same number of bytes?", ports::equal_sizes),
    ask("size-order", "are surfaces of unequal sizes bound in the order of their sizes?", ports::by_size),
    ask("several-inputs", "may a program have several inputs?", ops::several_inputs),
    ask("width", "how narrow may an input be?", ports::width),
    ask("alignment", "do sizes have to be multiples of something?", weights::alignment),
    ask("slots", "how many programs can be loaded?", process::slots).by_each_door(),
    ask("compiles", "how many programs can a process compile?", process::compiles).by_each_door(),
    ask("refusals", "do refused programs count among those?", process::refusals).by_each_door(),
    ask("reload", "do new weight files under a loaded program take effect?", process::reload).by_each_door(),
    ask("reload-data", "does another compiled data file under it take effect?", process::reload_data)
        .by_each_door(),
    ask("weight-header", "which headers of weight files are taken?", weights::header),
    ask("weight-file", "may a weight file hold several weights?", weights::combined),
    ask("look-up-tables", "are weights taken as look-up tables, and of how many values?", weights::tables),
    ask("fp8", "up to which code are weights in FP8 right?", weights::fp8),
    ask("movement", "are reshape, transpose, pad and reductions taken, and right?", doubted::movement),
    ask("anecdotes", "is it so what single sources say of other ops?", doubted::anecdotes),
    ask("concat", "is concat refused, and in which spelling?", ops::concat),
    ask("gelu", "does gelu need its mode?", ops::gelu),
    ask("matmul", "is matmul taken, and with inline arguments?", ops::matmul),
    ask("conv-bias", "may a convolution have a bias?", ops::conv_bias),
    ask("conv-weight", "may a convolution's weight be computed?", ops::conv_weight),
    ask("cast", "is cast to fp32 taken at the border?", ops::cast),
    ask("rsqrt", "is rsqrt of a reduction refused?", ops::rsqrt),
    ask("softmax", "must a softmax have a power of two of elements?", ops::softmax),
    ask("topk", "is topk refused?", ops::topk),
    ask("extent", "how wide may a tensor be?", extents::width),
    ask("channels", "how many channels may it have?", extents::channels),
    ask("rank", "how many axes may it have?", extents::rank),
    ask("transpose", "how many elements may be transposed?", extents::transpose),
    ask("argmax", "how long may the axis of argmax be?", extents::arg_axis),
    ask("kernel-width", "how wide may a convolution's kernel be?", extents::kernel_width),
    ask("kernel-height", "how high may it be?", extents::kernel_height),
    ask("conv-channels", "how many input channels may a convolution have?", extents::conv_channels),
    ask("depth", "how many convolutions may follow each other?", extents::depth),
    ask("layer-norm", "how long may the gamma of a layer_norm be?", values::layer_norm),
    ask("mask", "does attention heed its mask, and each head's own?", values::mask),
    ask("attention", "over how many queries and keys is attention right?", values::attention_range),
    ask("transposed-products", "are two products right that transposes feed?", values::transposed_products),
    ask("slice", "which magnitudes survive a slice inside the last axis?", values::slice),
    ask("concat-of-slices", "does concat of such slices pick the right elements?", values::slices),
    ask("gather", "up to which index is gather right?", values::gather),
    ask("int8-activations", "which activations may meet int8 weights?", values::int8_activations),
    ask("softplus", "from where is softplus 0?", values::softplus),
    ask("round", "from where is round wrong?", values::round),
    ask("sums", "are sums over elements added up in fp16?", values::sums),
    ask("rounding", "which way do half-way cases go?", arithmetic::rounding),
    ask("accumulator", "how are products added up?", arithmetic::accumulator),
    ask("overflow", "from where are sums of products infinite?", arithmetic::limit),
    ask(
        "special-values",
        "what comes of infinities, NaN and the smallest numbers?",
        arithmetic::special_values,
    ),
    ask("tables", "how far are looked-up functions off?", arithmetic::tables),
    ask("dispatch", "what does an evaluation cost, an element in and out, a function?", speed::dispatch)
        .ignoring_results(),
    ask("reductions", "how fast are sums over elements?", speed::reductions).ignoring_results(),
    ask("weights", "how fast do weights come from memory, and those of int8?", speed::weights)
        .ignoring_results(),
    ask("array", "how fast are products, and from how many columns?", speed::array).ignoring_results(),
    ask("int8", "how much faster are int8 products?", speed::int8).ignoring_results(),
    ask("conv3", "how much faster are 3x3 convolutions than their products?", speed::conv3)
        .ignoring_results(),
    ask("working-set", "how large may values be that stay in the engine?", speed::working_set)
        .ignoring_results(),
    ask("peak", "what do the published peak programs and one large product reach?", speed::peak)
        .ignoring_results(),
    ask("power", "what does the engine draw?", power::power).ignoring_results(),
    ask("compile-time", "how long does a program take to compile?", speed::compile_time).ignoring_results(),
    ask("weight-bytes", "how many bytes of weights may a program have?", long::weight_bytes)
        .ignoring_results()
        .long(),
    ask("wake", "after which rest does the engine sleep, and what does waking take?", long::wake).long(),
    ask("failed-compiles", "is the compiler slow after many refusals?", long::failed_compiles).long(),
    ask("tile", "does tile leave a process unable to evaluate?", process::tile),
];

/// Probes of the doctor itself, which no examination runs unless they are named.
static TRIALS: &[Probe] = &[
    ask("hang", "is a probe ended that never ends?", |_| {
        loop {
            std::thread::park();
        }
    }),
    ask("crash", "is a probe told of that takes its process down?", |_| std::process::abort()),
];

/// All probes, in the order they are best run. Those that are [long](Probe::is_long) are to be run where they are named.
pub fn probes() -> &'static [Probe] {
    PROBES
}

/// The probe of this name.
///
/// # Errors
/// [`UnknownProbe`], with the names there are.
pub fn probe(name: &str) -> Result<&'static Probe, UnknownProbe> {
    PROBES.iter().chain(TRIALS).find(|probe| probe.name == name).ok_or_else(|| UnknownProbe {
        name: name.into(),
        known: PROBES.iter().map(|probe| probe.name).collect::<Vec<_>>().join(", "),
    })
}
