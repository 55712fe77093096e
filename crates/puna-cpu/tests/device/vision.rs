//! The ops of the vision tower.

use crate::harness::many;
use puna_core::ops::{AddRows, AttendAll, Gelu, LayerNorm, Op, PixelShuffle, Rope2d};
use puna_core::{Rows, Vector};

#[test]
fn layer_norm_and_gelu() {
    many(20, |devices, random| {
        let (n, width) = (1 + random.below(40), random.width(&[9, 100, 3000]));
        let (weight, bias) = (devices.vector(random, width), devices.vector(random, width));
        let (x, out) = (devices.rows(random, n, width), devices.rows(random, n, width));
        devices.issue(LayerNorm { x, weight, bias, eps: 1e-5, out });
        devices.compare("LayerNorm", out, 4e-6);
        devices.issue(Gelu { x });
        devices.compare("Gelu", x, 4e-7);
    });
    // Far out, where erfc is tiny or 2.
    many(1, |devices, random| {
        let x = devices.rows(random, 1, 4001);
        let values: Vec<f32> = (0..4001).map(|i| (i as f32 - 2000.0) / 100.0).collect();
        devices.same(|d| d.write(x.buf, x.offset, &values).unwrap());
        devices.issue(Gelu { x });
        devices.compare("Gelu", x, 4e-7);
    });
}

#[test]
fn positions_rotation_and_shuffle_of_patches() {
    many(20, |devices, random| {
        let factor = 1 + random.below(3);
        let (grid, tiles) = (factor * (1 + random.below(5)), 1 + random.below(4));
        let (heads, n) = (1 + random.below(4), 1 + random.below(9));
        let (rows, width) = (grid * grid + 1, heads * 4 * n);
        let x = devices.rows(random, tiles * rows, width);
        let table = devices.vector(random, rows * width);
        devices.issue(AddRows { x, table });
        let inv_freq = devices.vector(random, n);
        devices.issue(Rope2d { x, grid, inv_freq });
        let out = devices.rows(random, tiles * (grid / factor).pow(2), width * factor * factor);
        devices.issue(PixelShuffle { x, grid, factor, out });
        devices.compare("PixelShuffle", out, 1e-6);
        devices.compare("Rope2d", x, 1e-6);
    });
}

#[test]
fn attention_in_both_directions() {
    many(15, |devices, random| {
        let (groups, group) = (1 + random.below(3), random.width(&[5, 48, 49, 80, 150]));
        let (heads, head_dim) = (1 + random.below(4), random.width(&[8, 100]));
        let (n, width) = (groups * group, heads * head_dim);
        let [q, k, v, out] = [0; 4].map(|_| devices.rows(random, n, width));
        let scale = 1.0 / (head_dim as f32).sqrt();
        devices.issue(AttendAll { q, k, v, out, group, head_dim, scale });
        devices.compare("AttendAll", out, 2e-6);
    });
}

#[test]
fn broken_vision_ops_are_refused() {
    many(1, |devices, random| {
        let [a, b, c, out] = [0; 4].map(|_| devices.rows(random, 10, 8));
        let v = devices.vector(random, 8);
        let two = Vector { len: 2, ..v };
        let attend = AttendAll { q: a, k: b, v: c, out, group: 5, head_dim: 4, scale: 1.0 };
        let wide = Rows { width: 16, ..out };
        let broken: Vec<Op<'_>> = vec![
            LayerNorm { x: a, weight: v, bias: two, eps: 0.0, out }.into(),
            LayerNorm { x: a, weight: v, bias: v, eps: 0.0, out: a }.into(),
            AddRows { x: a, table: Vector { len: 24, ..v } }.into(),
            AddRows { x: a, table: two }.into(),
            AddRows { x: a, table: Vector { len: 0, ..v } }.into(),
            Rope2d { x: a, grid: 2, inv_freq: two }.into(),
            Rope2d { x: Rows { n_rows: 6, ..a }, grid: 2, inv_freq: two }.into(),
            Rope2d { x: a, grid: 3, inv_freq: Vector { len: 3, ..v } }.into(),
            Rope2d { x: a, grid: usize::MAX, inv_freq: two }.into(),
            AttendAll { group: 3, ..attend.clone() }.into(),
            AttendAll { group: 0, ..attend.clone() }.into(),
            AttendAll { head_dim: 3, ..attend.clone() }.into(),
            AttendAll { head_dim: 0, ..attend.clone() }.into(),
            AttendAll { out: a, ..attend.clone() }.into(),
            AttendAll { k: wide, ..attend }.into(),
            PixelShuffle { x: a, grid: 3, factor: 2, out }.into(),
            PixelShuffle { x: a, grid: 3, factor: 0, out }.into(),
            PixelShuffle { x: a, grid: 3, factor: 3, out: wide }.into(),
        ];
        // `grid: 2` takes tiles of five rows, so the sixth of the list is the one that is right.
        for (i, op) in broken.iter().enumerate() {
            let results = devices.same(|d| d.issue(op).is_err());
            assert_eq!(results, i != 5, "{op:?}");
        }
    });
}
