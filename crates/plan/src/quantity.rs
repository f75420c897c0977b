//! Numbers with units, as people write and read them.

use serde::{Deserialize, Serialize};

use crate::error::PlanError;

/// The unit a value is shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// No unit, plain digits.
    Number,
    /// How many, with k, M, B or T.
    Count,
    /// Tokens.
    Tokens,
    /// Bits.
    Bits,
    /// Bytes.
    Bytes,
    /// Bytes a second, shown as bits a second as networks are.
    Rate,
    /// FLOP a second.
    Flops,
    /// Tokens a second.
    Speed,
    /// Seconds.
    Seconds,
    /// Days.
    Days,
    /// Hours.
    Hours,
    /// A part of 1, shown in per cent.
    Ratio,
    /// So many times.
    Times,
    /// Watts.
    Watts,
    /// Kilowatt hours.
    Kwh,
    /// US dollars.
    Usd,
}

/// A value in its unit: `20 Mbit/s`, `1.16 s`, `82 %`.
pub fn show(value: f64, unit: Unit) -> String {
    const SI: [(f64, &str); 7] =
        [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")];
    const COUNT: [(f64, &str); 3] = [(1e12, " T"), (1e9, " B"), (1e6, " M")];
    let si = |value: f64, name: &str| {
        let (scale, prefix) = SI.into_iter().find(|(s, _)| value.abs() >= *s * 0.9995).unwrap_or((1.0, ""));
        format!("{} {prefix}{name}", digits(value / scale))
    };
    let count = |value: f64| {
        let (scale, name) = COUNT.into_iter().find(|(s, _)| value.abs() >= *s * 0.9995).unwrap_or((1.0, ""));
        format!("{}{name}", digits(value / scale))
    };
    match unit {
        Unit::Number => digits(value),
        Unit::Count | Unit::Tokens => count(value),
        Unit::Bits => digits(value),
        Unit::Bytes => si(value, "B"),
        Unit::Rate => si(value * 8.0, "bit/s"),
        Unit::Flops => si(value, "FLOP/s"),
        Unit::Speed => format!("{} tokens/s", digits(value)),
        Unit::Seconds => duration(value),
        Unit::Days => format!("{} days", digits(value)),
        Unit::Hours => format!("{} h", digits(value)),
        Unit::Ratio => format!("{} %", digits(value * 100.0)),
        Unit::Times => format!("{}x", digits(value)),
        Unit::Watts => si(value, "W"),
        Unit::Kwh => si(value * 1e3, "Wh"),
        Unit::Usd => dollars(value),
    }
}

fn duration(seconds: f64) -> String {
    let size = seconds.abs();
    match size {
        0.0 => "0 s".into(),
        _ if size < 0.9995e-3 => format!("{} us", digits(seconds * 1e6)),
        _ if size < 0.9995 => format!("{} ms", digits(seconds * 1e3)),
        _ if size < 120.0 => format!("{} s", digits(seconds)),
        _ if size < 7200.0 => format!("{} min", digits(seconds / 60.0)),
        _ if size < 172_800.0 => format!("{} h", digits(seconds / 3600.0)),
        _ => format!("{} days", digits(seconds / 86400.0)),
    }
}

fn dollars(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("${}", digits(value.round())),
        size if size >= 0.1 || size == 0.0 => format!("${value:.2}"),
        _ => format!("${}", digits(value)),
    }
}

/// Three significant digits, all of an integer part, and commas between thousands.
fn digits(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        0.0 => 0,
        _ if size >= 99.95 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 => 2,
        _ if size >= 1e-4 => (2 - size.log10().floor() as i32) as usize,
        _ => return format!("{value:.2e}"),
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |w| ("-", w));
    let mut grouped = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(c);
    }
    format!("{sign}{grouped}{rest}")
}

/// How many: `2560`, `110M`, `2.2B`, `1e9`.
///
/// # Errors
/// [`PlanError::Text`].
pub fn count(text: &str) -> Result<f64, PlanError> {
    scaled(text, &[("k", 1e3), ("M", 1e6), ("B", 1e9), ("G", 1e9), ("T", 1e12), ("", 1.0)])
        .ok_or_else(|| PlanError::text(text, "a number", "2560, 110M, 2.2B or 1e9"))
}

/// Bytes a second: `20Mbit`, `1Gbit/s`, `2.5MB/s`.
///
/// # Errors
/// [`PlanError::Text`].
pub fn rate(text: &str) -> Result<f64, PlanError> {
    let name = text.trim_end_matches("/s");
    scaled(
        name,
        &[
            ("kbit", 125.0),
            ("Mbit", 125e3),
            ("Gbit", 125e6),
            ("kB", 1e3),
            ("MB", 1e6),
            ("GB", 1e9),
            ("TB", 1e12),
        ],
    )
    .ok_or_else(|| PlanError::text(text, "a rate", "20Mbit, 1Gbit or 2.5MB (a second)"))
}

/// Seconds: `40ms`, `300us`, `12min`, `24h`, `30d`.
///
/// # Errors
/// [`PlanError::Text`].
pub fn seconds(text: &str) -> Result<f64, PlanError> {
    scaled(
        text,
        &[
            ("us", 1e-6),
            ("ms", 1e-3),
            ("s", 1.0),
            ("min", 60.0),
            ("h", 3600.0),
            ("d", 86400.0),
            ("y", 31_557_600.0),
        ],
    )
    .ok_or_else(|| PlanError::text(text, "a time", "300us, 40ms, 5s, 12min, 24h, 30d or 2y"))
}

/// A part of 1: `0.2` or `20%`.
///
/// # Errors
/// [`PlanError::Text`].
pub fn ratio(text: &str) -> Result<f64, PlanError> {
    scaled(text, &[("%", 0.01), ("", 1.0)]).ok_or_else(|| PlanError::text(text, "a part", "0.2 or 20%"))
}

/// Bytes: `64GB`.
///
/// # Errors
/// [`PlanError::Text`].
pub fn bytes(text: &str) -> Result<f64, PlanError> {
    scaled(text, &[("MB", 1e6), ("GB", 1e9), ("TB", 1e12)])
        .ok_or_else(|| PlanError::text(text, "an amount of memory", "64GB"))
}

/// A finite, non-negative number before one of the suffixes.
fn scaled(text: &str, suffixes: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    suffixes.iter().find_map(|(suffix, scale)| {
        let number = text.strip_suffix(suffix)?.trim_end();
        if !number.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        number.parse::<f64>().ok().map(|n| n * scale).filter(|n| n.is_finite())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        assert_eq!(count("110M").unwrap(), 110e6);
        assert_eq!(count("2.2B").unwrap(), 2.2e9);
        assert_eq!(count("1e9").unwrap(), 1e9);
        assert_eq!(rate("20Mbit").unwrap(), 2.5e6);
        assert_eq!(rate("1 Gbit/s").unwrap(), 1.25e8);
        assert_eq!(rate("0.026GB/s").unwrap(), 2.6e7);
        assert_eq!(seconds("40ms").unwrap(), 0.04);
        assert_eq!(seconds("24h").unwrap(), 86400.0);
        assert_eq!(seconds("12min").unwrap(), 720.0);
        assert_eq!(ratio("20%").unwrap(), 0.2);
        assert_eq!(bytes("64GB").unwrap(), 64e9);
    }

    #[test]
    fn what_nobody_means_is_refused() {
        for text in ["", "-1", "inf", "NaN", "M", "1e999", "1,5"] {
            assert!(count(text).is_err(), "{text}");
        }
        assert!(rate("20").is_err(), "a rate without a unit may be bits or bytes");
        assert!(rate("20 Mbyte").is_err());
        assert!(seconds("24").is_err());
        let message = rate("fast").unwrap_err().to_string();
        assert_eq!(message, "`fast` is not a rate; write 20Mbit, 1Gbit or 2.5MB (a second)");
    }

    #[test]
    fn values_are_shown_with_three_digits() {
        let cases = [
            (2.5e6, Unit::Rate, "20 Mbit/s"),
            (1.1648, Unit::Seconds, "1.16 s"),
            (0.064, Unit::Seconds, "64 ms"),
            (4e-5, Unit::Seconds, "40 us"),
            (128.9, Unit::Seconds, "2.15 min"),
            (0.819, Unit::Ratio, "81.9 %"),
            (109_529_856.0, Unit::Count, "110 M"),
            (2560.0, Unit::Tokens, "2,560"),
            (20480.0, Unit::Tokens, "20,480"),
            (2.19e9, Unit::Tokens, "2.19 B"),
            (14457.6, Unit::Speed, "14,458 tokens/s"),
            (46067.0, Unit::Days, "46,067 days"),
            (1.45e12, Unit::Flops, "1.45 TFLOP/s"),
            (260e9, Unit::Bytes, "260 GB"),
            (0.009, Unit::Usd, "$0.009"),
            (1234.5, Unit::Usd, "$1,235"),
            (2000.0, Unit::Times, "2,000x"),
            (0.0, Unit::Seconds, "0 s"),
            (1.3e-9, Unit::Ratio, "1.30e-7 %"),
        ];
        for (value, unit, shown) in cases {
            assert_eq!(show(value, unit), shown, "{value} {unit:?}");
        }
    }
}
