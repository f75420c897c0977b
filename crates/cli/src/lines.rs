//! Text that fits a terminal.

/// Columns of the narrowest terminal that is usual.
const WIDTH: usize = 80;

/// A paragraph behind a heading: later lines stand under the first word of the text.
pub(crate) fn hanging(heading: &str, text: &str) -> String {
    let indent = heading.chars().count();
    let mut out = String::from(heading);
    let mut column = indent;
    for (i, word) in text.split_whitespace().enumerate() {
        let length = word.chars().count();
        if i > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if i > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
    out
}

/// Rows of cells, the columns as wide as their widest cell, to the right but for the last.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let last = rows.iter().map(Vec::len).max().unwrap_or(0).saturating_sub(1);
    aligned(rows, |i| i == last)
}

/// The same for a name and numbers: to the right but for the first column.
pub(crate) fn numbers(rows: &[Vec<String>]) -> String {
    aligned(rows, |i| i == 0)
}

fn aligned(rows: &[Vec<String>], left: impl Fn(usize) -> bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |i: usize| rows.iter().filter_map(|row| row.get(i)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let text = if left(i) { format!("  {cell:<width$}") } else { format!("  {cell:>width$}") };
            line.push_str(&text);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_hang_and_fit() {
        let text = hanging("  ok  ", &"word ".repeat(40));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(text.lines().skip(1).all(|line| line.starts_with("      word")), "{text}");
        assert_eq!(hanging("a ", "b"), "a b\n");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["a", "long", "x"], ["bbb", "c", "yy"]].map(|row| row.map(String::from).to_vec());
        assert_eq!(table(&rows), "    a  long  x\n  bbb     c  yy\n");
        assert_eq!(numbers(&rows), "  a    long   x\n  bbb     c  yy\n");
    }
}
