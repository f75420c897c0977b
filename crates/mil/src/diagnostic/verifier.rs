//! What the verifier found, as diagnostics with places in the text.

use super::{Code, Diagnostic, Diagnostics, FunctionSpans, SourceMap, Span};
use crate::{CallError, Function, Program, VerifyError};

impl VerifyError {
    /// The stable number of this kind of error.
    pub fn code(&self) -> Code {
        match self {
            VerifyError::NoEntry => Code::NO_ENTRY,
            VerifyError::DuplicateName { .. } | VerifyError::Redefined { .. } => Code::DUPLICATE,
            VerifyError::Undefined { .. } => Code::USED_BEFORE_DEFINITION,
            VerifyError::ConstantKind { .. } | VerifyError::Constant { .. } => Code::CONSTANT_ELEMENTS,
            VerifyError::Call { source, .. } => source.code(),
            VerifyError::ResultType { .. } => Code::RESULT_TYPE,
            VerifyError::Opset { .. } => Code::TOO_NEW,
            VerifyError::NoOutputs { .. } => Code::NO_OUTPUTS,
            VerifyError::TooLarge { .. } => Code::SHAPE_OVERFLOW,
        }
    }

    /// The function it is about, and the value if it is about one.
    fn subject(&self) -> Option<(&str, Option<&str>)> {
        match self {
            VerifyError::NoEntry => None,
            VerifyError::NoOutputs { function } => Some((function, None)),
            VerifyError::DuplicateName { function, name }
            | VerifyError::Undefined { function, name, .. }
            | VerifyError::Redefined { function, name }
            | VerifyError::ConstantKind { function, name, .. }
            | VerifyError::Constant { function, name, .. }
            | VerifyError::TooLarge { function, name, .. } => Some((function, Some(name))),
            VerifyError::Call { function, result, .. }
            | VerifyError::Opset { function, result, .. }
            | VerifyError::ResultType { function, result, .. } => Some((function, Some(result))),
        }
    }
}

impl CallError {
    /// The stable number of this kind of error.
    pub fn code(&self) -> Code {
        match self {
            CallError::UnknownOp(_) | CallError::ParsedOnly(_) => Code::NOT_IN_CATALOGUE,
            CallError::Missing { .. } => Code::MISSING_ARGUMENT,
            CallError::UnknownArgument { .. } => Code::UNKNOWN_ARGUMENT,
            CallError::Kind { .. } => Code::ARGUMENT_KIND,
            CallError::Invalid { .. } => Code::ARGUMENT_FIT,
        }
    }
}

impl Diagnostics {
    /// The verifier's errors about `program`, with places where `map`, that of its text, has them.
    pub fn of_verifier(errors: &[VerifyError], program: &Program, map: Option<&SourceMap>) -> Self {
        Self(errors.iter().map(|error| diagnostic(error, program, map)).collect())
    }
}

fn diagnostic(error: &VerifyError, program: &Program, map: Option<&SourceMap>) -> Diagnostic {
    let mut d = Diagnostic::error(error.code(), error.to_string());
    let found = error.subject().and_then(|(name, value)| {
        let index = program.functions.iter().position(|f| f.name == name)?;
        Some((&program.functions[index], map?.function(index)?, value))
    });
    let Some((function, spans, value)) = found else { return d };
    let place = match (error, value) {
        (VerifyError::Call { source, .. }, Some(result)) => call_place(function, spans, result, Some(source)),
        (VerifyError::Opset { .. }, Some(result)) => call_place(function, spans, result, None),
        (_, Some(value)) => function.find(value).and_then(|v| spans.value(v)).map(|s| (s, String::new())),
        _ => None,
    };
    let (span, remark) = place.unwrap_or((spans.name, String::new()));
    d = d.label(span, remark);
    match error {
        VerifyError::ResultType { inferred, .. } => d.help(format!("declare it `{inferred}`")),
        VerifyError::Opset { since, .. } => {
            d.help(format!("write `func {}<{}>`, or do without the op", function.name, since.name()))
        }
        _ => d,
    }
}

/// The argument that is wrong, or the statement.
fn call_place(
    function: &Function,
    spans: &FunctionSpans,
    result: &str,
    error: Option<&CallError>,
) -> Option<(Span, String)> {
    let at = function.ops.iter().position(|op| op.results.iter().any(|r| function.name_of(*r) == result))?;
    let argument = match error {
        Some(CallError::Kind { arg, .. } | CallError::UnknownArgument { arg, .. }) => {
            function.ops[at].args.iter().position(|(name, _)| name == arg)
        }
        _ => None,
    };
    let span = argument.and_then(|arg| spans.arg(at, arg)).or_else(|| spans.code(at))?;
    Some((span, String::new()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{text, verify};

    fn diagnose(statements: &str) -> Diagnostics {
        let source = format!(
            "program(1.3) {{ func main<ios18>(tensor<fp16, [1, 4, 1, 8]> x) {{\n{statements}\n}} -> (y); }}"
        );
        let parsed = text::parse(&source).unwrap_or_else(|e| panic!("{e}"));
        let errors = verify(parsed.program.clone()).unwrap_err();
        let mut all = Diagnostics::of_verifier(&errors, &parsed.program, Some(&parsed.source_map));
        all.locate(&source);
        all
    }

    #[test]
    fn a_wrong_declaration_is_shown_at_the_name_with_the_right_type() {
        let all = diagnose("tensor<fp16, [1, 4, 1, 9]> y = relu(x = x);");
        let d = &all.0[0];
        assert_eq!((d.code, d.position.map(|p| (p.line, p.column))), (Code::RESULT_TYPE, Some((2, 28))));
        assert_eq!(d.help.as_deref(), Some("declare it `tensor<fp16, [1, 4, 1, 8]>`"));
    }

    #[test]
    fn an_argument_of_the_wrong_kind_is_pointed_at() {
        let all = diagnose("tensor<fp16, [1, 4, 1, 8]> y = softmax(x = x, axis = x);");
        let d = &all.0[0];
        assert_eq!((d.code, d.position.map(|p| (p.line, p.column))), (Code::ARGUMENT_KIND, Some((2, 47))));
    }
}
