//! Choosing experts.

use super::{check_mat, expect};
use crate::{Buf, DeviceError, Mat, Rows};

/// Where the choices of a router are: for row `r` and rank `j`, element `r * top_k + j` of both buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picks {
    /// Expert indices, [`Elem::U32`](crate::Elem::U32).
    pub ids: Buf,
    /// Sigmoid of the chosen logits, [`Elem::F32`](crate::Elem::F32).
    pub scores: Buf,
    /// Experts per row.
    pub top_k: usize,
}

impl Picks {
    /// Writes the pick of one row that is not the router's, if there is one (see [`Route::always`]), and gives those that
    /// are.
    pub fn of_router<'a>(
        always: Option<u32>,
        ids: &'a mut [u32],
        scores: &'a mut [f32],
    ) -> (&'a mut [u32], &'a mut [f32]) {
        let Some(always) = always else { return (ids, scores) };
        match (ids.split_last_mut(), scores.split_last_mut()) {
            (Some((id, ids)), Some((score, scores))) => {
                (*id, *score) = (always, 1.0);
                (ids, scores)
            }
            _ => (&mut [], &mut []),
        }
    }
}

/// The `top_k` experts with the largest router logits `x[r]·router[e]`, with the sigmoid of those logits as scores.
///
/// The largest comes first, and of equal logits the lowest index; NaN counts as minus infinity. No renormalisation.
/// With `always`, the router chooses one less, and the last pick of every row is that expert with a score of 1: a shared
/// expert, which the router does not know.
/// The product is always computed from F32 activations: a flipped choice is not a rounding error.
#[derive(Clone, Debug)]
pub struct Route<'a> {
    /// `[n, hidden]`.
    pub x: Rows,
    /// `hidden` to `n_experts`.
    pub router: &'a Mat,
    /// The last pick of every row, if it is not the router's.
    pub always: Option<u32>,
    /// Where the choices go.
    pub picks: Picks,
}

impl Route<'_> {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "Route";
        check_mat(OP, self.router)?;
        expect(OP, "router inputs", self.router.n_in, self.x.width)?;
        let given = usize::from(self.always.is_some());
        if self.picks.top_k <= given || self.picks.top_k - given > self.router.n_out {
            let limit = (self.router.n_out + given) as u64 + 1;
            return Err(DeviceError::Range { op: OP, what: "top_k", limit, found: self.picks.top_k as u64 });
        }
        Ok(())
    }
}
