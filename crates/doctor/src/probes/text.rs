//! The MIL text that is taken.

use ferrane_mil::Opset;

use crate::finding::{Found, Measured, Sharpness, Trouble};
use crate::rig::{Dialect, Rig};

/// The dialects of published programs: what later chips take, and what every chip is said to take.
const MODERN: Dialect = Dialect { version: (1, 3), opset: Opset::Ios18 };
pub(crate) const OLDEST: Dialect = Dialect { version: (1, 0), opset: Opset::Ios16 };

/// Latest first, and nothing later than published programs are: a profile's dialect is what programs are written in.
const VERSIONS: [(u32, u32); 4] = [(1, 3), (1, 2), (1, 1), (1, 0)];
const OPSETS: [Opset; 4] = [Opset::Ios18, Opset::Ios17, Opset::Ios16, Opset::Ios15];

pub(super) fn dialect(rig: &Rig) -> Result<Found, Trouble> {
    let taken = |dialect| match rig.control_in(dialect) {
        Ok(()) => Ok(true),
        Err(Trouble::Control(_)) => Ok(false),
        Err(other) => Err(other),
    };
    if taken(MODERN)? {
        return Ok(found(MODERN));
    }
    let opset = first(&OPSETS, |opset| taken(Dialect { opset, ..OLDEST }))?;
    let version = first(&VERSIONS, |version| taken(Dialect { version, ..OLDEST }))?;
    let (Some(opset), Some(version)) = (opset, version) else {
        // Says what the engine says of the oldest.
        return rig.control_in(OLDEST).map(|()| found(OLDEST));
    };
    let both = Dialect { version, opset };
    match taken(both)? {
        true => Ok(found(both)),
        false => Err(Trouble::Unclear(format!("{both} is refused, though each half of it is taken"))),
    }
}

fn found(dialect: Dialect) -> Found {
    let (major, minor) = dialect.version;
    Found::default().with("dialect.version", Measured::Version(major, minor), Sharpness::Exact).with(
        "dialect.opset",
        Measured::Name(dialect.opset.name().into()),
        Sharpness::Exact,
    )
}

/// The first that is taken.
fn first<T: Copy>(all: &[T], taken: impl Fn(T) -> Result<bool, Trouble>) -> Result<Option<T>, Trouble> {
    for &one in all {
        if taken(one)? {
            return Ok(Some(one));
        }
    }
    Ok(None)
}
