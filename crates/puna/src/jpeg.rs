//! Whether a JPEG file is all there: decoders fill what is missing with grey and say nothing.

/// Whether the end-of-image marker follows the segments and scans that begin a JPEG file.
pub(crate) fn is_whole(file: &[u8]) -> bool {
    let mut rest = file.get(2..).unwrap_or_default();
    loop {
        // To the next marker: entropy-coded data stuffs a zero behind each of its 0xff bytes and counts restarts.
        let Some(at) = rest.windows(2).position(|pair| matches!(pair, [0xff, 1..=0xcf | 0xd8..=0xfe])) else {
            return false;
        };
        let (marker, after) = rest.split_at(at).1.split_at(2);
        match marker {
            [_, 0xd9] => return true,
            // Markers without a segment.
            [_, 0x01 | 0xd8] => rest = after,
            _ => {
                let [high, low, ..] = after else { return false };
                let Some(next) = after.get(usize::from(u16::from_be_bytes([*high, *low])).max(2)..) else {
                    return false;
                };
                rest = next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn segments_are_walked_over() {
        // A thumbnail in a segment has an end of its own, which is not the file's.
        let thumbnail = [0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9];
        let scan = [0xff, 0xda, 0, 3, 1, 7, 0xff, 0, 8, 0xff, 0xd3, 9];
        let file = [&thumbnail[..], &scan, &[0xff, 0xd9]].concat();
        assert!(is_whole(&file));
        for n in 0..file.len() {
            assert!(!is_whole(&file[..n]), "{n} bytes");
        }
    }
}
