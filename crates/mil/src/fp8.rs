//! The two 8-bit floating-point formats, as bit patterns.

use crate::DType;

/// Exponent bits, mantissa bits and exponent bias of an fp8 type; `None` for other types.
fn format(dtype: DType) -> Option<(u32, u32, i32)> {
    match dtype {
        DType::Fp8E4M3 => Some((4, 3, 7)),
        DType::Fp8E5M2 => Some((5, 2, 15)),
        _ => None,
    }
}

/// The value of the bit pattern `bits` of an fp8 type. Other types have none: NaN.
///
/// `fp8e4m3fn` has no infinities; its only NaNs are all ones below the sign.
pub(crate) fn decode(dtype: DType, bits: u8) -> f64 {
    let Some((exponent_bits, mantissa_bits, bias)) = format(dtype) else { return f64::NAN };
    let sign = if bits & 0x80 != 0 { -1.0 } else { 1.0 };
    let exponent = (bits & 0x7f) >> mantissa_bits;
    let mantissa = bits & ((1 << mantissa_bits) - 1);
    let fraction = f64::from(mantissa) / f64::from(1 << mantissa_bits);
    let top = u32::from(exponent) == (1 << exponent_bits) - 1;
    match dtype {
        DType::Fp8E5M2 if top && mantissa == 0 => return sign * f64::INFINITY,
        DType::Fp8E5M2 if top => return f64::NAN.copysign(sign),
        DType::Fp8E4M3 if bits & 0x7f == 0x7f => return f64::NAN.copysign(sign),
        _ => {}
    }
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(1 - bias),
        e => (1.0 + fraction) * 2f64.powi(i32::from(e) - bias),
    };
    sign * magnitude
}

/// The bit pattern nearest to `value`, ties to even. Beyond the largest number: infinity where the format has one, NaN
/// where it has none.
pub(crate) fn encode(dtype: DType, value: f64) -> u8 {
    let sign = if value.is_sign_negative() { 0x80 } else { 0 };
    let (nan, largest, overflow) = match dtype {
        DType::Fp8E4M3 => (0x7f, 0x7e, 0x7f),
        _ => (0x7e, 0x7b, 0x7c),
    };
    if value.is_nan() {
        return sign | nan;
    }
    let magnitude = value.abs();
    // Patterns of positive numbers ascend with their values.
    let above = (0..=largest).find(|&bits| decode(dtype, bits) >= magnitude);
    let bits = match above {
        Some(0) => 0,
        Some(above) => {
            let (high, low) = (decode(dtype, above), decode(dtype, above - 1));
            let (up, down) = (high - magnitude, magnitude - low);
            if up < down || (up == down && above % 2 == 0) { above } else { above - 1 }
        }
        None => {
            let top = decode(dtype, largest);
            let half_step = (top - decode(dtype, largest - 1)) / 2.0;
            if magnitude - top < half_step { largest } else { overflow }
        }
    };
    sign | bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landmarks() {
        assert_eq!(decode(DType::Fp8E4M3, 0x7e), 448.0);
        assert_eq!(decode(DType::Fp8E4M3, 0x01), 2f64.powi(-9));
        assert_eq!(decode(DType::Fp8E4M3, 0x38), 1.0);
        assert_eq!(decode(DType::Fp8E5M2, 0x7b), 57344.0);
        assert_eq!(decode(DType::Fp8E5M2, 0x3c), 1.0);
        assert_eq!(decode(DType::Fp8E5M2, 0xfc), f64::NEG_INFINITY);
    }

    #[test]
    fn every_number_encodes_to_itself() {
        for dtype in [DType::Fp8E4M3, DType::Fp8E5M2] {
            for bits in 0..=255u8 {
                let value = decode(dtype, bits);
                if value.is_nan() {
                    assert!(decode(dtype, encode(dtype, value)).is_nan());
                } else {
                    assert_eq!(encode(dtype, value), bits, "{dtype} {value}");
                }
            }
        }
    }

    #[test]
    fn rounds_to_even_and_overflows() {
        assert_eq!(encode(DType::Fp8E4M3, 1.0 + 1.0 / 16.0), 0x38);
        assert_eq!(encode(DType::Fp8E4M3, 1.0 + 3.0 / 16.0), 0x3a);
        assert_eq!(encode(DType::Fp8E4M3, 460.0), 0x7e);
        assert_eq!(encode(DType::Fp8E4M3, 1e9), 0x7f);
        assert_eq!(encode(DType::Fp8E5M2, -1e9), 0xfc);
    }
}
