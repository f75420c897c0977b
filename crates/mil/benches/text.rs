//! Speed of reading programs: `cargo bench -p ferrane-mil`.
//!
//! `constants` is one 20 MB constant written out in the text; `ops` is a long chain of small ops. Reading is parsing and
//! verifying.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ferrane_mil::{text::parse, verify};

fn program(body: &str, result: &str) -> String {
    format!(
        "program(1.3)\n{{\n    func main<ios18>(tensor<fp16, [1, 8, 1, 64]> x) {{\n{body}    }} -> ({result});\n}}\n"
    )
}

/// A constant of about `bytes` bytes of text, and an op that reads a part of `x`.
fn constants(bytes: usize) -> String {
    let count = bytes / 11;
    let mut numbers = String::with_capacity(bytes + 64);
    for i in 0..count {
        let separator = if i == 0 { "" } else { ", " };
        let _ = write!(numbers, "{separator}{:.7}", (i % 9973) as f64 / 9973.0);
    }
    let body = format!(
        "        tensor<fp32, [{count}]> c = const()[val = tensor<fp32, [{count}]>([{numbers}])];\n        \
         tensor<fp16, [1, 8, 1, 64]> y = relu(x = x);\n"
    );
    program(&body, "y")
}

fn ops(count: usize) -> String {
    let mut body = String::new();
    for i in 0..count {
        let from = if i == 0 { "x".to_owned() } else { format!("v{}", i - 1) };
        let _ = writeln!(
            body,
            "        tensor<fp16, [1, 8, 1, 64]> v{i} = relu(x = {from})[name = string(\"v{i}\")];"
        );
    }
    program(&body, &format!("v{}", count - 1))
}

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    group.sample_size(10);
    for (name, text) in [("constants", constants(20_000_000)), ("ops", ops(50_000))] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let parsed = parse(&text).expect("the text is right");
                black_box(verify(parsed.program).expect("the program is right"))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
