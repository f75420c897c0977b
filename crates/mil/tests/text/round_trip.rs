//! Nothing is lost between a program and its text, and no text makes the reader fall over.

use ferrane_mil::text::{Dialect, parse, parse_bytes, print, structural_difference};
use proptest::prelude::*;

use crate::arbitrary;

fn round_trips(program: &ferrane_mil::Program, dialect: Dialect) -> Result<(), TestCaseError> {
    let text = print(program, dialect).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let again = parse(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
    prop_assert_eq!(structural_difference(program, &again.program), None, "{}", text);
    let printed = print(&again.program, dialect).map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert_eq!(printed, text, "printing is idempotent");
    let spans = &again.source_map.functions;
    for (f, spans) in again.program.functions.iter().zip(spans) {
        prop_assert_eq!((f.ops.len(), f.values.len()), (spans.ops.len(), spans.values.len()));
        prop_assert_eq!(f.ops.iter().map(|o| o.args.len()).sum::<usize>(), spans.args.len());
    }
    Ok(())
}

/// Fragments that together make programs, nearly programs and nonsense.
fn fragments() -> impl Strategy<Value = String> {
    let words = vec![
        "program(1.3)",
        "{",
        "}",
        "func",
        "main<ios18>",
        "(",
        ")",
        "[",
        "]",
        "->",
        ";",
        ",",
        "=",
        "<",
        ">",
        "?",
        "tensor<fp16, [1, 4]>",
        "fp16",
        "int32",
        "x",
        "y",
        "relu",
        "const()",
        "name = string(\"n\")",
        "val =",
        "fp16(1)",
        "[1, 2]",
        "dict<string, string>",
        "{{\"a\", \"b\"}}",
        "tuple<",
        "list<fp16, 2>",
        "BLOBFILE(",
        "path = string(\"p\")",
        "offset = uint64(64)",
        "\"",
        "//",
        "/*",
        "*/",
        "-",
        "0x1p",
        "1e9",
        "nan(",
        "\n",
        "func main<ios18>(fp16 x) {",
        "fp16 y = relu(x = x);",
        "} -> (y);",
    ];
    prop::collection::vec(prop::sample::select(words), 0..60).prop_map(|w| w.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn modern_text_round_trips(program in arbitrary::program(Dialect::Modern)) {
        round_trips(&program, Dialect::Modern)?;
    }

    #[test]
    fn verbose_text_round_trips(program in arbitrary::program(Dialect::Verbose)) {
        round_trips(&program, Dialect::Verbose)?;
        round_trips(&program, Dialect::Modern)?;
    }

    #[test]
    fn any_fragments_give_a_program_or_located_errors(source in fragments()) {
        if let Err(errors) = parse(&source) {
            prop_assert!(errors.has_errors());
            for e in errors.iter() {
                let span = e.span().unwrap();
                prop_assert!(span.start <= span.end && span.end as usize <= source.len(), "{e:?}");
                prop_assert!(source.is_char_boundary(span.start as usize) && e.position.is_some());
            }
        }
    }

    #[test]
    fn any_bytes_give_a_program_or_errors(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(parse_bytes(&bytes).is_err());
    }

    #[test]
    fn damaged_programs_never_panic(
        program in arbitrary::program(Dialect::Modern),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = print(&program, Dialect::Modern).unwrap().into_bytes();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(parsed) = parse_bytes(&bytes) {
            round_trips(&parsed.program, Dialect::Modern)?;
        }
    }
}
