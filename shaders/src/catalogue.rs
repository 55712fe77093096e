//! The closed list of kernels: what each is made of and what it binds.

use crate::expand::{ExpandError, expand};
use crate::product::{Job, Narrow, Shape, Tier};
use crate::quant::{FORMATS, Format};
use crate::sources;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// How a kernel uses a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The kernel only reads it.
    Read,
    /// The kernel writes it, and may read it.
    ReadWrite,
    /// The kernel reads it as a uniform, in a window of [`Kernel::WINDOW`] bytes.
    Uniform,
}

/// A compute shader. `aligned` promises that the matrix and all its rows begin on multiples of 4 bytes; `in_out` is a
/// matrix stored `[n_in, n_out]`; `odd` a head of an odd number of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kernel {
    /// `embed/embed_rows`: grid `(ceil(width / 8 / 64), rows)`.
    #[expect(missing_docs, reason = "see the enum")]
    EmbedRows { format: Format, aligned: bool },
    /// `norm/rms_norm`: grid `(1, rows)`; `wide` for long rows.
    #[expect(missing_docs, reason = "see the enum")]
    RmsNorm { wide: bool },
    /// `norm/rms_norm_lanes`, rows and weights of a multiple of 4 values in windows of uniforms: grid `(1, rows)`. For
    /// [`Tier::Lanes`].
    RmsNormLanes,
    /// `matmul/multiply_in_out`: grid `(ceil(n_out / 64), rows)`.
    #[expect(missing_docs, reason = "see the enum")]
    MatMulInOut { format: Format, aligned: bool },
    /// `matmul/thread_row`, `thread_tile`, `lanes_row` and so on, one for each tier and shape, stored
    /// `[n_out, n_in]`: grid `(ceil(n_out / outputs), rows or tiles)`, with [`Tier::outputs`] and [`Tier::tile`].
    #[expect(missing_docs, reason = "see the enum, and the types")]
    Product { format: Format, aligned: bool, job: Job, shape: Shape, tier: Tier },
    /// `matmul/packed_tile`, `shared_tile` in 16-bit floats or `matrix_tile`: a tile of rows, written by [`Kernel::PackRows`] or
    /// [`Kernel::HalfRows`], by a matrix stored `[n_out, n_in]`; grid as [`Kernel::Product`] in [`Tier::Shared`].
    /// `matrix_tile` is told by [`Kernel::THREADS`] how many invocations four of the adapter's largest subgroups have.
    #[expect(missing_docs, reason = "see the enum, and the types")]
    Narrow { format: Format, aligned: bool, job: Job, how: Narrow },
    /// `matmul/pack_rows`: grid `(ceil(span / 8), ceil(blocks / span))`, of blocks of 32 values.
    PackRows,
    /// `matmul/half_rows`: grid `(1, rows)`.
    HalfRows,
    /// `matmul/lanes_row` and `lanes_tile` of [`Tier::Lanes`] for weights and activations in windows of uniforms, stored
    /// `[n_out, n_in]`: grid `(ceil(outputs of a window / 8), rows or rows of a window / 4)`. `two` is [`Job::SwiGlu`],
    /// otherwise it is [`Job::MatMul`], with factors, bias or sums only if `extra`.
    #[expect(missing_docs, reason = "see the enum, and the types")]
    Windows { format: Format, aligned: bool, shape: Shape, two: bool, extra: bool },
    /// `qk/qk_prepare`: grid `(heads, rows)`; with `eight` threads, for [`Tier::Lanes`].
    #[expect(missing_docs, reason = "see the enum")]
    QkPrepare { eight: bool },
    /// `qk/qk_prepare` of one row, and the storing of its keys and values, in heads of an even number of values if `f16`: grid
    /// `(heads and those of values, and of keys that are none of them, 1)`.
    #[expect(missing_docs, reason = "see the enum")]
    QkAppend { f16: bool },
    /// `kv/kv_append`: grid `(ceil(width / step / 64), rows)`, with a step of 2 for `f16` and not `odd`, else 1.
    #[expect(missing_docs, reason = "see the enum")]
    KvAppend { f16: bool, odd: bool },
    /// `attend/tile` over blocks of a cache: grid `(ceil(queries / 8 / slices) * passes, kv_heads * parts)`, where `wide`
    /// has [`Kernel::slices`] slices in a workgroup.
    #[expect(missing_docs, reason = "see the enum")]
    Attend { f16: bool, odd: bool, wide: bool },
    /// `attend/lanes` over one block of a cache, in heads of at most [`Kernel::ATTEND_VALUES`] values, half of that if not
    /// `wide`, and an even number: grid `(ceil(queries / 8), kv_heads)`. For [`Tier::Lanes`].
    #[expect(missing_docs, reason = "see the enum")]
    AttendLanes { f16: bool, wide: bool },
    /// `attend/merge`: grid `(heads, rows)`.
    AttendMerge,
    /// `attend/tile` over rows: grid as [`Kernel::Attend`], with groups of rows as parts.
    AttendAll,
    /// `swiglu/combine`: grid `(ceil(span / 64), ceil(len / span))`.
    Combine,
    /// `copy/add`: grid `(ceil(span / 64), ceil(len / span))`.
    Add,
    /// `vision/layer_norm`: grid `(1, rows)`; `wide` for long rows.
    #[expect(missing_docs, reason = "see the enum")]
    LayerNorm { wide: bool },
    /// `vision/gelu`: grid `(ceil(span / 64), ceil(len / span))`.
    Gelu,
    /// `vision/add_rows`: grid `(ceil(width / 64), rows)`.
    AddRows,
    /// `vision/rope_2d`: grid `(ceil(width / 2 / 64), rows)`.
    Rope2d,
    /// `vision/pixel_shuffle`: grid `(ceil(width / 64), rows)` of the output.
    PixelShuffle,
    /// `sample/top_k`: grid `(1, rows)`.
    SampleTopK,
    /// `route/top_k`: grid `(ceil(rows / 64), 1)`.
    TopK,
    /// `route/row`, for plain formats, rows of a multiple of 8 values and at most [`Kernel::ROUTE_EXPERTS`] experts: grid
    /// `(1, rows)`.
    #[expect(missing_docs, reason = "see the enum")]
    RouteRow { format: Format, aligned: bool },
    /// `route/sort`: grid `(1, 1)`.
    SortPicks,
    /// `route/sum_picks`: grid `(ceil(width / 64), rows)`.
    SumPicks,
    /// `expert/gate_up`: grid `(ceil(n_out / 64), picks)`.
    #[expect(missing_docs, reason = "see the enum")]
    ExpertGateUp { format: Format, aligned: bool, in_out: bool },
    /// `expert/down`: grid `(ceil(n_out / 64), rows)`.
    #[expect(missing_docs, reason = "see the enum")]
    ExpertDown { format: Format, aligned: bool, in_out: bool },
}

impl Kernel {
    /// Experts that [`Kernel::SortPicks`] has room for.
    pub const MOST_EXPERTS: usize = 1024;
    /// Experts that [`Kernel::RouteRow`] has room for.
    pub const ROUTE_EXPERTS: usize = 32;
    /// Grids of indirect dispatches that [`Kernel::SortPicks`] writes at most.
    pub const PLAN_GRIDS: usize = 16;
    /// Word of the plan at which these begin, of three words each: columns, tiles, one.
    pub const PLAN_AT: usize = 4;
    /// Words of the plan before its tiles of three words each.
    pub const PLAN_HEAD: usize = Self::PLAN_AT + 3 * Self::PLAN_GRIDS;

    /// Query slots of a slice of attention.
    pub const ATTEND_QUERIES: usize = 8;
    /// Keys of a tile of attention.
    pub const ATTEND_KEYS: usize = 32;
    /// Values of a head that one workgroup of attention sums.
    pub const ATTEND_VALUES: usize = 128;
    /// Blocks of a cache that one dispatch of attention binds.
    pub const ATTEND_BLOCKS: usize = 5;
    /// Parts of the keys that [`Kernel::AttendMerge`] joins at most.
    pub const ATTEND_PARTS: usize = 64;

    /// The overridable constant of kernels whose workgroups the adapter sizes: see [`Kernel::cooperative`].
    pub const THREADS: &str = "THREADS";

    /// Bytes of a window of uniforms, as by WebGPU's default limits.
    pub const WINDOW: u64 = 1 << 16;
    /// Windows of weights that [`Kernel::Windows`] binds, and windows of activations of a tile of rows.
    pub const WINDOWS: usize = 4;

    /// Slices in a workgroup of attention: as many as share a tile within 16 KiB.
    pub const fn slices(f16: bool, wide: bool) -> usize {
        match (wide, f16) {
            (false, _) => 1,
            (true, false) => 2,
            (true, true) => 4,
        }
    }

    /// Every kernel in every form.
    pub fn all() -> Vec<Kernel> {
        use Kernel::{AddRows, AttendAll, AttendMerge, Combine, Gelu, LayerNorm, PixelShuffle};
        use Kernel::{QkPrepare, RmsNorm, Rope2d, SampleTopK, TopK};
        let mut all =
            Vec::from([Kernel::RmsNormLanes, Combine, Kernel::Add, TopK, AttendMerge, AttendAll, SampleTopK]);
        all.extend([false, true].map(|eight| QkPrepare { eight }));
        all.extend([Kernel::SortPicks, Kernel::SumPicks, Kernel::PackRows, Kernel::HalfRows]);
        all.extend([Gelu, AddRows, Rope2d, PixelShuffle]);
        all.extend([false, true].into_iter().flat_map(|wide| [RmsNorm { wide }, LayerNorm { wide }]));
        for (f16, odd) in [(false, false), (true, false), (true, true)] {
            all.push(Kernel::KvAppend { f16, odd });
            all.extend([false, true].map(|wide| Kernel::Attend { f16, odd, wide }));
        }
        for f16 in [false, true] {
            all.push(Kernel::QkAppend { f16 });
            all.extend([false, true].map(|wide| Kernel::AttendLanes { f16, wide }));
        }
        for format in FORMATS {
            for aligned in [false, true] {
                if aligned && !format.keeps_alignment() {
                    continue;
                }
                all.push(Kernel::EmbedRows { format, aligned });
                for tier in Tier::ALL {
                    for job in Job::ALL {
                        for shape in [Shape::Row, Shape::Tile] {
                            // Tiles are not summed over lanes: both tiers for GPUs have the same.
                            if shape == Shape::Tile && tier == Tier::Subgroup {
                                continue;
                            }
                            all.push(Kernel::Product { format, aligned, job, shape, tier });
                        }
                    }
                }
                for shape in [Shape::Row, Shape::Tile] {
                    let forms = [(false, false), (false, true), (true, false)];
                    all.extend(forms.map(|(two, extra)| Kernel::Windows {
                        format,
                        aligned,
                        shape,
                        two,
                        extra,
                    }));
                }
                for how in Narrow::ALL.into_iter().filter(|how| how.takes(format)) {
                    all.extend(Job::ALL.map(|job| Kernel::Narrow { format, aligned, job, how }));
                }
                if format.plain {
                    all.push(Kernel::MatMulInOut { format, aligned });
                    all.push(Kernel::RouteRow { format, aligned });
                }
                for in_out in [false, true] {
                    if in_out && !format.plain {
                        continue;
                    }
                    all.extend([
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
            Kernel::RmsNorm { .. } => "norm/rms_norm",
            Kernel::MatMulInOut { .. } => "matmul/multiply_in_out",
            Kernel::Product { shape, tier, .. } => match (tier, shape) {
                (Tier::Thread, Shape::Row) => "matmul/thread_row",
                (Tier::Thread, Shape::Tile) => "matmul/thread_tile",
                (Tier::Lanes, Shape::Row) => "matmul/lanes_row",
                (Tier::Lanes, Shape::Tile) => "matmul/lanes_tile",
                (Tier::Shared | Tier::Subgroup, Shape::Row) => "matmul/shared_row",
                (Tier::Shared | Tier::Subgroup, Shape::Tile) => "matmul/shared_tile",
            },
            Kernel::Narrow { how, .. } => match how {
                Narrow::Packed => "matmul/packed_tile",
                Narrow::Half => "matmul/shared_tile",
                Narrow::Matrix8 | Narrow::Matrix16 => "matmul/matrix_tile",
            },
            Kernel::PackRows => "matmul/pack_rows",
            Kernel::HalfRows => "matmul/half_rows",
            Kernel::Windows { shape: Shape::Row, .. } => "matmul/lanes_row",
            Kernel::Windows { shape: Shape::Tile, .. } => "matmul/lanes_tile",
            Kernel::RmsNormLanes => "norm/rms_norm_lanes",
            Kernel::QkPrepare { .. } | Kernel::QkAppend { .. } => "qk/qk_prepare",
            Kernel::KvAppend { .. } => "kv/kv_append",
            Kernel::Attend { .. } | Kernel::AttendAll => "attend/tile",
            Kernel::AttendLanes { .. } => "attend/lanes",
            Kernel::AttendMerge => "attend/merge",
            Kernel::LayerNorm { .. } => "vision/layer_norm",
            Kernel::Gelu => "vision/gelu",
            Kernel::AddRows => "vision/add_rows",
            Kernel::Rope2d => "vision/rope_2d",
            Kernel::PixelShuffle => "vision/pixel_shuffle",
            Kernel::Combine => "swiglu/combine",
            Kernel::Add => "copy/add",
            Kernel::SampleTopK => "sample/top_k",
            Kernel::TopK => "route/top_k",
            Kernel::RouteRow { .. } => "route/row",
            Kernel::SortPicks => "route/sort",
            Kernel::SumPicks => "route/sum_picks",
            Kernel::ExpertGateUp { .. } => "expert/gate_up",
            Kernel::ExpertDown { .. } => "expert/down",
        }
    }

    /// Whether it is made for [`Tier::Lanes`], whose subgroups are of eight lanes or more.
    pub const fn lanes(&self) -> bool {
        matches!(
            self,
            Kernel::Windows { .. }
                | Kernel::AttendLanes { .. }
                | Kernel::RmsNormLanes
                | Kernel::QkPrepare { eight: true }
                | Kernel::Product { tier: Tier::Lanes, .. }
        )
    }

    /// Whether it computes in 16-bit floats, which is an optional feature.
    pub const fn half(&self) -> bool {
        matches!(self, Kernel::Narrow { how: Narrow::Half | Narrow::Matrix8 | Narrow::Matrix16, .. })
    }

    /// Whether it multiplies cooperative matrices, an experimental feature of wgpu's. Its workgroups are of
    /// [`Kernel::THREADS`] invocations.
    pub const fn cooperative(&self) -> bool {
        matches!(self, Kernel::Narrow { how, .. } if how.matrix())
    }

    /// The weight format that the kernel is built for, if any.
    pub const fn format(&self) -> Option<Format> {
        match self.matrix() {
            Some((format, _, _)) => Some(format),
            None => None,
        }
    }

    /// The weight format, and whether the matrix is aligned and stored `[n_in, n_out]`.
    const fn matrix(&self) -> Option<(Format, bool, bool)> {
        match *self {
            Kernel::EmbedRows { format, aligned }
            | Kernel::RouteRow { format, aligned }
            | Kernel::Product { format, aligned, .. }
            | Kernel::Narrow { format, aligned, .. }
            | Kernel::Windows { format, aligned, .. } => Some((format, aligned, false)),
            Kernel::MatMulInOut { format, aligned } => Some((format, aligned, true)),
            Kernel::ExpertGateUp { format, aligned, in_out }
            | Kernel::ExpertDown { format, aligned, in_out } => Some((format, aligned, in_out)),
            _ => None,
        }
    }

    /// The names for which `#if` holds.
    fn flags(&self) -> Vec<&'static str> {
        let (f16, odd, wide) = match *self {
            Kernel::QkAppend { f16 } => (f16, false, false),
            Kernel::KvAppend { f16, odd } => (f16, odd, false),
            Kernel::Attend { f16, odd, wide } => (f16, odd, wide),
            Kernel::AttendLanes { f16, wide } => (f16, false, wide),
            Kernel::RmsNorm { wide } | Kernel::LayerNorm { wide } => (false, false, wide),
            _ => (false, false, matches!(self, Kernel::AttendAll)),
        };
        let (aligned, plain) = self.matrix().map_or((false, false), |(f, aligned, _)| (aligned, f.plain));
        let product = match *self {
            Kernel::Product { job, shape, tier, .. } => [
                ("TWO", job.two()),
                ("EXPERT", job.expert()),
                ("DOWN", job == Job::ExpertDown && shape == Shape::Row),
                ("BACK", job == Job::ExpertDown),
                ("TILED", shape == Shape::Tile),
                ("SUBGROUPS", matches!(tier, Tier::Subgroup)),
                ("VECTORS", !matches!(tier, Tier::Thread)),
                ("STAGED", tier.shared() && shape == Shape::Row),
            ],
            Kernel::Narrow { format, job, how, .. } => {
                let bytes = matches!(how, Narrow::Packed);
                [
                    ("TWO", job.two()),
                    ("EXPERT", job.expert()),
                    ("BACK", job == Job::ExpertDown),
                    ("TILED", true),
                    ("PACKED", true),
                    // Of the bytes' scales, and of the floats.
                    if bytes { ("HALVES", format.halves) } else { ("HALF", how == Narrow::Half) },
                    ("LOW", format.low && bytes),
                    ("SIXTEEN", how == Narrow::Matrix16),
                ]
            }
            Kernel::Windows { shape, two, extra, .. } => [
                ("TWO", two),
                ("TILED", shape == Shape::Tile),
                ("EXTRA", extra),
                ("WINDOWED", true),
                ("", false),
                ("", false),
                ("", false),
                ("", false),
            ],
            _ => [("", false); 8],
        };
        let append = ("APPEND", matches!(self, Kernel::QkAppend { .. }));
        let all = [("F16", f16), ("ODD", odd && f16), ("WIDE", wide), ("ALIGNED", aligned), ("PLAIN", plain)];
        let eight = ("EIGHT", matches!(self, Kernel::QkPrepare { eight: true }));
        let all = all.into_iter().chain([append, eight]).chain(product);
        all.filter(|(_, on)| *on).map(|(name, _)| name).collect()
    }

    /// A name that tells the kernel from all others, for labels and reports.
    pub fn name(&self) -> String {
        let mut name = String::from(self.path());
        if matches!(self, Kernel::AttendAll) {
            name += " rows";
        }
        if let Some((format, _, in_out)) = self.matrix() {
            name += &format!(" {}{}", format.stem, if in_out { " in_out" } else { "" });
        }
        if let Kernel::Product { job, tier, .. } = self {
            name += &format!(" {} {}", job.name(), tier.name());
        }
        if let Kernel::Narrow { job, how, .. } = self {
            name += &format!(" {} {}", job.name(), how.name());
        }
        if let Kernel::Windows { two, .. } = self {
            name += if *two { " swiglu windows" } else { " matmul windows" };
        }
        for flag in self
            .flags()
            .iter()
            .filter(|f| ["APPEND", "F16", "ODD", "WIDE", "ALIGNED", "EXTRA", "EIGHT"].contains(f))
        {
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
        let from = if matches!(self, Kernel::AttendAll) { "rows" } else { "cache" };
        let keys = [("format", format), ("layout", layout), ("source", from)];
        let mut source = String::new();
        if self.half() {
            source += "enable f16;\n";
        }
        if self.cooperative() {
            source += "enable wgpu_cooperative_matrix;\n";
        }
        source += &expand(self.path(), &self.flags(), &keys, &sources::find)?;
        Ok(source)
    }

    /// The buffers of group 1, from binding 0 on.
    pub const fn bindings(&self) -> &'static [Access] {
        use Access::{Read, ReadWrite, Uniform};
        match self {
            // four windows of weights, out, one window of activations or four, scales, bias
            Kernel::Windows { shape: Shape::Row, extra: false, .. } => {
                &[Uniform, Uniform, Uniform, Uniform, ReadWrite, Uniform]
            }
            Kernel::Windows { shape: Shape::Row, extra: true, .. } => {
                &[Uniform, Uniform, Uniform, Uniform, ReadWrite, Uniform, Read, Read]
            }
            Kernel::Windows { shape: Shape::Tile, extra: false, .. } => {
                &[Uniform, Uniform, Uniform, Uniform, ReadWrite, Uniform, Uniform, Uniform, Uniform]
            }
            Kernel::Windows { shape: Shape::Tile, extra: true, .. } => &[
                Uniform, Uniform, Uniform, Uniform, ReadWrite, Uniform, Uniform, Uniform, Uniform, Read, Read,
            ],
            // weights, tokens, out, scales
            Kernel::EmbedRows { .. } => &[Read, Read, ReadWrite, Read],
            // x, weight, out
            Kernel::RmsNorm { .. } => &[Read, Read, ReadWrite],
            // weights, x, out, scales, bias
            Kernel::MatMulInOut { .. }
            | Kernel::Product { job: Job::MatMul, .. }
            | Kernel::Narrow { job: Job::MatMul, .. } => &[Read, Read, ReadWrite, Read, Read],
            // gate, x, out, up
            Kernel::Product { job: Job::SwiGlu, .. } | Kernel::Narrow { job: Job::SwiGlu, .. } => {
                &[Read, Read, ReadWrite, Read]
            }
            // gate, x, out, up, table of experts, picks or their plan, scores
            Kernel::Product { job: Job::ExpertSwiGlu, .. }
            | Kernel::Narrow { job: Job::ExpertSwiGlu, .. } => {
                &[Read, Read, ReadWrite, Read, Read, Read, Read]
            }
            // weights, x, out, scales, table of experts, picks or their plan
            Kernel::Product { job: Job::ExpertDown, .. } | Kernel::Narrow { job: Job::ExpertDown, .. } => {
                &[Read, Read, ReadWrite, Read, Read, Read]
            }
            // x, weight, out
            Kernel::RmsNormLanes => &[Uniform, Uniform, ReadWrite],
            // x, angles per position, facts of the rows
            Kernel::QkPrepare { .. } => &[ReadWrite, Read, Read],
            // x with keys and values, angles per position, facts of the row, block
            Kernel::QkAppend { .. } => &[ReadWrite, Read, Read, ReadWrite],
            // keys, values, block
            Kernel::KvAppend { .. } => &[Read, Read, ReadWrite],
            // queries, out, running maxima and sums, blocks
            Kernel::Attend { .. } => &[Read, ReadWrite, ReadWrite, Read, Read, Read, Read, Read],
            // queries, out, running maxima and sums, block
            Kernel::AttendLanes { .. } => &[Read, ReadWrite, ReadWrite, Read],
            // sums of parts, their maxima and sums of weights, out
            Kernel::AttendMerge => &[Read, Read, ReadWrite],
            // queries, out, nothing, keys, values
            Kernel::AttendAll => &[Read, ReadWrite, ReadWrite, Read, Read],
            // x, weight, bias, out
            Kernel::LayerNorm { .. } => &[Read, Read, Read, ReadWrite],
            // x
            Kernel::Gelu => &[ReadWrite],
            // x, table or angles
            Kernel::AddRows | Kernel::Rope2d => &[ReadWrite, Read],
            // x, out
            Kernel::PackRows | Kernel::HalfRows | Kernel::PixelShuffle | Kernel::SampleTopK => {
                &[Read, ReadWrite]
            }
            // up, gate
            Kernel::Combine => &[Read, ReadWrite],
            // from, to
            Kernel::Add => &[Read, ReadWrite],
            // weights, ids, scores, x
            Kernel::RouteRow { .. } => &[Read, ReadWrite, ReadWrite, Read],
            // logits, ids, scores
            Kernel::TopK => &[Read, ReadWrite, ReadWrite],
            // ids, plan; parts, out
            Kernel::SortPicks | Kernel::SumPicks => &[Read, ReadWrite],
            // weights, x, out, scales, ids, scores, table of experts
            Kernel::ExpertGateUp { .. } | Kernel::ExpertDown { .. } => {
                &[Read, Read, ReadWrite, Read, Read, Read, Read]
            }
        }
    }
}
