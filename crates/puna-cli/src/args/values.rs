//! The values of flags: numbers, sizes, pairs, token ids.

use crate::failure::{Context, Failure, Result};
use std::path::Path;

/// A whole number of 1 or more.
pub(super) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number of 1 or more".into()),
        Ok(n) => Ok(n),
    }
}

/// `WxH`.
pub(super) fn pixels(text: &str) -> Result<(usize, usize), String> {
    let sides = text.split_once('x').and_then(|(w, h)| Some((positive(w).ok()?, positive(h).ok()?)));
    sides.ok_or_else(|| "expected WxH, such as 1280x720".into())
}

/// A size as people write it: `500M`, `4G`, or plain bytes.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.char_indices().next_back() {
        Some((at, unit)) if !unit.is_ascii_digit() => {
            let power = "KMGT".find(unit.to_ascii_uppercase()).map(|i| 1000u64.pow(i as u32 + 1));
            (text.get(..at).unwrap_or_default(), power.ok_or("expected a number with K, M, G or T at most")?)
        }
        _ => (text, 1),
    };
    let number: u64 = number.parse().map_err(|e| format!("expected a whole number before the unit: {e}"))?;
    number.checked_mul(factor).filter(|n| *n > 0).ok_or_else(|| "expected 1 to 2^64 - 1 bytes".into())
}

/// `KEY=VALUE`.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("expected KEY=VALUE".into()),
    }
}

/// `ID=X`.
pub(super) fn bias(text: &str) -> Result<(u32, f32), String> {
    let parse = |(id, value): (&str, &str)| Some((id.parse().ok()?, value.parse().ok()?));
    text.split_once('=').and_then(parse).ok_or_else(|| "expected ID=X, a token id and a number".into())
}

/// Token ids from a flag or a file.
pub(crate) fn token_ids(list: Option<&str>, file: Option<&Path>) -> Result<Vec<u32>> {
    if let Some(file) = file {
        let list = std::fs::read_to_string(file).at(file.display())?;
        return parse_ids(&list).at(file.display());
    }
    parse_ids(list.unwrap_or_default()).map_err(|e| Failure::usage(format_args!("--tokens: {e}")))
}

/// Comma-separated ids; brackets and white space are allowed, so that JSON arrays can be pasted.
fn parse_ids(list: &str) -> Result<Vec<u32>, String> {
    let list = list.trim();
    let list = list.strip_prefix('[').and_then(|l| l.strip_suffix(']')).unwrap_or(list).trim();
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let id = |(i, id): (usize, &str)| {
        let id = id.trim();
        id.parse().map_err(|_| format!("entry {i}: expected a token id, found {id:?}"))
    };
    list.split(',').enumerate().map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_two_sides() {
        assert_eq!(pixels("1280x720").unwrap(), (1280, 720));
        for bad in ["", "x", "0x5", "5x0", "5", "5x5x5", "-1x5", "5 x 5"] {
            assert!(pixels(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bytes_have_units() {
        let good =
            [("7", 7), ("500M", 500_000_000), ("4g", 4_000_000_000), ("1K", 1000), ("2T", 2_000_000_000_000)];
        for (text, expected) in good {
            assert_eq!(bytes(text).unwrap(), expected, "{text}");
        }
        for bad in ["", "0", "0G", "G", "4GB", "-1", "1.5G", "4P", "4é", "99999999999999999999", "20000000T"]
        {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_separated_by_commas() {
        assert_eq!(parse_ids(" [1, 2,3]\n").unwrap(), [1, 2, 3]);
        assert!(parse_ids("").unwrap().is_empty());
        assert!(parse_ids("1,,2").is_err());
        assert!(parse_ids("1,-2").is_err());
        assert!(parse_ids("4294967296").is_err());
    }
}
