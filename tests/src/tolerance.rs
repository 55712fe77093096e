//! How far a device may be from the reference, as one calculus of rounding errors instead of a list of numbers.
//!
//! A device sums in F32, approximates `exp`, and, where it was allowed to, rounds activations. Each of these errors has
//! a known size; [`product`], [`swiglu`] and [`attention`] carry it through an op as a standard deviation per output. A
//! result may be [`SIGMAS`] of them off. So a tolerance grows exactly with what causes it, and a wrong bit in one block
//! does not hide behind a tolerance that was chosen for another shape.
//!
//! | source | size | why |
//! |---|---|---|
//! | [`SUM`] | 2⁻²³ of the sum of magnitudes | F32 accumulation in vector lanes; a fused product rounds once |
//! | [`EXP`] | 2⁻²¹ of the result | polynomial `exp` and division in F32 |
//! | [`ANGLE`] | 2⁻²² of the head's largest value | sine and cosine in F32 of an angle that is exact in F32 |
//! | int8 activations | half a step of the block's largest value / 127 | block formats under `Activations::Auto`; tiles of bf16 lose less |
//! | bf16 activations | 2⁻⁹ of each value | BF16 weights under `Activations::Auto` |
//! | bf16 activations and weights | 2⁻⁹ of each | F16 weights and many rows under `Activations::Auto`, on a machine with tiles |

use crate::matrix::Matrix;
use puna_core::{DType, Layout};
use puna_cpu::isa::Isa;
use puna_cpu::matmul::{Activations, Form, Kernels};

/// Standard deviations that a result may be off. The errors are bounded and many, so six never happen by chance.
pub const SIGMAS: f64 = 6.0;
/// Of the sum of the magnitudes: F32 accumulation.
pub const SUM: f64 = 1.2e-7;
/// Of the result: `exp`, division and square root in F32.
pub const EXP: f64 = 4.8e-7;
/// Of the largest value of a head: sine and cosine in F32.
pub const ANGLE: f64 = 2.4e-7;
/// Of the result: a product or quotient of two F32 numbers.
pub const ROUND: f64 = 6.0e-8;

/// Values with the standard deviation of their error.
#[derive(Clone, Debug, Default)]
pub struct Uncertain {
    pub values: Vec<f64>,
    pub sigma: Vec<f64>,
}

impl Uncertain {
    /// Values that every device has alike.
    pub fn exact(values: &[f32]) -> Self {
        let values: Vec<f64> = values.iter().copied().map(f64::from).collect();
        Self { sigma: vec![0.0; values.len()], values }
    }

    /// Each value times a factor that may itself be off by `relative`.
    pub fn times(&self, factor: f64, relative: f64) -> Self {
        let values: Vec<f64> = self.values.iter().map(|v| v * factor).collect();
        let sigma = self.sigma.iter().zip(&values);
        Self { sigma: sigma.map(|(s, v)| s * factor.abs() + relative * v.abs()).collect(), values }
    }

    /// The sum, element by element.
    pub fn plus(&self, other: &Self) -> Self {
        let values: Vec<f64> = self.values.iter().zip(&other.values).map(|(a, b)| a + b).collect();
        let sigma = self.sigma.iter().zip(&other.sigma).zip(&values);
        Self { sigma: sigma.map(|((a, b), v)| a.hypot(*b) + ROUND * v.abs()).collect(), values }
    }
}

/// The most that rounding may change each activation of a row before it meets weights of this format.
fn activation_steps(dtype: DType, activations: Activations, tiles: bool, x: &[f64]) -> Vec<f64> {
    match (activations, dtype) {
        // Of a product of two that are rounded each.
        (Activations::Auto, DType::F16) if tiles => {
            x.iter().map(|v| v.abs() / 512.0 * std::f64::consts::SQRT_2).collect()
        }
        (Activations::F32, _) | (_, DType::F32 | DType::F16 | DType::F8E4M3) => vec![0.0; x.len()],
        (_, DType::BF16) => x.iter().map(|v| v.abs() / 512.0).collect(),
        _ => {
            let steps = x.chunks(dtype.block_len()).flat_map(|block| {
                let largest = block.iter().fold(0.0f64, |m, v| m.max(v.abs()));
                // The step itself may be kept as F16.
                block.iter().map(move |v| largest / 254.0 + v.abs() / 2048.0)
            });
            steps.collect()
        }
    }
}

/// Rows times a matrix.
pub fn product(x: &Uncertain, w: &Matrix, activations: Activations) -> Uncertain {
    let mut out = Uncertain::default();
    // Whether any instruction set of this machine rounds weights of F16.
    let n_rows = x.values.len().checked_div(w.n_in).unwrap_or(0);
    let form = |isa| Kernels::new(isa, activations).form(DType::F16, Layout::OutIn, n_rows);
    let tiles = Isa::available().into_iter().any(|isa| form(isa) == Form::Bf16);
    for (x, sigma) in x.values.chunks_exact(w.n_in).zip(x.sigma.chunks_exact(w.n_in)) {
        let steps = activation_steps(w.dtype, activations, tiles, x);
        for w in w.values.chunks_exact(w.n_in) {
            let (mut sum, mut mass, mut variance) = (0.0, 0.0, 0.0);
            for i in 0..x.len() {
                sum += x[i] * w[i];
                mass += (x[i] * w[i]).abs();
                // An error spread evenly over a step to either side has a third of its square as variance.
                variance += w[i] * w[i] * (sigma[i] * sigma[i] + steps[i] * steps[i] / 3.0);
            }
            out.values.push(sum);
            out.sigma.push(variance.sqrt() + SUM * mass);
        }
    }
    out
}

/// `silu(gate) * up`.
pub fn swiglu(gate: &Uncertain, up: &Uncertain) -> Uncertain {
    let mut out = Uncertain::default();
    for i in 0..gate.values.len() {
        let (g, u) = (gate.values[i], up.values[i]);
        let silu = g / (1.0 + (-g).exp());
        // The slope of silu is at most 1.1 anywhere.
        let slope = 1.1 * gate.sigma[i];
        out.values.push(silu * u);
        out.sigma.push(slope * (u.abs() + up.sigma[i]) + silu.abs() * up.sigma[i] + EXP * (silu * u).abs());
    }
    out
}

/// Softmax attention: `scores` with the error of their dot products, over values no larger than `largest`.
pub fn attention(score_sigma: f64, largest: f64) -> f64 {
    // A score that is off by e changes its weight by the factor exp(e), and the weights sum to one.
    (2.0 * score_sigma + EXP) * largest
}
