//! What a model and a session will hold in memory and read for each token.

#[cfg(feature = "std")]
use crate::error::{Error, Lift};
#[cfg(feature = "std")]
use crate::package::Package;
#[cfg(feature = "std")]
use crate::placement::{CPU, DEVICE, chosen};
#[cfg(feature = "std")]
use crate::session::state_options;
#[cfg(feature = "std")]
use puna_core::{PlanDevice, plan::Tally};
#[cfg(feature = "std")]
use puna_llama::vision::{Encode, Tiles};
#[cfg(feature = "std")]
use puna_llama::{LoadWatch, TensorSource, Vision};

/// A memory plan; see [`Model::plan`](crate::Model::plan). All sizes are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryPlan {
    /// Tokens of the context that was planned for.
    pub context: usize,
    /// Weights. Mapped files share them with other programs and give them back under pressure.
    pub weights: u64,
    /// Keys and values of a full context; taken as it fills.
    pub kv: u64,
    /// Activations of the largest batch.
    pub activations: u64,
    /// Weights of the vision tower.
    pub vision_weights: u64,
    /// Activations while an image is encoded, tile by tile.
    pub vision_activations: u64,
    /// Multiplications of one tile of an image.
    pub multiply_adds_per_tile: u64,
    /// Weights read for each decoded token: divided by the machine's memory bandwidth, the shortest time it can take.
    pub weights_per_token: u64,
    /// Keys and values read for the last token of a full context.
    pub kv_per_token: u64,
    /// Multiplications of that token.
    pub multiply_adds_per_token: u64,
    /// Of all this but the vision tower, what the chosen device has.
    pub device: Share,
    /// What the processor has beside it; see [`Placement`](crate::Placement).
    pub cpu: Share,
}

/// One device's part of a [`MemoryPlan`], in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Share {
    /// Weights.
    pub weights: u64,
    /// Keys and values of a full context.
    pub kv: u64,
    /// Activations of the largest batch.
    pub activations: u64,
    /// Weights read for each decoded token.
    pub weights_per_token: u64,
    /// Rows of activations that come from the other device for each decoded token.
    pub moved_per_token: u64,
}

impl Share {
    /// What is held.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv).saturating_add(self.activations)
    }

    #[cfg(feature = "std")]
    fn of(plan: &puna_llama::Plan) -> Share {
        Share {
            weights: plan.weight_bytes,
            kv: plan.kv_bytes,
            activations: plan.scratch_bytes,
            weights_per_token: plan.weight_bytes_per_token,
            moved_per_token: plan.moved_bytes_per_token,
        }
    }
}

impl MemoryPlan {
    /// Everything together.
    pub fn total(&self) -> u64 {
        let text = self.weights.saturating_add(self.kv).saturating_add(self.activations);
        text.saturating_add(self.vision_weights).saturating_add(self.vision_activations)
    }

    #[cfg(feature = "std")]
    pub(crate) fn new(
        package: &Package,
        load: &crate::LoadOptions,
        options: &crate::SessionOptions,
    ) -> Result<Self, Error> {
        let state = state_options(&package.config, options);
        let (_, placement) = chosen(load);
        let placement = placement.of(package)?;
        let config = package.config.clone();
        let plan = |source: &dyn TensorSource| puna_llama::plan_placed(config, source, &placement, &state);
        let places = package.tensors.with(plan).lift()?;
        let at =
            |place| places.iter().find(|(at, _)| *at == place).map(|(_, plan)| *plan).unwrap_or_default();
        let (near, far) = (at(DEVICE), at(CPU));
        let plan = near.plus(far);
        let vision = vision(package)?;
        Ok(MemoryPlan {
            context: state.context.unwrap_or(package.config.context_length),
            weights: plan.weight_bytes,
            kv: plan.kv_bytes,
            activations: plan.scratch_bytes,
            vision_weights: vision.weight_bytes,
            vision_activations: vision.peak_buffer_bytes,
            multiply_adds_per_tile: vision.multiply_adds,
            weights_per_token: plan.weight_bytes_per_token,
            kv_per_token: plan.kv_bytes_per_token,
            multiply_adds_per_token: plan.multiply_adds_per_token,
            device: Share::of(&near),
            cpu: Share::of(&far),
        })
    }
}

/// What the vision tower holds, and computes for one tile, as sessions encode them; zeros where there is none.
#[cfg(feature = "std")]
fn vision(package: &Package) -> Result<Tally, Error> {
    let mut device = PlanDevice::new();
    if let Some(config) = package.vision.clone() {
        let mut watch = LoadWatch::default();
        let tower =
            package.with_vision(|source| Vision::load(config, source, &mut device, &mut watch)).lift()?;
        let size = tower.config.image_size;
        let pixels = alloc::vec![0.0; 3 * size * size];
        let tiles = Tiles::from_pixels(&pixels, &tower.config).lift()?;
        tower.encode(&mut device, &tiles, &mut Encode::default()).lift()?;
    }
    Ok(device.tally())
}
