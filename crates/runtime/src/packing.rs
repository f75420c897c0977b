//! Inputs that share the only surface a kernel takes.

use std::collections::HashMap;

use ferrane_engine::{Port, Surface, SurfaceError};
use ferrane_mil::pass::PackedInput;

/// The ports of inputs that share `surface`.
pub(crate) fn ports(surface: &Port, packed: &[PackedInput]) -> Vec<Port> {
    let port =
        |input: &PackedInput| Port { name: input.name.clone(), shape: input.shape, dtype: surface.dtype };
    packed.iter().map(port).collect()
}

/// Part of a surface: rows of `width` elements, from a channel and a column on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) row: usize,
    pub(crate) column: usize,
    pub(crate) width: usize,
}

impl Part {
    pub(crate) fn of(input: &PackedInput) -> Self {
        Self { row: input.row, column: input.column, width: input.shape[3] }
    }

    /// Puts `values` here in `surface`.
    pub(crate) fn put(self, values: &[f32], surface: &Surface) -> Result<(), SurfaceError> {
        surface.copy_rows(values, self.width, self.row, self.column)
    }
}

/// What a kernel's inputs hold, by name; those that share its only one, each for itself.
pub(crate) fn by_name(
    ports: &[Port],
    inputs: &[&Surface],
    packed: &[PackedInput],
) -> Result<HashMap<String, Vec<f32>>, SurfaceError> {
    match (inputs, packed) {
        (&[shared], [_, ..]) => {
            packed.iter().map(|input| Ok((input.name.clone(), unpack(shared, input)?))).collect()
        }
        _ => {
            let own = ports.iter().zip(inputs);
            own.map(|(port, input)| Ok((port.name.clone(), input.read(<[f32]>::to_vec)?))).collect()
        }
    }
}

fn unpack(surface: &Surface, input: &PackedInput) -> Result<Vec<f32>, SurfaceError> {
    let [_, channels, _, width] = input.shape;
    let across = surface.shape()[3];
    surface.read(|elements| {
        let rows = elements.chunks_exact(across).skip(input.row).take(channels);
        rows.flat_map(|row| &row[input.column..][..width]).copied().collect()
    })
}
