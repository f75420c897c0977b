//! What a model file will take in memory, before it is taken.

use std::path::Path;

use prost::encoding::{WireType, decode_key, decode_varint};

use crate::PackageError;

/// The most messages and strings a model file may have, at all depths. An empty message has two bytes in the file and as
/// many as 120 in memory, twice that while a vector of them grows: these take 1 GiB. The programs of the largest networks
/// have some hundred thousand ops of a few dozen each.
const MOST: usize = (1 << 30) / 256;

/// Nesting deeper than this is refused by the decoder itself.
const DEEPEST: usize = 100;

/// Refuses a file whose messages would fill the memory. What it then takes is at most 1 GiB and its own length.
pub(crate) fn check(file: &Path, bytes: &[u8]) -> Result<(), PackageError> {
    check_up_to(MOST, file, bytes)
}

fn check_up_to(limit: usize, file: &Path, bytes: &[u8]) -> Result<(), PackageError> {
    let mut left = limit;
    match count(bytes, 0, &mut left) {
        Some(()) => Ok(()),
        None => Err(PackageError::TooMany { path: file.into(), limit }),
    }
}

/// Takes the length-delimited fields of what may be a message from `left`; `None` when they are too many. Text and numbers
/// are read as messages too, as far as they look like some: what the decoder takes for messages is always counted.
fn count(mut bytes: &[u8], depth: usize, left: &mut usize) -> Option<()> {
    while !bytes.is_empty() {
        let Ok((_, wire_type)) = decode_key(&mut bytes) else { break };
        let skipped = match wire_type {
            WireType::Varint => decode_varint(&mut bytes).map_or(usize::MAX, |_| 0),
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::StartGroup | WireType::EndGroup => 0,
            WireType::LengthDelimited => {
                let length = decode_varint(&mut bytes).ok().and_then(|n| usize::try_from(n).ok());
                let Some(inner) = length.and_then(|n| bytes.get(..n)) else { break };
                *left = left.checked_sub(1)?;
                if depth < DEEPEST {
                    count(inner, depth + 1, left)?;
                }
                inner.len()
            }
        };
        let Some(rest) = bytes.get(skipped..) else { break };
        bytes = rest;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_every_depth_are_counted_and_what_follows_damage_is_not() {
        // Field 1, a message of three empty messages; field 2, a string; field 3, a number.
        let bytes = [0x0a, 6, 0x0a, 0, 0x0a, 0, 0x0a, 0, 0x12, 1, b'x', 0x18, 7];
        assert!(check_up_to(5, Path::new("m"), &bytes).is_ok());
        let error = check_up_to(4, Path::new("m"), &bytes).unwrap_err();
        assert!(error.to_string().contains("more than 4 messages"), "{error}");
        // A length past the end: the decoder stops there as well.
        let damaged = [0x0a, 0, 0x0a, 100, 0x0a, 0];
        assert!(check_up_to(1, Path::new("m"), &damaged).is_ok());
    }

    #[test]
    fn a_file_of_empty_messages_is_refused_before_it_is_decoded() {
        let bytes = [0x0a, 0].repeat(MOST + 1);
        assert!(matches!(
            crate::import_bytes(&bytes, crate::Weights::none()),
            Err(PackageError::TooMany { .. })
        ));
    }
}
