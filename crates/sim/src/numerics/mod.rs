//! What the Neural Engine's arithmetic does to the values.
//!
//! Plain functions over slices of `f32` that hold fp16 values, one per kind of unit: the multiply-accumulate array
//! ([`gemm`], whose meaning is [`mac`]), the elementwise engine ([`elementwise`]), its tables ([`table`]) and its
//! reductions ([`reduce`]). [`Faithful`] hands them to the executor. `docs/simulator.md` says which rule stands on which
//! evidence.

pub mod elementwise;
mod faithful;
pub mod fp16;
pub mod gemm;
pub mod mac;
pub mod reduce;
mod rule;
pub mod table;

pub use faithful::Faithful;
pub use rule::Rule;

/// True when a slice has an infinite element.
#[inline(always)]
fn is_any_infinite(values: &[f32]) -> bool {
    values.iter().fold(0, |most, y| (y.to_bits() & 0x7fff_ffff).max(most)) == f32::INFINITY.to_bits()
}

/// How many results there were, and how many of them the arithmetic drove to infinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Saturation {
    /// Results.
    pub results: u64,
    /// Results that are infinite though no operand was.
    pub saturated: u64,
}

impl std::ops::AddAssign for Saturation {
    fn add_assign(&mut self, more: Self) {
        self.results += more.results;
        self.saturated += more.saturated;
    }
}

/// Runs a loop compiled for the best vector instructions of this machine.
#[inline(always)]
pub(crate) fn dispatch<R>(run: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(run)
}
