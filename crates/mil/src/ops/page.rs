//! The catalogue as a page of documentation, `docs/ops.md`.

use super::{ArgSpec, Default, EngineStatus, OpSpec, all};
use crate::{Opcode, diff};

/// The page, as `ferrane mil ops --markdown` prints it and `docs/ops.md` holds it.
pub fn markdown() -> String {
    let count = |status| all().filter(|row| row.engine == status).count();
    let executed = all().filter(|row| row.executed).count();
    let mut page = format!(
        "<!-- Made by `ferrane mil ops --markdown`; do not edit. -->\n\n# The ops of MIL\n\n\
         {} ops, of which {executed} are executed here and the others only parsed. An argument with `?` may be absent, one \
         with `=` then has that value. *Since* is the op set an op appeared in. *Neural Engine* is what one published sweep \
         found on an M5 ({} correct, {} compile with unchecked values, {} not on the engine, {} do not compile by hand); this \
         project did not measure it. *Derivative* says whether reverse mode has a rule, and if not why.\n\n\
         | op | arguments | what it does | since | Neural Engine | executed | derivative |\n\
         |---|---|---|---|---|---|---|\n",
        all().count(),
        count(EngineStatus::Correct),
        count(EngineStatus::Compiles),
        count(EngineStatus::NotOnEngine),
        count(EngineStatus::DoesNotCompile),
    );
    for row in all() {
        let arguments: Vec<String> = row.args.iter().map(argument).collect();
        let cells = [
            format!("`{}`", row.code),
            arguments.join(", "),
            row.summary.replace('|', "\\|"),
            row.since.name().into(),
            row.engine.name().into(),
            if row.executed { "yes" } else { "only parsed" }.into(),
            derivative(row).into(),
        ];
        page += &format!("| {} |\n", cells.join(" | "));
    }
    page
}

fn argument(spec: &ArgSpec) -> String {
    match spec.default {
        Default::Required => format!("`{}`", spec.name),
        Default::None => format!("`{}?`", spec.name),
        Default::Int(v) => format!("`{} = {v}`", spec.name),
        Default::Ints(v) => format!("`{} = {v:?}`", spec.name),
        Default::Bool(v) => format!("`{} = {v}`", spec.name),
        Default::Float(v) => format!("`{} = {v}`", spec.name),
        Default::Str(v) => format!("`{} = \"{v}\"`", spec.name),
    }
}

/// Whether an op has a derivative rule, and why not.
fn derivative(row: &OpSpec) -> &'static str {
    use Opcode::*;
    match row.code {
        code if diff::has_rule(code) => "yes",
        _ if !row.executed => "none: not executed",
        code if code.is_constexpr() || code == Const => "none: constant",
        Ceil | Floor | Round | Sign | FloorDiv | Mod | Quantize | Dequantize => {
            "none: a function of steps, or on integers"
        }
        Equal | Greater | GreaterEqual | Less | LessEqual | LogicalAnd | LogicalNot | LogicalOr
        | LogicalXor | NotEqual => "none: truth values",
        Argsort | NonMaximumSuppression | ReduceArgmax | ReduceArgmin | Shape | OneHot | Range1d => {
            "none: depends on no real number"
        }
        Fill | FillLike => "none: constant",
        _ => "none written",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_documentation_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ops.md");
        if std::env::var_os("FERRANE_BLESS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == markdown(), "run `ferrane mil ops --markdown > docs/ops.md`");
    }

    #[test]
    fn every_op_has_a_row() {
        let page = markdown();
        for code in Opcode::all() {
            assert_eq!(page.matches(&format!("\n| `{code}` |")).count(), 1, "{code}");
        }
    }
}
