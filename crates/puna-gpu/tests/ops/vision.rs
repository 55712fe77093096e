//! The ops of the vision tower.

use crate::pair::{Pair, tolerance};
use puna_core::ops::{AddRows, AttendAll, Gelu, LayerNorm, PixelShuffle, Rope2d};
use puna_core::{Elem, Rows, Vector};

#[test]
fn layer_norms_of_any_width() {
    for (n, width) in [(1, 1), (3, 7), (2, 64), (5, 257), (70, 100), (2, 1500)] {
        let mut pair = Pair::new(width as u64);
        let (x, out) = (pair.rows(n, width), pair.rows(n, width));
        let (weight, bias) = (pair.vector(width), pair.vector(width));
        pair.issue(LayerNorm { x, weight, bias, eps: 1e-5, out });
        pair.same(&out, tolerance::NORM, &format!("{n} x {width}"));
    }
    // A mean far from zero: the variance does not come from a difference of large sums.
    let mut pair = Pair::new(1);
    let (x, out, weight, bias) = (pair.rows(2, 300), pair.rows(2, 300), pair.vector(300), pair.vector(300));
    let far: Vec<f32> = (0..600).map(|i| 1000.0 + (i % 7) as f32).collect();
    pair.write(x.buf, x.offset, &far);
    pair.issue(LayerNorm { x, weight, bias, eps: 1e-5, out });
    // The mean itself is rounded to 6e-5, which is 3e-5 of a standard deviation.
    pair.same(&out, 1e-4, "far from zero");
}

#[test]
fn gelu_from_one_tail_to_the_other() {
    let mut pair = Pair::new(2);
    for (n, width) in [(1, 1), (7, 93), (1, 4001)] {
        let x = pair.rows(n, width);
        let len = n * width;
        let values: Vec<f32> = (0..len).map(|i| (i as f32 - len as f32 / 2.0) * 40.0 / len as f32).collect();
        pair.write(x.buf, x.offset, &values);
        pair.issue(Gelu { x });
        // The formula is off by 1.5e-7 of a number below 2, where the output is at most 20.
        pair.same(&x, 4e-7, &format!("{n} x {width}"));
    }
    let x = pair.rows(1, 4);
    pair.write(x.buf, x.offset, &[1e30, -1e30, 3e38, -3e38]);
    pair.issue(Gelu { x });
    let (found, expected) = pair.read(&x);
    assert_eq!(found, expected);
}

#[test]
fn positions_rotation_and_shuffle_of_patches() {
    for (factor, side, tiles, heads, pairs) in
        [(1, 1, 1, 1, 1), (2, 2, 3, 2, 4), (3, 2, 2, 3, 5), (2, 5, 1, 1, 22), (1, 3, 4, 5, 2)]
    {
        let mut pair = Pair::new((side * pairs) as u64);
        let (grid, width) = (factor * side, heads * 4 * pairs);
        let rows = grid * grid + 1;
        let case = format!("grid {grid}, factor {factor}, {tiles} tiles of width {width}");
        let x = pair.rows(tiles * rows, width);
        let table = pair.vector(rows * width);
        pair.issue(AddRows { x, table });
        pair.same(&x, 2e-7, &format!("{case}: positions"));
        let inv_freq = pair.vector(pairs);
        pair.issue(Rope2d { x, grid, inv_freq });
        pair.same(&x, tolerance::ROPE, &format!("{case}: rotation"));
        let out = pair.rows(tiles * side * side, width * factor * factor);
        pair.issue(PixelShuffle { x, grid, factor, out });
        pair.same(&out, tolerance::ROPE, &format!("{case}: shuffle"));
    }
}

#[test]
fn attention_in_both_directions() {
    for (groups, group, heads, head_dim) in [
        (1, 1, 1, 1),
        (3, 5, 2, 8),
        (2, 32, 1, 64),
        (1, 33, 3, 88),
        (2, 80, 2, 7),
        (1, 40, 1, 130),
        (1, 17, 2, 300),
    ] {
        let mut pair = Pair::new((group * head_dim) as u64);
        let [q, k, v, out] = [0; 4].map(|_| pair.rows(groups * group, heads * head_dim));
        let scale = 3.0 / (head_dim as f32).sqrt();
        pair.issue(AttendAll { q, k, v, out, group, head_dim, scale });
        let case = format!("{groups} groups of {group}, {heads} heads of {head_dim}");
        pair.same(&out, tolerance::EXPONENTIAL, &case);
    }
}

#[test]
fn no_rows_are_no_work() {
    let mut pair = Pair::new(3);
    let x = pair.rows(0, 8);
    let [k, v, out] = [0; 3].map(|_| pair.rows(0, 8));
    let vector = pair.vector(16);
    let eight = Vector { len: 8, ..vector };
    pair.issue(LayerNorm { x, weight: eight, bias: eight, eps: 0.0, out });
    pair.issue(Gelu { x });
    pair.issue(AddRows { x, table: vector });
    pair.issue(Rope2d { x, grid: 2, inv_freq: Vector { len: 2, ..vector } });
    pair.issue(AttendAll { q: x, k, v, out, group: 3, head_dim: 4, scale: 1.0 });
    let wide = Rows { width: 32, ..out };
    pair.issue(PixelShuffle { x, grid: 2, factor: 2, out: wide });
    let witness = pair.alloc(Elem::F32, 1);
    pair.same(&Rows::new(witness, 1, 1), 0.0, "untouched");
}
