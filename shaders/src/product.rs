//! The matrix products among the kernels: what they compute, for how many rows, and in which tier.

use crate::quant::Format;

/// What becomes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Job {
    /// `out (+)= x w * scale + bias`.
    MatMul,
    /// `out = silu(x gate) * (x up)`.
    SwiGlu,
    /// The same for every pick of a router, with the pick's expert and score.
    ExpertSwiGlu,
    /// From hidden rows, one a pick, back to the rows that picked.
    ExpertDown,
}

impl Job {
    /// All of them.
    pub const ALL: [Job; 4] = [Job::MatMul, Job::SwiGlu, Job::ExpertSwiGlu, Job::ExpertDown];

    /// Whether it multiplies by two matrices at once.
    pub const fn two(self) -> bool {
        matches!(self, Job::SwiGlu | Job::ExpertSwiGlu)
    }

    /// Whether each pick of a router has a matrix of its own.
    pub const fn expert(self) -> bool {
        matches!(self, Job::ExpertSwiGlu | Job::ExpertDown)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Job::MatMul => "matmul",
            Job::SwiGlu => "swiglu",
            Job::ExpertSwiGlu => "expert_swiglu",
            Job::ExpertDown => "expert_down",
        }
    }
}

/// How many rows a weight is multiplied with once it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// One: decode.
    Row,
    /// A tile of several: prefill.
    Tile,
}

/// What tiles of rows are multiplied in, in the tiers for GPUs, where that is not F32. Sums are F32 in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Narrow {
    /// Packed signed bytes, by block formats; rows as [`Kernel::PackRows`](crate::Kernel::PackRows) writes them.
    Packed,
    /// 16-bit floats, four products at a time; rows as [`Kernel::HalfRows`](crate::Kernel::HalfRows) writes them, as for
    /// the others.
    Half,
    /// Cooperative matrices of 8 x 8 16-bit floats.
    Matrix8,
    /// Cooperative matrices of 16 x 16 16-bit floats.
    Matrix16,
}

impl Narrow {
    /// All of them.
    pub const ALL: [Narrow; 4] = [Narrow::Packed, Narrow::Half, Narrow::Matrix8, Narrow::Matrix16];

    /// Whether there are kernels for weights of this format: for none that is F32, and in bytes for block formats.
    pub const fn takes(self, format: Format) -> bool {
        if matches!(self, Narrow::Packed) { !format.plain } else { !format.exact() }
    }

    /// Whether subgroups multiply matrices together.
    pub const fn matrix(self) -> bool {
        matches!(self, Narrow::Matrix8 | Narrow::Matrix16)
    }

    /// Vectors of four words that a row of so many values takes, a multiple of [`Tier::step`].
    pub const fn row_vectors(self, width: usize) -> usize {
        match self {
            // Of each 32 values their bytes, and four words on their scale.
            Narrow::Packed => width / 32 * 3,
            _ => width / 8 + 1,
        }
    }

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Narrow::Packed => "packed",
            Narrow::Half => "half",
            Narrow::Matrix8 => "matrix8",
            Narrow::Matrix16 => "matrix16",
        }
    }
}

/// How the threads of a workgroup share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tier {
    /// Not at all: no barrier, no memory of the workgroup. For drivers that compute on a CPU, and for shapes that the
    /// tiers for GPUs do not take. Any device can do it.
    Thread,
    /// The same, but the lanes of a subgroup, eight or more, load activations for each other: on such drivers a load costs
    /// as much as dozens of products. Weights and activations of [`Job::MatMul`] and [`Job::SwiGlu`] are read as uniforms
    /// where they fit into windows of those, by [`Kernel::Windows`](crate::Kernel::Windows).
    Lanes,
    /// Workgroups of a GPU: loads of 16 bytes side by side, tiles and sums in memory of the workgroup.
    Shared,
    /// The same, with sums over subgroups.
    Subgroup,
}

impl Tier {
    /// All of them.
    pub const ALL: [Tier; 4] = [Tier::Thread, Tier::Lanes, Tier::Shared, Tier::Subgroup];

    /// Whether it is made for a GPU, and shares outputs among the lanes of a workgroup.
    pub const fn shared(self) -> bool {
        matches!(self, Tier::Shared | Tier::Subgroup)
    }

    /// What the length of rows must be a multiple of. But for [`Tier::Thread`], activations also begin on multiples of 4
    /// elements.
    pub const fn step(self) -> usize {
        match self {
            Tier::Thread => 1,
            Tier::Lanes => 32,
            Tier::Shared | Tier::Subgroup => 8,
        }
    }

    /// Rows of a tile.
    pub const fn tile(self) -> u32 {
        match self {
            Tier::Thread => 8,
            Tier::Lanes => 16,
            Tier::Shared | Tier::Subgroup => 32,
        }
    }

    /// Outputs of a workgroup.
    pub const fn outputs(self, job: Job, shape: Shape) -> u32 {
        let all = match (self, shape) {
            (Tier::Thread, Shape::Row) | (Tier::Lanes, _) => 128,
            (_, Shape::Tile) => 64,
            (Tier::Shared | Tier::Subgroup, Shape::Row) => 4,
        };
        // Of each matrix.
        if job.two() { all / 2 } else { all }
    }

    /// Whether it needs the optional feature of subgroups.
    pub const fn subgroups(self) -> bool {
        matches!(self, Tier::Lanes | Tier::Subgroup)
    }

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Tier::Thread => "thread",
            Tier::Lanes => "lanes",
            Tier::Shared => "shared",
            Tier::Subgroup => "subgroup",
        }
    }
}
