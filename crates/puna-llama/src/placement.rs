//! Which weights live at which place of a device, and what fits where.
//!
//! An op runs where its weights live, and keys and values live with their layer's attention. The forward pass moves rows
//! where two neighbours are apart: the residual stream between layers, and, for routed experts that live elsewhere,
//! their input and their sum.

use crate::error::with_capacity;
use crate::forward::{Llama, StateOptions};
use crate::weights::{Ffn, LoadWatch, TensorSource};
use crate::{Config, Result};
use alloc::vec::Vec;
use puna_core::{Mat, Place, PlanDevice};

/// The place of every group of weights. Everything is at place 0 until something else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The embedding table. Where it is tied to the head, it lives with the head.
    pub embed: Place,
    /// The last norm and the head.
    pub head: Place,
    /// Layers in order; those that are missing are at place 0.
    pub layers: Vec<LayerPlaces>,
}

/// The places of one layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerPlaces {
    /// Norms, attention, dense network or shared expert.
    pub layer: Place,
    /// Router and routed experts, if it has them.
    pub experts: Place,
}

impl Placement {
    /// Everything at one place.
    ///
    /// # Errors
    /// Out of memory.
    pub fn all(place: Place, n_layers: usize) -> Result<Placement> {
        let mut layers = with_capacity(n_layers)?;
        layers.resize(n_layers, LayerPlaces { layer: place, experts: place });
        Ok(Placement { embed: place, head: place, layers })
    }

    /// The places of a layer.
    pub fn layer(&self, i: usize) -> LayerPlaces {
        self.layers.get(i).copied().unwrap_or_default()
    }

    /// All places in use by a model of so many layers, each once, in order.
    pub fn places(&self, n_layers: usize) -> Vec<Place> {
        let layers = (0..n_layers).flat_map(|i| [self.layer(i).layer, self.layer(i).experts]);
        let mut all: Vec<Place> = [self.embed, self.head].into_iter().chain(layers).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What is kept at place 0 and what goes to place 1, so that weights, a session's keys and values, and its activations
    /// take at most `budget` bytes at place 0.
    ///
    /// Given up are, as far as needed and in this order: the embedding table, of which a token reads one row; routed
    /// experts, of which it reads few, from the last layer on; whole layers from the last on; the head.
    ///
    /// # Errors
    /// All that [`Llama::load`] and [`State::new`](crate::State::new) would refuse.
    pub fn fit(
        config: &Config,
        tensors: &dyn TensorSource,
        options: &StateOptions,
        budget: u64,
    ) -> Result<Placement> {
        let n = config.n_layers;
        // Every group at a place of its own, to be weighed.
        let mut apart = Placement::all(Place(0), n)?;
        apart.head = Place(1);
        for (i, places) in (1u16..).zip(&mut apart.layers) {
            *places = LayerPlaces { layer: Place(2 * i), experts: Place(2 * i + 1) };
        }
        let mut device = PlanDevice::new();
        let watch = &mut LoadWatch::default();
        let llama = Llama::load_placed(config.clone(), tensors, &mut device, &apart, watch)?;
        let weighed = llama.plan(&mut device, options)?;
        let bytes = |place: Place| {
            let found = weighed.iter().find(|(at, _)| *at == place);
            found.map_or(0, |(_, plan)| plan.weight_bytes.saturating_add(plan.kv_bytes))
        };
        // The activations of all groups at one place.
        let mut device = PlanDevice::new();
        let together =
            Llama::load_placed(config.clone(), tensors, &mut device, &Placement::default(), watch)?;
        let mut whole = crate::Plan::default();
        for (_, plan) in together.plan(&mut device, options)? {
            whole = whole.plus(plan);
        }
        let activations = whole.scratch_bytes;

        let mut placement = Placement::all(Place(0), n)?;
        if whole.weight_bytes.saturating_add(whole.kv_bytes).saturating_add(activations) <= budget {
            return Ok(placement);
        }
        let mut held =
            weighed.iter().map(|(place, _)| bytes(*place)).sum::<u64>().saturating_add(activations);
        let mut give_up = |place: Place, to: &mut Place| {
            if held > budget && bytes(place) > 0 {
                held = held.saturating_sub(bytes(place));
                *to = Place(1);
            }
        };
        // A tied table goes with the head.
        if llama.placement.embed != llama.placement.head {
            give_up(apart.embed, &mut placement.embed);
        }
        for (to, from) in placement.layers.iter_mut().zip(&apart.layers).rev() {
            give_up(from.experts, &mut to.experts);
        }
        for (to, from) in placement.layers.iter_mut().zip(&apart.layers).rev() {
            give_up(from.layer, &mut to.layer);
        }
        give_up(apart.head, &mut placement.head);
        // A layer without experts has them where it is.
        for (to, from) in placement.layers.iter_mut().zip(&apart.layers) {
            if bytes(from.experts) == 0 {
                to.experts = to.layer;
            }
        }
        // Where not even the activations fit, nothing stays; a layer alone is no use either.
        if held > budget {
            return Placement::all(Place(1), n);
        }
        Ok(placement)
    }
}

impl Llama {
    /// Every weight matrix with its place.
    pub fn mats(&self) -> impl Iterator<Item = (Place, &Mat)> {
        let layers = self.weights.layers.iter().enumerate().flat_map(|(i, w)| {
            let LayerPlaces { layer, experts } = self.placement.layer(i);
            let attention = [&w.q.w, &w.k.w, &w.v.w, &w.o.w];
            let (dense, moe) = match &w.ffn {
                Ffn::Dense(dense) => (dense, None),
                Ffn::Moe(moe) => (&moe.shared, Some(moe)),
            };
            let near = attention.into_iter().chain([&dense.gate, &dense.up, &dense.down]);
            let routed = moe.into_iter().flat_map(|moe| {
                let experts = moe.experts().iter().flat_map(|e| [&e.gate, &e.up, &e.down]);
                core::iter::once(&moe.router).chain(experts)
            });
            near.map(move |mat| (layer, mat)).chain(routed.map(move |mat| (experts, mat)))
        });
        let ends = [(self.placement.embed, &self.weights.embed), (self.placement.head, &self.weights.head)];
        ends.into_iter().chain(layers)
    }
}
