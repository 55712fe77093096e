//! [`EmbedRows`](puna_core::ops::EmbedRows): dequantisation alone, so nothing may differ but the row scale's rounding.

use super::{Conformance, rows, take};
use puna_core::ops::EmbedRows;
use puna_core::{DType, Device, DeviceError};
use puna_tests::devices::devices;
use puna_tests::matrix::{Matrix, PLAIN, Place};
use puna_tests::seeded::Seeded;
use puna_tests::tolerance::ROUND;

#[test]
fn every_format() {
    let mut c = Conformance::new();
    let mut rng = Seeded(21);
    for dtype in DType::ALL {
        for (n, vocab, about, place) in [
            (1, 1, 1, PLAIN),
            (3, 50, 40, Place { offset: 3, ..PLAIN }),
            (7, 20, 300, Place { gap: 5, scaled: true, ..PLAIN }),
            (40, 33, 64, PLAIN),
        ] {
            let width = usize::next_multiple_of(about, dtype.block_len());
            let table = Matrix::random(&mut rng, dtype, vocab, width, place);
            let mut tokens = rng.tokens(n, vocab);
            tokens[n - 1] = vocab as u32 - 1;
            let what = format!("EmbedRows {dtype} {n} of [{vocab}, {width}]");
            let run = |d: &mut dyn Device| {
                let mat = table.load(d);
                let out = rows(d, &vec![f32::NAN; n * width], width, 2);
                d.issue(&EmbedRows { table: &mat, tokens: &tokens, out }.into()).unwrap();
                take(d, out, &[])
            };
            let row = |t: &u32| table.values[*t as usize * width..][..width].iter();
            let sigma = |_| {
                tokens
                    .iter()
                    .flat_map(row)
                    .map(|v| if place.scaled { ROUND * v.abs() } else { 0.0 })
                    .collect()
            };
            c.check(&what, run, sigma);
        }
    }
}

#[test]
fn a_token_past_the_table_is_refused_and_changes_nothing() {
    for candidate in devices() {
        let mut d = candidate.device;
        let table = Matrix::random(&mut Seeded(22), DType::F32, 4, 8, PLAIN).load(&mut *d);
        let out = rows(&mut *d, &[7.0; 16], 8, 0);
        let error = d.issue(&EmbedRows { table: &table, tokens: &[3, 4], out }.into()).unwrap_err();
        let expected = DeviceError::Range { op: "EmbedRows", what: "token id", limit: 4, found: 4 };
        assert_eq!(error, expected, "{}", candidate.label);
        assert_eq!(take(&mut *d, out, &[]), [7.0; 16], "{}", candidate.label);
    }
}
