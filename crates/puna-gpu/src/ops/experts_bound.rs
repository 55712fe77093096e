//! Which experts' matrices can be bound together.

use crate::context::Context;
use crate::weights::{Place, Weights};
use puna_core::{DeviceError, Expert, Mat, Vector};
use std::sync::Arc;

/// The same rows of the same one or two matrices of several experts, close enough in a buffer to be bound together.
pub(super) struct Group {
    /// One matrix, or gate and up, of the first member.
    pub(super) mats: Vec<Mat>,
    /// What to bind of each.
    pub(super) places: Vec<Place>,
    /// For each expert of the layer, where it is; none if it is not in the group.
    pub(super) members: Vec<Option<Member>>,
    /// First element of all members' factors, and the end of the last.
    pub(super) scales: Option<(usize, usize)>,
}

/// An expert of a group.
#[derive(Clone, Copy)]
pub(super) struct Member {
    /// First bytes in the buffers.
    pub(super) starts: [u64; 2],
    /// The first element of its factors in their region.
    pub(super) scale: usize,
}

impl Member {
    fn new(mats: &[Mat], places: &[Place]) -> Self {
        let start = |i: usize| places.get(i).map_or(0, |p| p.start);
        let scale = mats.first().and_then(|m| m.scale).map_or(0, |v| v.offset);
        Member { starts: [start(0), start(1)], scale }
    }
}

impl Group {
    /// All members' factors, if they have any.
    pub(super) fn factors(&self) -> Option<Vector> {
        let (from, to) = self.scales?;
        let scale = self.mats.first()?.scale?;
        Some(Vector { weight: scale.weight, offset: from, len: to - from })
    }

    /// Takes in the rows of one more expert, or says that they cannot be bound with the others.
    fn admit(&mut self, e: usize, mats: &[Mat], places: &[Place], limit: u64) -> bool {
        if self.members[e].is_some() {
            return false;
        }
        let mut joined = self.places.clone();
        for ((ours, mat), (joined, place)) in self.mats.iter().zip(mats).zip(joined.iter_mut().zip(places)) {
            let same = mat.weight == ours.weight
                && mat.dtype == ours.dtype
                && mat.stride == ours.stride
                && mat.layout == ours.layout
                && mat.scale.map(|v| v.weight) == ours.scale.map(|v| v.weight)
                && (place.piece, place.first, place.rows) == (joined.piece, joined.first, joined.rows);
            joined.start = joined.start.min(place.start);
            joined.end = joined.end.max(place.end);
            if !same || joined.end - joined.start > limit {
                return false;
            }
        }
        let scales = match (self.scales, mats.first().and_then(|m| m.scale)) {
            (None, None) => None,
            (Some((from, to)), Some(v)) => Some((from.min(v.offset), to.max(v.offset + v.len))),
            _ => return false,
        };
        if scales.is_some_and(|(from, to)| ((to - from) as u64) * 4 > limit) {
            return false;
        }
        self.places = joined;
        self.members[e] = Some(Member::new(mats, places));
        self.scales = scales;
        true
    }
}

/// One or two of the experts' matrices in as few groups as bindings allow, in the order of their rows.
pub(super) fn groups(
    ctx: &Context,
    weights: &[Arc<Weights>],
    op: &'static str,
    experts: &[Expert],
    of: &dyn Fn(&Expert) -> Vec<Mat>,
) -> Result<Vec<Group>, DeviceError> {
    let limit = ctx.max_binding - ctx.align;
    let mut groups: Vec<Group> = Vec::new();
    for (e, expert) in experts.iter().enumerate() {
        let mats = of(expert);
        let rows = mats.first().map_or(0, |m| m.stored().0);
        let mut first = 0;
        while first < rows {
            let mut places = Vec::with_capacity(2);
            for mat in &mats {
                let weights = weights.get(mat.weight.0 as usize);
                let weights = weights.ok_or(DeviceError::Handle { op, what: "weight" })?;
                places.push(weights.place(ctx, op, mat, first)?);
            }
            let held = places.iter().map(|p| p.rows).min().unwrap_or(rows);
            for (place, mat) in places.iter_mut().zip(&mats) {
                place.end -= ((place.rows - held) * mat.stride) as u64;
                place.rows = held;
            }
            first += held;
            if groups.iter_mut().rev().any(|g| g.admit(e, &mats, &places, limit)) {
                continue;
            }
            let mut members = vec![None; experts.len()];
            members[e] = Some(Member::new(&mats, &places));
            let scale = mats.first().and_then(|m| m.scale);
            let scales = scale.map(|v| (v.offset, v.offset + v.len));
            groups.push(Group { mats: mats.clone(), places, members, scales });
        }
    }
    Ok(groups)
}
