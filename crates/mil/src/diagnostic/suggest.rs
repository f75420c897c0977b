//! "Did you mean": the nearest of some known names.

/// The candidate nearest to `word`, when it is near enough to be a likely slip of the pen: at most a third of the letters
/// wrong, missing, extra or swapped with a neighbour.
///
/// ```
/// assert_eq!(ferrane_mil::diagnostic::nearest("matmull", ["conv", "matmul"]), Some("matmul"));
/// assert_eq!(ferrane_mil::diagnostic::nearest("xyz", ["conv", "matmul"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short; a hostile megabyte-long one is not compared.
    if word.len() > 64 {
        return None;
    }
    let limit = 1 + word.len() / 4;
    let near = |c: &'a str| {
        let near_in_length = c.len().abs_diff(word.len()) <= limit;
        let d = near_in_length.then(|| distance(word.as_bytes(), c.as_bytes()))?;
        (d <= limit && d < c.len().max(word.len())).then_some((d, c))
    };
    candidates.into_iter().filter_map(near).min_by_key(|(d, _)| *d).map(|(_, c)| c)
}

/// Edits that turn `a` into `b`: insertions, deletions, substitutions and swaps of neighbours.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substituted = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substituted.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"reduce_sum", b"reduce_smu"), 1);
        assert_eq!(distance(b"conv", b"cov"), 1);
        assert_eq!(distance(b"abc", b"xyz"), 3);
    }

    #[test]
    fn suggests_only_what_is_near() {
        let ops = ["conv", "concat", "reduce_sum", "softmax"];
        assert_eq!(nearest("sofmax", ops), Some("softmax"));
        assert_eq!(nearest("reduce_sums", ops), Some("reduce_sum"));
        assert_eq!(nearest("frobnicate", ops), None);
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest(&"a".repeat(1_000_000), ops), None);
    }
}
