//! Tiles of AMX: sixteen rows of activations by sixteen columns of weights, 32 inputs at a time.
//!
//! Two tiles of rows by two of columns are four sums, each begun every fourth time: 64 cycles, where one takes 52. Activations
//! are read where they are packed, weights from the panel, sums from and to the result.
//!
//! The compiler knows no tiles and leaves their registers alone. An `asm!` block begins with none of them but the shapes that
//! [`Shapes`] holds, which are the thread's until it lets go of them.

use super::many::Many;

#[cfg(target_arch = "x86_64")]
pub(super) use x86::Shapes;

/// Multiplies all rows by the panel.
#[cfg(target_arch = "x86_64")]
pub(super) fn multiply(shapes: &mut Shapes, mut many: Many<'_>) {
    let n_rows = many.x.n_rows;
    let mut r = 0;
    while r < n_rows {
        // Blocks of about the same height: a tile of few rows takes almost as long as one of many.
        let left = n_rows - r;
        let n = left.div_ceil(left.div_ceil(x86::ROWS));
        let heights = if n > x86::ROWS / 2 { [n.div_ceil(2), n / 2] } else { [n, 0] };
        shapes.set(heights);
        for column in (0..many.n_out).step_by(x86::COLUMNS) {
            shapes.block(&mut many, r, column);
        }
        r += n;
    }
}

/// What elsewhere nothing is made of: there is no token.
#[cfg(not(target_arch = "x86_64"))]
pub(super) struct Shapes;

#[cfg(not(target_arch = "x86_64"))]
impl Shapes {
    pub(super) fn new(_: crate::isa::Amx) -> Self {
        Self
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn multiply(_: &mut Shapes, many: Many<'_>) {
    many.tile.fill(f32::NAN);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Many;
    use crate::isa::Amx;
    use crate::kernels::float::pairs::many::GROUP;
    use crate::kernels::panel::MAX_WIDTH;
    use core::arch::asm;

    /// Most rows of a block.
    pub(super) const ROWS: usize = 32;
    /// Columns of a block, a group of the panel.
    pub(super) const COLUMNS: usize = MAX_WIDTH;

    /// What `ldtilecfg` reads.
    #[repr(C, align(64))]
    struct Config {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        column_bytes: [u16; 16],
        rows: [u8; 16],
    }

    /// The shapes of tiles: 0 to 3 are sums, of the first rows by the first and the last columns and of the last rows; 4 and 5
    /// activations; 6 and 7 weights.
    pub(in super::super) struct Shapes {
        amx: Amx,
        heights: [usize; 2],
    }

    impl Shapes {
        pub(in super::super) fn new(amx: Amx) -> Self {
            Self { amx, heights: [0; 2] }
        }

        /// Sets how many rows the two tiles of activations have, 16 at most, and in the second perhaps none.
        pub(super) fn set(&mut self, heights: [usize; 2]) {
            if heights == self.heights {
                return;
            }
            let [first, second] = heights.map(|n| n.min(16) as u8);
            let rows = [first, first, second, second, first, second, 16, 16];
            let mut config =
                Config { palette: 1, start_row: 0, reserved: [0; 14], column_bytes: [0; 16], rows: [0; 16] };
            for (i, n) in rows.into_iter().enumerate() {
                (config.rows[i], config.column_bytes[i]) = (n, if n > 0 { 64 } else { 0 });
            }
            // SAFETY: the token proves that the processor has tiles and the process may use them; the instruction reads 64 bytes.
            unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, preserves_flags, readonly)) };
            self.heights = heights;
        }

        /// The rows from `r` on, as many as the tiles have, by the outputs from `column` on.
        pub(super) fn block(&self, many: &mut Many<'_>, r: usize, column: usize) {
            let [first, second] = self.heights;
            let steps = many.depth.len().div_ceil(32);
            let row_bytes = many.x.row_bytes();
            let x = &many.x.bytes[r * row_bytes..(r + first + second) * row_bytes][2 * many.depth.start..];
            let panel = &many.panel[column / COLUMNS * GROUP..][..steps * 16 * COLUMNS];
            let n_out = COLUMNS.min(many.n_out - column);
            // All of a row's inputs of the block, from where the last row's begin.
            assert!(steps > 0 && (first + second - 1) * row_bytes + 64 * steps <= x.len());
            let add = many.depth.start > 0;
            let at = r * many.stride + column;
            if n_out == COLUMNS {
                let sums = &mut many.tile[at..at + (first + second - 1) * many.stride + COLUMNS];
                // SAFETY: `x` was just checked; the panel is `steps` times 16 lines of 128 bytes; `sums` reaches from the first
                // sum to the last.
                unsafe { self.product(x, row_bytes, panel, steps, sums, many.stride, add) };
                return;
            }
            let mut sums = [0.0; ROWS * COLUMNS];
            let rows = |r: usize| at + r * many.stride..at + r * many.stride + n_out;
            if add {
                for (r, sums) in sums.chunks_exact_mut(COLUMNS).take(first + second).enumerate() {
                    sums[..n_out].copy_from_slice(&many.tile[rows(r)]);
                }
            }
            // SAFETY: the same, and there are at most 32 rows.
            unsafe { self.product(x, row_bytes, panel, steps, &mut sums, COLUMNS, add) };
            for (r, sums) in sums.chunks_exact(COLUMNS).take(first + second).enumerate() {
                many.tile[rows(r)].copy_from_slice(&sums[..n_out]);
            }
        }

        /// Writes to `sums`, rows of `stride`, or adds to them.
        ///
        /// # Safety
        /// The shapes are set. For each of their rows `x` has `64 * steps` bytes, `row_bytes` from one to the next, `panel`
        /// `steps` times 16 lines of 32 words, and `sums` 32 values for each row.
        unsafe fn product(
            &self,
            x: &[u8],
            row_bytes: usize,
            panel: &[u32],
            steps: usize,
            sums: &mut [f32],
            stride: usize,
            add: bool,
        ) {
            let _proof = self.amx;
            let [first, second] = self.heights;
            let (x, sums) = (x.as_ptr(), sums.as_mut_ptr());
            macro_rules! tiles {
                ($([$($both:literal),*])* ; $x2:expr, $sums2:expr) => {
                    // SAFETY: the caller promises all that is read and written; see the module on tiles.
                    unsafe {
                        asm!($($($both),*),*,
                            add = in(reg) usize::from(add),
                            x = inout(reg) x => _,
                            x2 = inout(reg) $x2 => _,
                            row = in(reg) row_bytes,
                            w = inout(reg) panel.as_ptr() => _,
                            line = in(reg) 4 * COLUMNS,
                            s = in(reg) sums,
                            s2 = in(reg) $sums2,
                            next = in(reg) 4 * stride,
                            n = inout(reg) steps => _,
                            options(nostack),
                        )
                    }
                };
            }
            if second == 0 {
                tiles!(
                    ["test {add}, {add}", "jz 2f"]
                    ["tileloadd tmm0, [{s} + {next}]", "tileloadd tmm1, [{s} + {next} + 64]", "jmp 3f"]
                    ["2:", "tilezero tmm0", "tilezero tmm1"]
                    ["3:", "tileloadd tmm4, [{x} + {row}]"]
                    ["tileloadd tmm6, [{w} + {line}]", "tdpbf16ps tmm0, tmm4, tmm6"]
                    ["tileloadd tmm7, [{w} + {line} + 64]", "tdpbf16ps tmm1, tmm4, tmm7"]
                    ["add {x}, 64", "add {w}, 2048", "dec {n}", "jnz 3b"]
                    ["tilestored [{s} + {next}], tmm0", "tilestored [{s} + {next} + 64], tmm1"]
                    ["/* {x2} {s2} */"]
                    ; x, sums
                );
                return;
            }
            // SAFETY: there are rows beyond the first tile's.
            let (x2, sums2) = unsafe { (x.add(first * row_bytes), sums.add(first * stride)) };
            tiles!(
                ["test {add}, {add}", "jz 2f"]
                ["tileloadd tmm0, [{s} + {next}]", "tileloadd tmm1, [{s} + {next} + 64]"]
                ["tileloadd tmm2, [{s2} + {next}]", "tileloadd tmm3, [{s2} + {next} + 64]", "jmp 3f"]
                ["2:", "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"]
                ["3:", "tileloadd tmm4, [{x} + {row}]"]
                ["tileloadd tmm6, [{w} + {line}]", "tdpbf16ps tmm0, tmm4, tmm6"]
                ["tileloadd tmm7, [{w} + {line} + 64]", "tdpbf16ps tmm1, tmm4, tmm7"]
                ["tileloadd tmm5, [{x2} + {row}]", "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7"]
                ["add {x}, 64", "add {x2}, 64", "add {w}, 2048", "dec {n}", "jnz 3b"]
                ["tilestored [{s} + {next}], tmm0", "tilestored [{s} + {next} + 64], tmm1"]
                ["tilestored [{s2} + {next}], tmm2", "tilestored [{s2} + {next} + 64], tmm3"]
                ; x2, sums2
            );
        }
    }

    impl Drop for Shapes {
        fn drop(&mut self) {
            if self.heights != [0; 2] {
                // SAFETY: the token proves that the processor has tiles.
                unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
            }
        }
    }
}
