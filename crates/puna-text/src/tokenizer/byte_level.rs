//! GPT-2's way of writing any bytes as printable characters, in which byte-level vocabularies are stored.

use std::string::String;

/// Bytes that stand for themselves: printable Latin-1 without the soft hyphen.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The character of each byte; bytes that are not plain take U+0100 and up, in order.
const CHARS: [char; 256] = {
    let mut chars = ['\0'; 256];
    let (mut byte, mut next) = (0u8, 0x100u32);
    loop {
        chars[byte as usize] = if is_plain(byte) {
            byte as char
        } else {
            next += 1;
            match char::from_u32(next - 1) {
                Some(c) => c,
                None => '\0',
            }
        };
        if byte == 255 {
            break chars;
        }
        byte += 1;
    }
};

/// The byte of each character that UTF-8 writes in one byte or two, -1 for none.
const BYTES: [i16; 0x800] = {
    let mut bytes = [-1; 0x800];
    let mut byte = 0;
    while byte < 256 {
        bytes[CHARS[byte] as usize] = byte as i16;
        byte += 1;
    }
    bytes
};

/// The character of a byte, as text.
pub(super) fn char(byte: u8) -> String {
    String::from(CHARS[usize::from(byte)])
}

/// Appends the characters of some bytes.
pub(super) fn push_chars(bytes: &[u8], out: &mut String) {
    out.extend(bytes.iter().map(|&byte| CHARS[usize::from(byte)]));
}

/// The bytes a byte-level token stands for, appended; `false` (and nothing appended) if a character stands for none.
pub(super) fn push_bytes(token: &str, out: &mut std::vec::Vec<u8>) -> bool {
    let start = out.len();
    out.resize(start + token.len(), 0);
    // Without branches that depend on the token: a vocabulary is read in a third of the time.
    let (mut at, mut lead, mut all) = (start, 0, 0);
    for &byte in token.as_bytes() {
        let starts = byte >= 0xC0;
        let code = if byte < 0x80 { usize::from(byte) } else { lead << 6 | usize::from(byte & 0x3F) };
        lead = usize::from(byte & 0x1F);
        // Of a longer character than those of two bytes, the first byte is refused.
        let value = if starts { -i16::from(byte >= 0xE0) } else { BYTES[code & 0x7FF] };
        all |= value;
        out[at] = value as u8;
        at += usize::from(!starts);
    }
    let known = all >= 0;
    out.truncate(if known { at } else { start });
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn every_byte_has_its_own_character() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut chars = String::new();
        push_chars(&bytes, &mut chars);
        assert_eq!(chars.chars().count(), 256);
        assert!(chars.contains('Ġ') && chars.contains('Ċ'));
        let mut back = Vec::new();
        assert!(push_bytes(&chars, &mut back));
        assert_eq!(back, bytes);
        assert!(!push_bytes("a b", &mut back) && back.len() == 256);
    }
}
