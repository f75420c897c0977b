//! Numbers in MIL text: decimal, C99 hexadecimal, infinities and NaNs, read and written without losing a bit.

use std::fmt::Write as _;

use half::{bf16, f16};

use crate::{DType, Data, fp8};

/// A number as written, before it has a type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// Any number but a NaN with a payload.
    Value(f64),
    /// `nan(0x7e01)`: the bit pattern in the type it is written for.
    NanBits(u64),
}

/// Why a number was refused, or accepted with a remark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Not a number at all.
    Malformed,
    /// A fraction, infinity or NaN where an integer is meant.
    NotInteger,
    /// Beyond the element type.
    OutOfRange,
}

/// Reads a floating-point number.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => parse_hex(&digits.as_bytes()[2..])?,
        [b'0'..=b'9' | b'.', ..] => digits.parse().ok()?,
        b"inf" | b"infinity" | b"INF" | b"Inf" => f64::INFINITY,
        b"nan" | b"NAN" | b"NaN" => f64::NAN,
        _ => return None,
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// Reads the part of a hexadecimal number after `0x`: digits, perhaps a point, perhaps a binary exponent. Rounded once, to
/// nearest even.
fn parse_hex(text: &[u8]) -> Option<f64> {
    let (mut mantissa, mut exponent, mut sticky) = (0u64, 0i64, false);
    let (mut digits, mut point) = (0usize, false);
    let mut at = 0;
    while let Some(&c) = text.get(at) {
        at += 1;
        match c {
            b'.' if !point => point = true,
            b'p' | b'P' => break,
            _ => {
                let digit = u64::from((c as char).to_digit(16)?);
                digits += 1;
                if mantissa >> 60 == 0 {
                    mantissa = mantissa << 4 | digit;
                    exponent -= if point { 4 } else { 0 };
                } else {
                    sticky |= digit != 0;
                    exponent += if point { 0 } else { 4 };
                }
            }
        }
        if at == text.len() {
            return (digits > 0).then(|| compose(mantissa, exponent, sticky));
        }
    }
    let power = text.get(at..).filter(|p| !p.is_empty())?;
    let (sign, power) = match power {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, power),
    };
    if digits == 0 || power.is_empty() || !power.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Larger exponents are all the same: zero or infinity.
    let power = power.iter().fold(0i64, |n, d| (n * 10 + i64::from(d - b'0')).min(1 << 40));
    Some(compose(mantissa, exponent + sign * power, sticky))
}

/// `mantissa · 2^exponent`, a little more when `sticky`, rounded to nearest even.
fn compose(mantissa: u64, exponent: i64, sticky: bool) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let shift = mantissa.leading_zeros();
    let mantissa = mantissa << shift;
    // The value is 1.xxx · 2^e.
    let e = exponent - i64::from(shift) + 63;
    if e > 1023 {
        return f64::INFINITY;
    }
    // 53 bits are kept of a normal number, fewer of a subnormal one.
    let dropped = if e >= -1022 { 11 } else { 11 + (-1022 - e) };
    let (kept, rest_is) = match dropped {
        11..=63 => {
            let rest = mantissa << (64 - dropped);
            (mantissa >> dropped, rest.cmp(&(1 << 63)))
        }
        64 => (0, mantissa.cmp(&(1 << 63))),
        _ => return 0.0,
    };
    let up = match rest_is {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => sticky || kept & 1 == 1,
        std::cmp::Ordering::Greater => true,
    };
    let kept = kept + u64::from(up);
    // Adding the exponent to the bits also carries a mantissa that rounded up to the next power of two.
    let biased = if e >= -1022 { (e + 1022) as u64 } else { 0 };
    f64::from_bits((biased << 52) + kept)
}

/// Reads an integer, decimal or hexadecimal.
pub(super) fn parse_int(text: &str) -> Result<i128, Trouble> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|c| (c as char).is_digit(radix)) {
        let number = parse_float(text).is_some();
        return Err(if number { Trouble::NotInteger } else { Trouble::Malformed });
    }
    let magnitude = i128::from(u64::from_str_radix(digits, radix).map_err(|_| Trouble::OutOfRange)?);
    Ok(if negative { -magnitude } else { magnitude })
}

/// Empty elements of the kind that `dtype` is stored as.
pub(super) fn empty_data(dtype: DType, capacity: usize) -> Data {
    match dtype {
        DType::Bool => Data::Bool(Vec::with_capacity(capacity)),
        DType::String => Data::String(Vec::with_capacity(capacity)),
        DType::Fp16 => Data::Fp16(Vec::with_capacity(capacity)),
        DType::Bf16 => Data::Bf16(Vec::with_capacity(capacity)),
        DType::Fp32 => Data::Fp32(Vec::with_capacity(capacity)),
        DType::Fp64 => Data::Fp64(Vec::with_capacity(capacity)),
        DType::Int4 | DType::Int8 | DType::Int16 | DType::Int32 | DType::Int64 => {
            Data::Int(Vec::with_capacity(capacity))
        }
        _ => Data::Uint(Vec::with_capacity(capacity)),
    }
}

/// Adds the number written `text` to `data`, the elements of a numeric `dtype`. `Ok(true)` when a finite number became
/// infinite.
#[inline]
pub(super) fn push(data: &mut Data, dtype: DType, text: &str) -> Result<bool, Trouble> {
    if dtype.is_float() {
        // Decimal fp32 is rounded once, from the text.
        if let Data::Fp32(v) = &mut *data
            && !text.contains(['x', 'X'])
            && matches!(text.as_bytes().first(), Some(b'0'..=b'9' | b'.' | b'-'))
            && let Ok(x) = text.parse::<f32>()
        {
            v.push(x);
            return Ok(x.is_infinite() && !text.contains(['i', 'I']));
        }
        let value = parse_float(text).ok_or(Trouble::Malformed)?;
        return push_number(data, dtype, Number::Value(value));
    }
    let value = parse_int(text)?;
    let bits = dtype.bits() as u32;
    match data {
        Data::Int(v) => {
            let limit = 1i128 << (bits - 1);
            if !(-limit..limit).contains(&value) {
                return Err(Trouble::OutOfRange);
            }
            v.push(value as i64);
        }
        Data::Uint(v) => {
            if !(0..1i128 << bits).contains(&value) {
                return Err(Trouble::OutOfRange);
            }
            v.push(value as u64);
        }
        _ => return Err(Trouble::Malformed),
    }
    Ok(false)
}

/// Adds a floating-point number to the elements of a floating-point `dtype`.
pub(super) fn push_number(data: &mut Data, dtype: DType, number: Number) -> Result<bool, Trouble> {
    let value = match number {
        Number::Value(value) if value.is_nan() => {
            return push_number(data, dtype, Number::NanBits(quiet_nan(dtype, value.is_sign_negative())));
        }
        Number::Value(value) => value,
        Number::NanBits(bits) => {
            if !is_nan_pattern(dtype, bits) {
                return Err(Trouble::OutOfRange);
            }
            match data {
                Data::Fp16(v) => v.push(f16::from_bits(bits as u16)),
                Data::Bf16(v) => v.push(bf16::from_bits(bits as u16)),
                Data::Fp32(v) => v.push(f32::from_bits(bits as u32)),
                Data::Fp64(v) => v.push(f64::from_bits(bits)),
                Data::Uint(v) => v.push(bits),
                _ => return Err(Trouble::Malformed),
            }
            return Ok(false);
        }
    };
    let overflowed = match data {
        Data::Fp16(v) => {
            v.push(f16::from_f64(value));
            v.last().is_some_and(|x| x.is_infinite())
        }
        Data::Bf16(v) => {
            v.push(bf16::from_f64(value));
            v.last().is_some_and(|x| x.is_infinite())
        }
        Data::Fp32(v) => {
            v.push(value as f32);
            v.last().is_some_and(|x| x.is_infinite())
        }
        Data::Fp64(v) => {
            v.push(value);
            value.is_infinite()
        }
        Data::Uint(v) => {
            let bits = fp8::encode(dtype, value);
            v.push(bits.into());
            !fp8::decode(dtype, bits).is_finite()
        }
        _ => return Err(Trouble::Malformed),
    };
    Ok(overflowed && value.is_finite())
}

/// Width of the exponent and the mantissa of a floating-point type, in bits.
fn layout(dtype: DType) -> (u32, u32) {
    match dtype {
        DType::Fp16 => (5, 10),
        DType::Bf16 => (8, 7),
        DType::Fp32 => (8, 23),
        DType::Fp8E4M3 => (4, 3),
        DType::Fp8E5M2 => (5, 2),
        _ => (11, 52),
    }
}

/// The pattern of the NaN that is written `nan` or `-nan`.
fn quiet_nan(dtype: DType, negative: bool) -> u64 {
    let (exponent, mantissa) = layout(dtype);
    let sign = u64::from(negative) << (exponent + mantissa);
    if dtype == DType::Fp8E4M3 {
        return sign | 0x7f;
    }
    sign | ((1 << exponent) - 1) << mantissa | 1 << (mantissa - 1)
}

fn is_nan_pattern(dtype: DType, bits: u64) -> bool {
    let (exponent, mantissa) = layout(dtype);
    let magnitude = bits & ((1 << (exponent + mantissa)) - 1);
    let fits = exponent + mantissa == 63 || bits >> (exponent + mantissa + 1) == 0;
    let all_ones = ((1u64 << exponent) - 1) << mantissa;
    fits && if dtype == DType::Fp8E4M3 { magnitude == 0x7f } else { magnitude > all_ones }
}

/// Writes element `index` of numeric `data`.
pub(super) fn write(out: &mut String, data: &Data, dtype: DType, index: usize) {
    let (value, bits, decimal) = match data {
        Data::Bool(v) => return out.push_str(if v[index] { "true" } else { "false" }),
        Data::String(v) => return write_string(out, &v[index]),
        Data::Int(v) => return display(out, v[index]),
        Data::Uint(v) if !dtype.is_float() => return display(out, v[index]),
        Data::Uint(v) => {
            let value = fp8::decode(dtype, v[index] as u8);
            (value, v[index], Decimal::of(value as f32))
        }
        Data::Fp16(v) => (v[index].to_f64(), v[index].to_bits().into(), Decimal::of(v[index].to_f32())),
        Data::Bf16(v) => (v[index].to_f64(), v[index].to_bits().into(), Decimal::of(v[index].to_f32())),
        Data::Fp32(v) => (v[index].into(), v[index].to_bits().into(), Decimal::of(v[index])),
        Data::Fp64(v) => (v[index], v[index].to_bits(), Decimal::of(v[index])),
    };
    if value.is_nan() {
        let negative = bits >> (layout(dtype).0 + layout(dtype).1) & 1 == 1;
        let plain = bits == quiet_nan(dtype, negative);
        return match (plain, negative) {
            (true, false) => out.push_str("nan"),
            (true, true) => out.push_str("-nan"),
            (false, _) => display(out, format_args!("nan({bits:#x})")),
        };
    }
    match decimal.text() {
        Some(short) => out.push_str(short),
        None => write_hex(out, value),
    }
}

fn display(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{value}");
}

/// A short decimal form on the stack, when a number has one.
struct Decimal {
    bytes: [u8; Self::LONGEST],
    length: usize,
    fits: bool,
}

impl Decimal {
    /// Numbers whose shortest exact decimal form is longer are written in hexadecimal, which is exact at any length.
    const LONGEST: usize = 9;

    fn of(value: impl std::fmt::Display) -> Self {
        let mut decimal = Self { bytes: [0; Self::LONGEST], length: 0, fits: true };
        decimal.fits = write!(decimal, "{value}").is_ok();
        decimal
    }

    fn text(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.bytes[..self.length]).ok()?;
        self.fits.then_some(text)
    }
}

impl std::fmt::Write for Decimal {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        let end = self.length + s.len();
        let place = self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        place.copy_from_slice(s.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Writes a finite or infinite number as C's `%a` does: `-0x1.8p-3`.
fn write_hex(out: &mut String, value: f64) {
    let bits = value.to_bits();
    if value.is_sign_negative() {
        out.push('-');
    }
    if value.is_infinite() {
        return out.push_str("inf");
    }
    let mantissa = bits & ((1 << 52) - 1);
    let (lead, exponent) = match (bits >> 52 & 0x7ff) as i64 {
        0 if mantissa == 0 => (0, 0),
        0 => (0, -1022),
        biased => (1, biased - 1023),
    };
    let digits = format!("{mantissa:013x}");
    let digits = digits.trim_end_matches('0');
    let point = if digits.is_empty() { "" } else { "." };
    display(out, format_args!("0x{lead}{point}{digits}p{exponent:+}"));
}

/// Writes a string with quotes and escapes.
pub(super) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => display(out, format_args!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_numbers_are_exact() {
        let cases = [
            ("0x1p-3", 0.125),
            ("-0x1.8p+1", -3.0),
            ("0x1p0", 1.0),
            ("0x0p+0", 0.0),
            ("0xAp-1", 5.0),
            ("0x.8p1", 1.0),
            ("0x1.p2", 4.0),
            ("0x3C00", 15360.0),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x1p1024", f64::INFINITY),
            ("0x1p99999999999999999999", f64::INFINITY),
            ("0x0p99999999999999999999", 0.0),
            ("0x1p-99999999999999999999", 0.0),
            ("0x1p-1074", f64::from_bits(1)),
            ("0x1p-1075", 0.0),
            ("0x1.8p-1075", f64::from_bits(1)),
            ("0x0.8p-1022", f64::MIN_POSITIVE / 2.0),
            ("0x1.fffffffffffff8p0", 2.0),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.000000000000080000000000000000001p0", 1.0 + f64::EPSILON),
            ("0x10000000000000000000000000p-100", 1.0),
        ];
        for (text, value) in cases {
            assert_eq!(parse_float(text), Some(value), "{text}");
        }
        for text in
            ["0x", "0xp1", "0x1p", "0x1p+", "0x1.2.3p0", "0xg", "0x1p0x", "", "-", "1..2", "--1", "e5"]
        {
            assert_eq!(parse_float(text), None, "{text}");
        }
    }

    #[test]
    fn integers_know_what_is_wrong_with_them() {
        assert_eq!(parse_int("-128"), Ok(-128));
        assert_eq!(parse_int("0x1F"), Ok(31));
        assert_eq!(parse_int("18446744073709551615"), Ok(u64::MAX.into()));
        assert_eq!(parse_int("18446744073709551616"), Err(Trouble::OutOfRange));
        assert_eq!(parse_int("1.0"), Err(Trouble::NotInteger));
        assert_eq!(parse_int("12ab"), Err(Trouble::Malformed));
    }

    #[test]
    fn every_fp16_pattern_survives_text() {
        for bits in 0..=u16::MAX {
            let data = Data::Fp16(vec![f16::from_bits(bits)]);
            let mut text = String::new();
            write(&mut text, &data, DType::Fp16, 0);
            let mut back = empty_data(DType::Fp16, 1);
            match text.strip_prefix("nan(0x").and_then(|t| t.strip_suffix(')')) {
                Some(hex) => {
                    let bits = u64::from_str_radix(hex, 16).unwrap();
                    push_number(&mut back, DType::Fp16, Number::NanBits(bits)).unwrap();
                }
                None => {
                    assert!(!push(&mut back, DType::Fp16, &text).unwrap(), "{text}");
                }
            }
            let Data::Fp16(back) = back else { unreachable!("fp16 is stored as fp16") };
            assert_eq!(back[0].to_bits(), bits, "{text}");
        }
    }

    #[test]
    fn numbers_are_written_short_or_in_hexadecimal() {
        let written = |data: Data, dtype| {
            let mut out = String::new();
            write(&mut out, &data, dtype, 0);
            out
        };
        let fp16 = |v: f32| written(Data::Fp16(vec![f16::from_f32(v)]), DType::Fp16);
        assert_eq!(fp16(0.125), "0.125");
        assert_eq!(fp16(-65504.0), "-65504");
        assert_eq!(fp16(-0.0), "-0");
        assert_eq!(fp16(1e-5), "0x1.5p-17");
        assert_eq!(fp16(f32::INFINITY), "inf");
        assert_eq!(written(Data::Fp32(vec![1e-5]), DType::Fp32), "0.00001");
        assert_eq!(written(Data::Fp32(vec![1.0 / 3.0]), DType::Fp32), "0x1.555556p-2");
        assert_eq!(written(Data::Fp64(vec![f64::from_bits(1)]), DType::Fp64), "0x0.0000000000001p-1022");
        assert_eq!(written(Data::Uint(vec![0x7e]), DType::Fp8E4M3), "448");
    }
}
