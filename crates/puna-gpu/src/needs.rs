//! Which kernels a model's ops will ask for, told by its matrices, so that they can be compiled before the first op.

use crate::ops::{
    attend, expert, kv_append, layer_norm, matmul, qk_prepare, rms_norm, route, swiglu, windowed,
};
use crate::tiles::Choice;
use puna_core::{Elem, Expert, Layout, Mat};
use puna_shaders::quant::{self, Format};
use puna_shaders::{Job, Kernel, Shape, Tier};

/// Part of a model, for [`Compiler::prepare`](crate::Compiler::prepare).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Need<'a> {
    /// A table that [`EmbedRows`](puna_core::ops::EmbedRows) reads.
    Table(&'a Mat),
    /// A matrix of [`MatMul`](puna_core::ops::MatMul).
    Product(&'a Mat),
    /// Gate and up of [`SwiGlu`](puna_core::ops::SwiGlu).
    Gated(&'a Mat, &'a Mat),
    /// The router of [`Route`](puna_core::ops::Route).
    Router(&'a Mat),
    /// Experts of [`ExpertFfn`](puna_core::ops::ExpertFfn), and how many a row picks.
    Experts(&'a [Expert], usize),
    /// Norms, attention and the choice of tokens of a text model.
    #[expect(
        missing_docs,
        reason = "named as in the model's configuration; `kv` is the element type of its cache"
    )]
    Text { hidden: usize, head_dim: usize, kv: Elem },
    /// [`CopyRows`](puna_core::ops::CopyRows) that adds: sums of several devices.
    Sums,
    /// What a vision tower does beside its products.
    #[expect(missing_docs, reason = "its configuration's name")]
    Vision { hidden: usize },
}

/// How a device computes products: its tier, and the multiples at which it binds windows of uniforms, if it does.
#[derive(Clone, Copy)]
pub(crate) struct Ways {
    pub(crate) tier: Tier,
    pub(crate) windows: Option<u64>,
    /// What tiles of rows are multiplied in.
    pub(crate) tiles: Choice,
}

/// The kernels for these needs on a device, each once. Of formats without shaders there are none.
pub(crate) fn kernels(ways: Ways, needs: &[Need<'_>]) -> Vec<Kernel> {
    let tier = ways.tier;
    let mut all = Vec::new();
    for need in needs {
        match *need {
            Need::Table(mat) => {
                if let Some((format, aligned)) = stored(mat) {
                    all.push(Kernel::EmbedRows { format, aligned });
                }
            }
            Need::Product(mat) => product(ways, mat, &mut all),
            Need::Gated(gate, up) => gated(ways, gate, up, &mut all),
            Need::Router(mat) => {
                product(Ways { tiles: Choice::default(), ..ways }, mat, &mut all);
                all.push(Kernel::TopK);
                if let Some((format, aligned)) = stored(mat).filter(|_| route::at_once(tier, mat)) {
                    all.push(Kernel::RouteRow { format, aligned });
                }
            }
            Need::Experts(experts, top_k) => routed(ways, experts, top_k, &mut all),
            Need::Text { hidden, head_dim, kv } => {
                let norm = rms_norm::kernel(hidden, ways.windows);
                all.extend([norm, qk_prepare::kernel(tier), Kernel::SampleTopK]);
                all.push(kv_append::kernel(kv, head_dim));
                all.extend(tier.shared().then_some(Kernel::QkAppend { f16: kv == Elem::F16 }));
                let kernels = [false, true].map(|wide| attend::kernel(tier, kv, head_dim, wide));
                all.extend(kernels);
                if kernels.iter().any(|kernel| matches!(kernel, Kernel::Attend { .. })) {
                    all.push(Kernel::AttendMerge);
                }
            }
            Need::Sums => all.push(Kernel::Add),
            Need::Vision { hidden } => {
                let rest = [Kernel::Gelu, Kernel::AddRows, Kernel::Rope2d, Kernel::AttendAll];
                all.extend([layer_norm::kernel(hidden), Kernel::PixelShuffle].into_iter().chain(rest));
            }
        }
    }
    let narrow = all.iter().filter_map(matmul::narrow).map(matmul::rounding).collect::<Vec<_>>();
    all.extend(narrow);
    let mut seen = std::collections::HashSet::new();
    all.retain(|kernel| seen.insert(*kernel));
    all
}

/// Its format, and whether its rows begin on whole words: a region begins on one.
fn stored(mat: &Mat) -> Option<(Format, bool)> {
    let format = quant::by_name(mat.dtype.name())?;
    let whole = mat.offset.is_multiple_of(4) && mat.stride.is_multiple_of(4);
    Some((format, whole && format.keeps_alignment()))
}

fn both(format: Format, aligned: bool, job: Job, ways: (Tier, Choice)) -> [Kernel; 2] {
    [Shape::Row, Shape::Tile].map(|shape| matmul::product_kernel(format, aligned, job, shape, ways))
}

/// The kernels of both shapes of a product with one matrix or two, which are computed with windows of uniforms where that is
/// possible.
fn dense(ways: Ways, format: Format, aligned: bool, mats: &[&Mat], all: &mut Vec<Kernel>) {
    let Some(first) = mats.first() else { return };
    let (two, job) = if mats.len() > 1 { (true, Job::SwiGlu) } else { (false, Job::MatMul) };
    for shape in [Shape::Row, Shape::Tile] {
        if ways.windows.and_then(|align| windowed::room(align, mats, 0, shape)).is_some() {
            // Whether a sum is added to what is there is told by the op alone.
            let plain = first.scale.is_none().then_some(false);
            let forms = plain.into_iter().chain((!two).then_some(true));
            all.extend(forms.map(|extra| Kernel::Windows { format, aligned, shape, two, extra }));
        } else {
            let tier = matmul::tier_of(ways.tier, &[], first.n_in);
            all.push(matmul::product_kernel(format, aligned, job, shape, (tier, ways.tiles)));
        }
    }
}

fn product(ways: Ways, mat: &Mat, all: &mut Vec<Kernel>) {
    let Some((format, aligned)) = stored(mat) else { return };
    match mat.layout {
        Layout::InOut => all.push(Kernel::MatMulInOut { format, aligned }),
        Layout::OutIn => dense(ways, format, aligned, &[mat], all),
    }
}

fn gated(ways: Ways, gate: &Mat, up: &Mat, all: &mut Vec<Kernel>) {
    if !swiglu::fusable(gate, up) {
        product(ways, gate, all);
        product(ways, up, all);
        all.push(Kernel::Combine);
    } else if let (Some((format, a)), Some((_, b))) = (stored(gate), stored(up)) {
        dense(ways, format, a && b, &[gate, up], all);
    }
}

fn routed(ways: Ways, experts: &[Expert], top_k: usize, all: &mut Vec<Kernel>) {
    let fused = experts.iter().all(|e| swiglu::fusable(&e.gate, &e.up));
    let tiled = expert::tiled(experts);
    if tiled {
        all.push(Kernel::SortPicks);
        all.extend((top_k > 1).then_some(Kernel::SumPicks));
    }
    for e in experts {
        let ways = (expert::tier_of(ways.tier, &[], e.gate.n_in, e.gate.n_out), ways.tiles);
        let Some((format, aligned)) = stored(&e.gate) else { return };
        let up = stored(&e.up);
        let shapes = if tiled { 2 } else { 1 };
        if fused {
            let aligned = aligned && up.is_some_and(|(_, aligned)| aligned);
            all.extend(both(format, aligned, Job::ExpertSwiGlu, ways).into_iter().take(shapes));
        } else {
            for (mat, stored) in [(&e.gate, Some((format, aligned))), (&e.up, up)] {
                let in_out = mat.layout == Layout::InOut;
                all.extend(stored.map(|(format, aligned)| Kernel::ExpertGateUp { format, aligned, in_out }));
            }
            all.push(Kernel::Combine);
        }
        let Some((format, aligned)) = stored(&e.down) else { return };
        match e.down.layout {
            Layout::OutIn => {
                all.extend(both(format, aligned, Job::ExpertDown, ways).into_iter().take(shapes))
            }
            Layout::InOut => all.push(Kernel::ExpertDown { format, aligned, in_out: true }),
        }
    }
}
