//! Which tensor gets which format: the standard mixes of llama.cpp, by the names people know.
//!
//! A mix is a base format and the exceptions to it: value and down projections matter more than their size, the head
//! more than any other matrix. Norms, biases and routers are never quantised. Source: `src/llama-quant.cpp` of llama.cpp.

use crate::Config;
use puna_core::DType;

/// A standard mix of formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    non_camel_case_types,
    missing_docs,
    reason = "the names of llama.cpp, which say everything there is to say"
)]
pub enum Mix {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q2_K_S,
    Q3_K_S,
    Q3_K_M,
    Q3_K_L,
    Q4_K_S,
    Q4_K_M,
    Q5_K_S,
    Q5_K_M,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
    IQ1_S,
    IQ1_M,
    IQ2_XXS,
    IQ2_XS,
    IQ2_S,
    IQ2_M,
    IQ3_XXS,
    IQ3_XS,
    IQ3_S,
    IQ3_M,
    TQ1_0,
    TQ2_0,
    /// Routed experts in MXFP4, all else in Q8_0.
    MXFP4_MOE,
}

/// Every mix with its name and its number in `general.file_type`.
const ALL: [(Mix, &str, u32); 33] = [
    (Mix::F32, "f32", 0),
    (Mix::F16, "f16", 1),
    (Mix::BF16, "bf16", 32),
    (Mix::Q4_0, "q4_0", 2),
    (Mix::Q4_1, "q4_1", 3),
    (Mix::Q5_0, "q5_0", 8),
    (Mix::Q5_1, "q5_1", 9),
    (Mix::Q8_0, "q8_0", 7),
    (Mix::Q2_K, "q2_k", 10),
    (Mix::Q2_K_S, "q2_k_s", 21),
    (Mix::Q3_K_S, "q3_k_s", 11),
    (Mix::Q3_K_M, "q3_k_m", 12),
    (Mix::Q3_K_L, "q3_k_l", 13),
    (Mix::Q4_K_S, "q4_k_s", 14),
    (Mix::Q4_K_M, "q4_k_m", 15),
    (Mix::Q5_K_S, "q5_k_s", 16),
    (Mix::Q5_K_M, "q5_k_m", 17),
    (Mix::Q6_K, "q6_k", 18),
    (Mix::IQ4_NL, "iq4_nl", 25),
    (Mix::IQ4_XS, "iq4_xs", 30),
    (Mix::IQ1_S, "iq1_s", 24),
    (Mix::IQ1_M, "iq1_m", 31),
    (Mix::IQ2_XXS, "iq2_xxs", 19),
    (Mix::IQ2_XS, "iq2_xs", 20),
    (Mix::IQ2_S, "iq2_s", 28),
    (Mix::IQ2_M, "iq2_m", 29),
    (Mix::IQ3_XXS, "iq3_xxs", 23),
    (Mix::IQ3_XS, "iq3_xs", 22),
    (Mix::IQ3_S, "iq3_s", 26),
    (Mix::IQ3_M, "iq3_m", 27),
    (Mix::TQ1_0, "tq1_0", 36),
    (Mix::TQ2_0, "tq2_0", 37),
    (Mix::MXFP4_MOE, "mxfp4_moe", 38),
];

/// What a matrix does in the model, as far as mixes tell matrices apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The embedding table, with a head of its own beside it.
    Embed,
    /// The head, or the embedding table that is also the head.
    Head,
    /// The query projection.
    Query,
    /// The key projection.
    Key,
    /// Gate and up projections of a dense layer or shared expert.
    Other,
    /// The value projection.
    Value,
    /// The projection behind attention.
    AttnOut,
    /// A down projection of a dense layer or shared expert.
    Down,
    /// Gate or up projections of all routed experts.
    Experts,
    /// Down projections of all routed experts.
    ExpertsDown,
}

/// Where a matrix stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What it does.
    pub role: Role,
    /// Its layer, and how many there are.
    pub layer: usize,
    /// All layers.
    pub n_layers: usize,
    /// How many down projections stand before it, each expert's stack counted once.
    pub downs: usize,
    /// Experts of a layer that has some.
    pub n_experts: usize,
    /// Query heads to each key/value head.
    pub group: usize,
    /// Whether there is an importance matrix.
    pub importance: bool,
}

impl Mix {
    /// The mix of a name, in any case.
    pub fn parse(name: &str) -> Option<Mix> {
        ALL.into_iter().find(|(_, known, _)| known.eq_ignore_ascii_case(name)).map(|(mix, ..)| mix)
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALL.into_iter().map(|(_, name, _)| name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        ALL.into_iter().find(|(mix, ..)| *mix == self).map_or("", |(_, name, _)| name)
    }

    /// Its number in `general.file_type`.
    pub fn file_type(self) -> u32 {
        ALL.into_iter().find(|(mix, ..)| *mix == self).map_or(0, |(.., id)| id)
    }

    /// The format of most matrices.
    pub fn base(self) -> DType {
        match self {
            Mix::F32 => DType::F32,
            Mix::F16 => DType::F16,
            Mix::BF16 => DType::BF16,
            Mix::Q4_0 => DType::Q4_0,
            Mix::Q4_1 => DType::Q4_1,
            Mix::Q5_0 => DType::Q5_0,
            Mix::Q5_1 => DType::Q5_1,
            Mix::Q8_0 | Mix::MXFP4_MOE => DType::Q8_0,
            Mix::Q2_K | Mix::Q2_K_S => DType::Q2_K,
            Mix::Q3_K_S | Mix::Q3_K_M | Mix::Q3_K_L => DType::Q3_K,
            Mix::Q4_K_S | Mix::Q4_K_M => DType::Q4_K,
            Mix::Q5_K_S | Mix::Q5_K_M => DType::Q5_K,
            Mix::Q6_K => DType::Q6_K,
            Mix::IQ4_NL => DType::IQ4_NL,
            Mix::IQ4_XS => DType::IQ4_XS,
            Mix::IQ1_S => DType::IQ1_S,
            Mix::IQ1_M => DType::IQ1_M,
            Mix::IQ2_XXS => DType::IQ2_XXS,
            Mix::IQ2_XS | Mix::IQ2_S => DType::IQ2_XS,
            Mix::IQ2_M => DType::IQ2_S,
            Mix::IQ3_XXS => DType::IQ3_XXS,
            Mix::IQ3_XS | Mix::IQ3_S | Mix::IQ3_M => DType::IQ3_S,
            Mix::TQ1_0 => DType::TQ1_0,
            Mix::TQ2_0 => DType::TQ2_0,
        }
    }

    /// The format of a tensor of a model: of what it does, its layer, and the values of a row. What does nothing that
    /// mixes know of stays F32.
    pub fn of(self, config: &Config, role: Option<(Role, usize)>, n_in: usize, importance: bool) -> DType {
        let Some((role, layer)) = role else { return DType::F32 };
        let moe = config.moe_layers.iter().take(layer).filter(|moe| **moe).count();
        let behind_experts = role == Role::Down && config.moe_layers.get(layer) == Some(&true);
        let place = Place {
            role,
            layer,
            n_layers: config.n_layers,
            downs: layer + moe + usize::from(behind_experts),
            n_experts: config.n_experts,
            group: config.n_heads / config.n_kv_heads.max(1),
            importance,
        };
        self.dtype(place, n_in)
    }

    /// Whether the format is so coarse that a matrix in it is of no use without an importance matrix: llama.cpp refuses to
    /// write it, but for the embedding table and the head.
    pub fn needs_importance(self, dtype: DType, role: Role) -> bool {
        use DType::*;
        let coarse =
            matches!(dtype, IQ1_S | IQ1_M | IQ2_XXS | IQ2_XS | IQ2_S) || self == Mix::Q2_K_S && dtype == Q2_K;
        coarse && !matches!(role, Role::Embed | Role::Head)
    }

    /// The mixes of one and two bits, which share most of their exceptions.
    fn is_coarse(self) -> bool {
        use Mix::*;
        matches!(self, IQ1_S | IQ1_M | IQ2_XXS | IQ2_XS | IQ2_S | IQ2_M)
    }

    /// Whether the exceptions of a coarse mix are in three bits instead of two.
    fn is_finer(self) -> bool {
        matches!(self, Mix::IQ2_S | Mix::IQ2_M)
    }

    /// The format of a matrix whose rows have `n_in` values.
    pub fn dtype(self, place: Place, n_in: usize) -> DType {
        let base = self.base();
        if base.is_plain() {
            return base;
        }
        let wanted = match place.role {
            Role::Embed => self.embed(),
            Role::Query => self.query(),
            Role::Key => self.key(place),
            Role::Other | Role::Experts if self == Mix::IQ3_XS && place.in_middle() => DType::IQ3_XXS,
            Role::Other => base,
            Role::Head if base == DType::Q8_0 || !n_in.is_multiple_of(256) => DType::Q8_0,
            Role::Head if self.is_coarse() || self == Mix::IQ3_XXS => DType::Q5_K,
            Role::Head => DType::Q6_K,
            Role::Experts | Role::ExpertsDown if self == Mix::MXFP4_MOE => DType::MXFP4,
            Role::Experts => base,
            Role::Value => self.value(place),
            Role::AttnOut => self.attn_out(place),
            Role::Down | Role::ExpertsDown => self.down(place),
        };
        fallback(wanted, n_in)
    }

    fn embed(self) -> DType {
        match self {
            Mix::IQ1_S | Mix::IQ1_M | Mix::IQ2_XXS | Mix::IQ2_XS => DType::Q2_K,
            Mix::IQ2_S | Mix::IQ2_M | Mix::IQ3_XXS => DType::IQ3_S,
            Mix::TQ1_0 | Mix::TQ2_0 => DType::Q4_K,
            _ => self.base(),
        }
    }

    fn query(self) -> DType {
        match self {
            Mix::IQ3_XXS => DType::IQ2_S,
            Mix::IQ3_XS => DType::IQ3_XXS,
            _ => self.base(),
        }
    }

    fn key(self, place: Place) -> DType {
        match self {
            _ if !place.has_eight_experts() => self.query(),
            _ if self.is_coarse() => DType::Q4_K,
            _ => DType::Q8_0,
        }
    }

    fn attn_out(self, place: Place) -> DType {
        use Mix::*;
        if place.has_eight_experts() {
            return match self {
                Q2_K | Q3_K_S | Q3_K_M | Q4_K_S | Q4_K_M | IQ4_NL | IQ4_XS => DType::Q5_K,
                IQ3_XXS | IQ3_XS | IQ3_S | IQ3_M => DType::Q5_K,
                _ if self.is_coarse() => DType::Q5_K,
                _ => self.base(),
            };
        }
        match self {
            Mix::Q2_K => DType::Q3_K,
            Mix::Q3_K_M | Mix::IQ3_M => DType::Q4_K,
            Mix::Q3_K_L => DType::Q5_K,
            Mix::IQ1_S | Mix::IQ1_M => DType::IQ2_XXS,
            Mix::IQ2_S | Mix::IQ2_M | Mix::IQ3_XXS => DType::IQ3_S,
            _ => self.base(),
        }
    }

    fn value(self, place: Place) -> DType {
        match self {
            _ if self.is_coarse() && (place.group >= 4 || place.n_experts >= 4) => DType::Q4_K,
            _ if self.is_finer() => DType::IQ3_S,
            _ if self.is_coarse() => DType::Q2_K,
            _ if place.has_eight_experts() => DType::Q8_0,
            Mix::IQ3_XXS | Mix::IQ3_XS | Mix::IQ3_S if place.group >= 4 => DType::Q4_K,
            Mix::IQ3_XXS if !place.importance => DType::IQ3_S,
            Mix::IQ3_M => DType::Q4_K,
            Mix::Q2_K if place.group >= 4 => DType::Q4_K,
            Mix::Q2_K => DType::Q3_K,
            Mix::Q2_K_S if place.group >= 4 => DType::Q4_K,
            Mix::Q3_K_M if place.layer < 2 => DType::Q5_K,
            Mix::Q3_K_M => DType::Q4_K,
            Mix::Q3_K_L => DType::Q5_K,
            Mix::IQ4_NL | Mix::IQ4_XS if place.group >= 4 => DType::Q5_K,
            Mix::Q4_K_M | Mix::Q5_K_M if place.matters() => DType::Q6_K,
            Mix::Q4_K_S if place.layer < 4 => DType::Q5_K,
            _ => self.base(),
        }
    }

    fn down(self, place: Place) -> DType {
        let Place { layer, n_layers, importance, downs, .. } = place;
        let early = layer < n_layers / 8;
        match self {
            // Counted in matrices, not in layers: where there are experts, half as many layers.
            _ if self.is_coarse() && downs < n_layers / 8 => {
                if self.is_finer() {
                    DType::IQ3_S
                } else {
                    DType::Q2_K
                }
            }
            Mix::IQ3_XXS if early && !importance => DType::Q4_K,
            Mix::IQ3_XXS if !importance => DType::Q3_K,
            Mix::IQ3_M if early || place.has_eight_experts() && place.matters() => DType::Q4_K,
            Mix::Q2_K => DType::Q3_K,
            Mix::Q2_K_S if early => DType::Q4_K,
            Mix::Q3_K_M if layer < n_layers / 16 => DType::Q5_K,
            Mix::Q3_K_M => DType::Q4_K,
            Mix::Q3_K_L => DType::Q5_K,
            Mix::Q4_K_M | Mix::Q5_K_M if place.matters() => DType::Q6_K,
            Mix::Q4_K_S if early => DType::Q5_K,
            Mix::IQ4_NL | Mix::IQ4_XS if early && !importance => DType::Q5_K,
            Mix::Q4_0 if early && importance => DType::Q4_1,
            Mix::Q5_0 if early && importance => DType::Q5_1,
            _ => self.base(),
        }
    }
}

impl Place {
    /// The mixes were tuned on Mixtral, whose attention is a small part of it: models of as many experts get more bits there.
    fn has_eight_experts(&self) -> bool {
        self.n_experts == 8
    }

    /// Layers that are neither in the first nor in the last eighth.
    fn in_middle(&self) -> bool {
        (self.n_layers / 8..7 * self.n_layers / 8).contains(&self.layer)
    }

    /// Layers that get more bits: the first and the last eighth, and every third between.
    fn matters(&self) -> bool {
        let (i, eighth) = (self.layer, self.n_layers / 8);
        i < eighth || i >= 7 * self.n_layers / 8 || (i - eighth) % 3 == 2
    }
}

/// What takes the place of a format whose blocks do not divide the rows.
fn fallback(wanted: DType, n_in: usize) -> DType {
    if n_in.is_multiple_of(wanted.block_len()) {
        return wanted;
    }
    let smaller = match wanted {
        DType::IQ1_S | DType::IQ1_M | DType::IQ2_XXS | DType::IQ2_XS | DType::IQ2_S => DType::IQ4_NL,
        DType::IQ3_XXS | DType::IQ3_S | DType::IQ4_XS => DType::IQ4_NL,
        DType::Q2_K | DType::Q3_K | DType::TQ1_0 | DType::TQ2_0 => DType::Q4_0,
        DType::Q4_K => DType::Q5_0,
        DType::Q5_K => DType::Q5_1,
        DType::Q6_K => DType::Q8_0,
        _ => DType::F16,
    };
    if n_in.is_multiple_of(smaller.block_len()) { smaller } else { DType::F16 }
}

#[cfg(test)]
mod tests;
