//! Which rule computes an op.

use std::fmt;

use ferrane_mil::Opcode;

/// How the faithful arithmetic computes an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// By the multiply-accumulate unit.
    Products,
    /// By the elementwise engine.
    Elementwise,
    /// By a table, or made of tables and the elementwise engine.
    Table,
    /// As a sum or extremum that is rounded once, or made of such.
    Reduction,
    /// Nothing is computed.
    Moved,
    /// In fp32 or wider, then rounded: nothing is known of the engine's own way.
    Rounded,
}

impl Rule {
    /// The rule of an op.
    #[must_use]
    pub fn of(op: Opcode) -> Self {
        use Opcode as O;
        match op {
            O::Conv | O::Linear | O::Matmul => Rule::Products,
            O::Abs | O::Add | O::Ceil | O::Floor | O::Maximum | O::Minimum | O::Mul | O::Relu | O::Round => {
                Rule::Elementwise
            }
            O::Sign | O::Square | O::Sub => Rule::Elementwise,
            O::Cos | O::Erf | O::Exp | O::Exp2 | O::Gelu | O::Inverse | O::Log | O::RealDiv | O::Rsqrt => {
                Rule::Table
            }
            O::Sigmoid | O::Silu | O::Sin | O::Softmax | O::Softplus | O::Softsign | O::Sqrt | O::Tanh => {
                Rule::Table
            }
            O::ReduceL1Norm
            | O::ReduceL2Norm
            | O::ReduceLogSumExp
            | O::ReduceMax
            | O::ReduceMean
            | O::ReduceMin
            | O::ReduceSum
            | O::ReduceSumSquare => Rule::Reduction,
            O::Concat
            | O::ExpandDims
            | O::Identity
            | O::Pad
            | O::Reshape
            | O::SliceByIndex
            | O::SliceBySize
            | O::Split
            | O::Squeeze
            | O::Tile
            | O::Transpose => Rule::Moved,
            _ => Rule::Rounded,
        }
    }

    /// Its name in a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Rule::Products => "products",
            Rule::Elementwise => "elementwise",
            Rule::Table => "table",
            Rule::Reduction => "reduction",
            Rule::Moved => "moved",
            Rule::Rounded => "rounded",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
