//! The closed list of kernels: what each is made of and what it binds.

use crate::expand::{ExpandError, expand};
use crate::quant::{FORMATS, Format};
use crate::sources;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// How a kernel uses a storage buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The kernel only reads it.
    Read,
    /// The kernel writes it, and may read it.
    ReadWrite,
}

/// A compute shader. `aligned` promises that the matrix and all its rows begin on multiples of 4 bytes; `in_out` is a
/// matrix stored `[n_in, n_out]`; `odd` a head of an odd number of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kernel {
    /// `embed/embed_rows`: grid `(ceil(width / 8 / 64), rows)`.
    #[expect(missing_docs, reason = "see the enum")]
    EmbedRows { format: Format, aligned: bool },
    /// `norm/rms_norm`: grid `(1, rows)`.
    RmsNorm,
    /// `matmul/gemv`: grid `(ceil(n_out / 64), rows)`.
    #[expect(missing_docs, reason = "see the enum")]
    Gemv { format: Format, aligned: bool, in_out: bool },
    /// `matmul/gemm`, stored `[n_out, n_in]`: grid `(ceil(n_out / 64), ceil(rows / GEMM_TILE))`.
    #[expect(missing_docs, reason = "see the enum")]
    Gemm { format: Format, aligned: bool },
    /// `qk/qk_prepare`: grid `(ceil(heads / 64), rows)`.
    QkPrepare,
    /// `kv/kv_append`: grid `(ceil(width / step / 64), rows)`, with a step of 2 for `f16` and not `odd`, else 1.
    #[expect(missing_docs, reason = "see the enum")]
    KvAppend { f16: bool, odd: bool },
    /// `attend/attend`: grid `(ceil(heads / 32), rows)`.
    #[expect(missing_docs, reason = "see the enum")]
    Attend { f16: bool, odd: bool },
    /// `swiglu/combine`: grid `(ceil(span / 64), ceil(len / span))`.
    Combine,
    /// `copy/add`: grid `(ceil(span / 64), ceil(len / span))`.
    Add,
    /// `route/top_k`: grid `(ceil(rows / 64), 1)`.
    TopK,
    /// `expert/gate_up`: grid `(ceil(n_out / 64), picks)`.
    #[expect(missing_docs, reason = "see the enum")]
    ExpertGateUp { format: Format, aligned: bool, in_out: bool },
    /// `expert/down`: grid `(ceil(n_out / 64), rows)`.
    #[expect(missing_docs, reason = "see the enum")]
    ExpertDown { format: Format, aligned: bool, in_out: bool },
}

impl Kernel {
    /// Rows that one thread of [`Kernel::Gemm`] computes.
    pub const GEMM_TILE: u32 = 8;

    /// Every kernel in every form.
    pub fn all() -> Vec<Kernel> {
        let mut all =
            Vec::from([Kernel::RmsNorm, Kernel::QkPrepare, Kernel::Combine, Kernel::Add, Kernel::TopK]);
        for (f16, odd) in [(false, false), (false, true), (true, false), (true, true)] {
            all.extend([Kernel::KvAppend { f16, odd }, Kernel::Attend { f16, odd }]);
        }
        for format in FORMATS {
            for aligned in [false, true] {
                if aligned && !format.keeps_alignment() {
                    continue;
                }
                all.extend([Kernel::EmbedRows { format, aligned }, Kernel::Gemm { format, aligned }]);
                for in_out in [false, true] {
                    if in_out && !format.plain {
                        continue;
                    }
                    all.extend([
                        Kernel::Gemv { format, aligned, in_out },
                        Kernel::ExpertGateUp { format, aligned, in_out },
                        Kernel::ExpertDown { format, aligned, in_out },
                    ]);
                }
            }
        }
        all
    }

    /// The file with the entry point, without its extension.
    pub const fn path(&self) -> &'static str {
        match self {
            Kernel::EmbedRows { .. } => "embed/embed_rows",
            Kernel::RmsNorm => "norm/rms_norm",
            Kernel::Gemv { .. } => "matmul/gemv",
            Kernel::Gemm { .. } => "matmul/gemm",
            Kernel::QkPrepare => "qk/qk_prepare",
            Kernel::KvAppend { .. } => "kv/kv_append",
            Kernel::Attend { .. } => "attend/attend",
            Kernel::Combine => "swiglu/combine",
            Kernel::Add => "copy/add",
            Kernel::TopK => "route/top_k",
            Kernel::ExpertGateUp { .. } => "expert/gate_up",
            Kernel::ExpertDown { .. } => "expert/down",
        }
    }

    /// The weight format, and whether the matrix is aligned and stored `[n_in, n_out]`.
    const fn matrix(&self) -> Option<(Format, bool, bool)> {
        match *self {
            Kernel::EmbedRows { format, aligned } | Kernel::Gemm { format, aligned } => {
                Some((format, aligned, false))
            }
            Kernel::Gemv { format, aligned, in_out }
            | Kernel::ExpertGateUp { format, aligned, in_out }
            | Kernel::ExpertDown { format, aligned, in_out } => Some((format, aligned, in_out)),
            _ => None,
        }
    }

    /// The names for which `#if` holds.
    fn flags(&self) -> Vec<&'static str> {
        let (f16, odd) = match *self {
            Kernel::KvAppend { f16, odd } | Kernel::Attend { f16, odd } => (f16, odd),
            _ => (false, false),
        };
        // Elements of four bytes need no merging, whatever the head.
        let odd = odd && (f16 || matches!(self, Kernel::Attend { .. }));
        let (aligned, plain) = self.matrix().map_or((false, false), |(f, aligned, _)| (aligned, f.plain));
        let all = [("F16", f16), ("ODD", odd), ("ALIGNED", aligned), ("PLAIN", plain)];
        all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
    }

    /// A name that tells the kernel from all others, for labels and reports.
    pub fn name(&self) -> String {
        let mut name = String::from(self.path());
        if let Some((format, _, in_out)) = self.matrix() {
            name += &format!(" {}{}", format.stem, if in_out { " in_out" } else { "" });
        }
        for flag in self.flags().iter().filter(|&&f| f != "PLAIN") {
            name += &format!(" {}", flag.to_ascii_lowercase());
        }
        name
    }

    /// The WGSL source.
    ///
    /// # Errors
    /// Only if a shader file is wrong; the tests expand every kernel.
    pub fn source(&self) -> Result<String, ExpandError> {
        let (format, layout) = match self.matrix() {
            Some((format, _, in_out)) => (format.stem, if in_out { "in_out" } else { "out_in" }),
            None => ("", ""),
        };
        expand(self.path(), &self.flags(), &[("format", format), ("layout", layout)], &sources::find)
    }

    /// The storage buffers of group 1, from binding 0 on.
    pub const fn bindings(&self) -> &'static [Access] {
        use Access::{Read, ReadWrite};
        match self {
            // weights, tokens, out, scales
            Kernel::EmbedRows { .. } => &[Read, Read, ReadWrite, Read],
            // x, weight, out
            Kernel::RmsNorm => &[Read, Read, ReadWrite],
            // weights, x, out, scales, bias
            Kernel::Gemv { .. } | Kernel::Gemm { .. } => &[Read, Read, ReadWrite, Read, Read],
            // x, angles per position, facts of the rows
            Kernel::QkPrepare => &[ReadWrite, Read, Read],
            // keys, values, block
            Kernel::KvAppend { .. } => &[Read, Read, ReadWrite],
            // queries, out, running maxima and sums, block
            Kernel::Attend { .. } => &[Read, ReadWrite, ReadWrite, Read],
            // up, gate
            Kernel::Combine => &[Read, ReadWrite],
            // from, to
            Kernel::Add => &[Read, ReadWrite],
            // logits, ids, scores
            Kernel::TopK => &[Read, ReadWrite, ReadWrite],
            // weights, x, out, scales, ids, scores, table of experts
            Kernel::ExpertGateUp { .. } | Kernel::ExpertDown { .. } => {
                &[Read, Read, ReadWrite, Read, Read, Read, Read]
            }
        }
    }
}
