//! What is refused, and what is said about it.

use ferrane_mil::text::{parse, parse_bytes};

/// The one-line forms of everything found wrong with these statements; lines count from the first statement's.
fn errors(statements: &str) -> Vec<String> {
    let header = "program(1.3) { func main<ios18>(tensor<fp16, [1, 4]> x) {";
    let source = format!("{header}\n{statements}\n}} -> (x); }}");
    match parse(&source) {
        Ok(parsed) => panic!("accepted {statements}: {:?}", parsed.program),
        Err(all) => all
            .iter()
            .map(|d| {
                let place = d.position.map_or(String::new(), |p| format!("{}:{}: ", p.line - 1, p.column));
                let line = d.to_string();
                format!("{place}{}", &line[line.find(d.severity.to_string().as_str()).unwrap()..])
            })
            .collect(),
    }
}

#[track_caller]
fn snapshot(statements: &str, expected: &[&str]) {
    assert_eq!(errors(statements), expected, "{statements}");
}

#[test]
fn unknown_ops_and_types() {
    snapshot(
        "tensor<fp16, [1, 4]> y = matmull(x = x, y = x);\ntensor<fp16, [1, 4]> z = relu(x = y);",
        &["1:26: error[MIL0100]: there is no op `matmull` (did you mean `matmul`?)"],
    );
    snapshot(
        "tensor<float16, [1, 4]> y = relu(x = x);\nint23 z = relu(x = y);",
        &[
            "1:8: error[MIL0104]: there is no type `float16` (did you mean `fp16`?)",
            "2:1: error[MIL0104]: there is no type `int23` (did you mean `int32`?)",
        ],
    );
}

#[test]
fn names() {
    snapshot(
        "tensor<fp16, [1, 4]> y = add(x = later, y = qq);\ntensor<fp16, [1, 4]> later = relu(x = x);\ntensor<fp16, [1, 4]> later = relu(x = laterr);",
        &[
            "1:34: error[MIL0102]: `later` is used before it is defined (statements are in execution order: move the definition up)",
            "1:45: error[MIL0101]: `qq` is not defined in function `main`",
            "3:22: error[MIL0103]: the value `later` is given twice",
            "3:39: error[MIL0101]: `laterr` is not defined in function `main` (did you mean `later`?)",
        ],
    );
    snapshot(
        "tensor<fp16, [1, 4]> y = add(x = y, y = x);",
        &[
            "1:34: error[MIL0102]: `y` is used before it is defined (statements are in execution order: move the definition up)",
        ],
    );
    snapshot(
        "tensor<fp16, [1, 4]> y = add(x = x, x = x)[name = string(\"a\"), name = string(\"b\")];",
        &[
            "1:37: error[MIL0103]: the argument `x` is given twice",
            "1:64: error[MIL0103]: the attribute `name` is given twice",
        ],
    );
}

#[test]
fn both_places_of_a_clash_are_told() {
    let source = "program(1.3) { func main<ios18>(fp16 x) { fp16 x = relu(x = x); } -> (x); }";
    let all = parse(source).unwrap_err();
    let places: Vec<_> = all.0[0].labels.iter().map(|(s, text)| (s.start, text.as_str())).collect();
    assert_eq!(places, [(47, "given again here"), (37, "given first here")]);
}

#[test]
fn reading_goes_on_after_an_error() {
    snapshot(
        "tensor<fp16, [1, 4] y = relu(x = x);\ntensor<fp16, [1, 4]> z = relu(x x);\nfp16 c = const()[val = fp16(1)] fp16 d = const()[val = fp16(x)];\nfp16 e = const()[val = fp16(1)];\nfp16 g = mul(x = e, y = y);",
        &[
            "1:21: error[MIL0002]: expected `>`, but there is `y`",
            "2:33: error[MIL0002]: expected `=` after the name of the argument, but there is `x`",
            "3:33: error[MIL0002]: expected `;` after the statement, but there is `fp16`",
        ],
    );
}

#[test]
fn literals() {
    snapshot(
        "int8 a = const()[val = int8(300)];\nint32 b = const()[val = int32(1.5)];\nbool c = const()[val = bool(1)];\nfp16 d = const()[val = fp16(1..2)];\nuint4 e = const()[val = uint4(-1)];",
        &[
            "1:29: error[MIL0106]: 300 is outside the range of int8",
            "2:31: error[MIL0105]: 1.5 is not a whole number, as int32 needs",
            "3:29: error[MIL0105]: `1` is not a value of type bool (a bool is `true` or `false`)",
            "4:29: error[MIL0105]: `1..2` is not a value of type fp16",
            "5:31: error[MIL0106]: -1 is outside the range of uint4",
        ],
    );
    let help = "write the elements in one flat list, or in lists nested as the shape says";
    let shape = |ty: &str, list: &str, why: &str| {
        let found = errors(&format!("tensor<{ty}> a = const()[val = tensor<{ty}>({list})];"));
        assert_eq!(found.len(), 1, "{found:?}");
        let expected = format!("the literal does not have the shape of `tensor<{ty}>`: {why} ({help})");
        assert!(found[0].ends_with(&expected), "{found:?}\n{expected}");
    };
    shape("int32, [2]", "[1]", "1 elements along axis 0 of extent 2");
    shape("int32, [2]", "[1, 2, 3]", "too many elements");
    shape("int32, [2, 2]", "[1, 2, 3]", "3 elements, not 4");
    shape("int32, [2, 2]", "[[1, 2], [3]]", "1 elements along axis 1 of extent 2");
    shape("int32, [2, 2]", "[[1, 2], 3]", "nested unevenly");
    shape("int32, [2, 2]", "[1, [2]]", "nested deeper than the shape");
    shape("int32, [2, 2]", "[[[1]]]", "nested deeper than the shape");
    snapshot(
        "tensor<int32, [2]> a = const()[val = tensor<int32, [2]>(1)];",
        &[
            "1:57: error[MIL0107]: `tensor<int32, [2]>` needs a list of 2 elements (write `tensor<int32, [2]>([…])`)",
        ],
    );
}

#[test]
fn constants() {
    snapshot(
        "int32 a = const()[val = fp16(1)];\nint32 b = const()[name = string(\"b\")];\nfp16 c = const()[val = fp16(1), name = int32(3)];",
        &[
            "1:25: error[MIL0110]: `a` is declared `int32`, its value is `fp16`",
            "2:11: error[MIL0109]: `b` has no value (add the attribute `val`)",
            "3:40: error[MIL0111]: the attribute `name` must be a string, this is a `int32`",
        ],
    );
    snapshot(
        "fp16 a = const()[val = fp16(BLOBFILE(path = string(\"@model_path/w.bin\")))];\nfp16 b = const()[val = fp16(BLOBFILE(path = int32(1), offset = uint64(64)))];\nfp16 c = const()[val = fp16(BLOBFILE(file = int32(1)))];",
        &[
            "1:29: error[MIL0112]: BLOBFILE without `offset` (write BLOBFILE(path = string(\"@model_path/weights/w.bin\"), offset = uint64(64)))",
            "2:45: error[MIL0112]: `path` of BLOBFILE must be a string",
            "3:38: error[MIL0112]: BLOBFILE has no argument `file` (it takes `path` and `offset`)",
        ],
    );
}

#[test]
fn shapes() {
    snapshot(
        "tensor<fp16, [1, ?]> a = relu(x = x);\ntensor<fp16, [4294967296, 4294967296]> b = relu(x = x);\ntensor<fp16, [99999999999999999999]> c = relu(x = x);\ntensor<fp16, [-1]> d = relu(x = x);\ntensor<fp16, [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]> e = relu(x = x);",
        &[
            "1:18: error[MIL0011]: a dimension is flexible (`?`) (write the extent, or export the model with fixed shapes)",
            "2:1: error[MIL0012]: the extents of `tensor<fp16, [4294967296, 4294967296]>` multiply to more than memory can hold",
            "3:15: error[MIL0012]: the extent 99999999999999999999 is beyond 64 bits",
            "4:15: error[MIL0002]: expected an extent (a whole number), but there is `-1`",
            "5:1: error[MIL0013]: a tensor of rank 17 (MIL allows five dimensions)",
        ],
    );
}

#[test]
fn strings_and_comments() {
    snapshot(
        "string a = const()[val = string(\"a\\qb\")];\nstring b = const()[val = string(\"open)];",
        &[
            "1:35: error[MIL0004]: there is no escape `\\q` (write a backslash as `\\\\`)",
            "2:33: error[MIL0105]: expected a value of type string, but a string does not end on its line",
        ]
        .map(|s| s.replace("MIL0105", "MIL0003"))
        .each_ref()
        .map(String::as_str),
    );
    assert_eq!(
        parse("program(1.3) /* { ").unwrap_err().to_string(),
        "1:14: error[MIL0003]: expected `{` before the functions, but a comment does not end"
    );
}

#[test]
fn blocks() {
    snapshot(
        "bool c = const()[val = bool(true)];\nfp16 y = cond(pred = c) { fp16 a = const()[val = fp16(1)]; } -> (a), { fp16 b = relu(x = x); };\nfp16 z = relu(x = w);",
        &[
            "2:25: error[MIL0008]: `cond` has a nested block (programs with control flow are not supported)",
            "2:62: error[MIL0002]: expected `;` after the statement, but there is `->`",
            "3:19: error[MIL0101]: `w` is not defined in function `main`",
        ],
    );
}

#[test]
fn programs() {
    let first = |source: &str| parse(source).unwrap_err().0[0].to_string();
    assert_eq!(
        first(""),
        "1:1: error[MIL0002]: expected `program(1.3)`, but the text ends (MIL text begins with the version of the language: program(1.3))"
    );
    assert_eq!(
        first("program(1.3) { }"),
        "1:16: error[MIL0014]: the program has no function (add `func main<ios18>(…) { … } -> (…);`)"
    );
    assert_eq!(
        first("program(1.3) { func main<ios18>() { } -> (); } x"),
        "1:48: error[MIL0002]: expected the end of the text, but there is `x`"
    );
    assert_eq!(
        first("program(1.3) { func main<ios18>() { "),
        "1:35: error[MIL0002]: expected a statement or the `}` that ends the function, but the text ends"
    );
    assert_eq!(
        first("program(1.3) { func main<ios99>() { } -> (); }"),
        "1:26: error[MIL0010]: there is no op set `ios99` (op sets are ios15, ios16, ios17, ios18 and ios26)"
    );
    assert_eq!(
        first("program(1.3) { func main<ios18>(fp16 x) { } -> (z); }"),
        "1:49: error[MIL0101]: `z` is not defined in function `main`"
    );
    assert_eq!(
        first("program(1.3) { func f<ios18>() {} -> (); func f<ios18>() {} -> (); }"),
        "1:47: error[MIL0103]: the function `f` is given twice"
    );
    assert_eq!(
        first("\u{feff}program(1.3) { é"),
        "1:17: error[MIL0002]: expected `func` or the `}` that ends the program, but there is `é`"
    );
    assert_eq!(
        parse_bytes(b"program(1.3)\n { \xff").unwrap_err().to_string(),
        "2:4: error[MIL0001]: byte 16 is not UTF-8 text"
    );
}

#[test]
fn hostile_nesting_is_refused_and_not_followed() {
    for (open, close) in [("tuple<", ">"), ("list<", ", ?>"), ("state<", ">"), ("dict<fp16, ", ">")] {
        let ty = format!("{}fp16{}", open.repeat(10_000), close.repeat(10_000));
        let found = errors(&format!("{ty} a = relu(x = x);"));
        assert!(found[0].contains("error[MIL0005]: nested more than 64 deep"), "{found:?}");
    }
    let lists = |open: &str| {
        format!("tensor<int32, [1]> a = const()[val = tensor<int32, [1]>({})];", open.repeat(10_000))
    };
    assert!(errors(&lists("["))[0].contains("MIL0107"));
    assert!(errors(&format!("fp16 a = relu(x = {});", "(".repeat(10_000)))[0].contains("MIL0002"));
    assert!(errors(&format!("fp16 a = relu(x = {});", "[".repeat(10_000)))[0].contains("MIL0002"));
    let attrs = "list<string, ?>([".repeat(10_000);
    assert!(errors(&format!("fp16 a = relu(x = x)[b = {attrs}];"))[0].contains("MIL0005"));
    let braces = "{".repeat(10_000);
    assert!(errors(&format!("fp16 a = relu(x = x) {braces}")).len() <= 3);
}

#[test]
fn hostile_sizes_take_no_memory() {
    // A type of 2^40 elements with a literal of one: nothing is allocated for the claim.
    let huge = "tensor<fp16, [1048576, 1048576]>";
    let found = errors(&format!("{huge} a = const()[val = {huge}([1])];"));
    assert!(found[0].contains("1 elements, not 1099511627776"), "{found:?}");
    let empty = "tensor<fp16, [1099511627776, 0]>";
    let source = format!(
        "program(1.3) {{ func main<ios18>(fp16 x) {{ {empty} a = const()[val = {empty}([])]; }} -> (x); }}"
    );
    let program = parse(&source).unwrap().program;
    let text = ferrane_mil::text::print(&program, ferrane_mil::text::Dialect::Modern).unwrap();
    assert!(text.len() < 400, "{text}");
    assert!(parse(&text).is_ok());
    let many: String = (0..200).map(|i| format!("a{i} = x, ")).collect();
    assert!(errors(&format!("fp16 a = relu({many} x = x);"))[0].contains("more than 128 arguments"));
}

#[test]
fn endless_errors_stop() {
    let found = errors(&"fp16 = ;\n".repeat(10_000));
    assert_eq!(found.len(), 101);
    assert!(found[100].contains("reading stopped after 100 diagnostics"), "{}", found[100]);
}
