//! Ports in alphabetical order.

use crate::{Function, ValueId};

/// `f` with its inputs and its outputs each in alphabetical (byte) order of their names, the order in which the
/// in-memory door binds surfaces (facts A-53).
pub fn order_ports(f: &Function) -> Function {
    let mut f = f.clone();
    let sorted = |ports: &[ValueId]| {
        let mut ports = ports.to_vec();
        ports.sort_by(|a, b| f.name_of(*a).cmp(f.name_of(*b)));
        ports
    };
    let (inputs, outputs) = (sorted(&f.inputs), sorted(&f.outputs));
    f.inputs = inputs;
    f.outputs = outputs;
    f
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::{Builder, Opcode, Opset, TensorType};

    #[test]
    fn ports_are_sorted_by_name() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([1, 2, 1, 4]));
        let a = b.input("a", TensorType::fp16([1, 3, 1, 4]));
        let tanh = b.unary(Opcode::Tanh, x).unwrap();
        let exp = b.unary(Opcode::Exp, a).unwrap();
        let f = verified(order_ports(&b.finish(&[tanh, exp])));
        assert_eq!(ports(&f), [("a", &[1, 3, 1, 4][..]), ("x", &[1, 2, 1, 4])]);
        assert_eq!(f.outputs.iter().map(|&v| f.name_of(v)).collect::<Vec<_>>(), ["exp", "tanh"]);
    }
}
