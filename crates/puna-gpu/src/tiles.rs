//! What products of many rows are multiplied in, in the tiers for GPUs.

use crate::tier::{self, narrow_test};
use crate::{GpuDevice, OpenError, Options};
use puna_core::DeviceError;
use puna_shaders::quant::Format;
use puna_shaders::{Narrow, Tier};

/// What products of three rows or more are multiplied in, in the tiers for GPUs. All sums over a row are F32. Fewer rows, F32
/// weights and routers, whose choice must not depend on rounding, are always multiplied in F32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tiles {
    /// F32.
    F32,
    /// Packed 8-bit integers where weights are of a block format, else F32: activations are rounded to a 127th of the largest
    /// of 32.
    Packed,
    /// 16-bit floats: a row of activations is scaled by a power of two, weights and activations are rounded to 11 bits, and so
    /// is each sum of four products. Weights beyond 65,504 are infinite there.
    Half,
    /// Cooperative matrices of 16-bit floats, rounded in the same way, with sums in F32. Only on a device that an application
    /// brought and opened with wgpu's experimental feature for them: see [`interop`](crate::interop).
    Matrix,
}

impl Tiles {
    /// The most exact first.
    const NARROW: [Tiles; 3] = [Tiles::Half, Tiles::Matrix, Tiles::Packed];

    fn name(self) -> &'static str {
        match self {
            Tiles::F32 => "f32",
            Tiles::Packed => "packed",
            Tiles::Half => "half",
            Tiles::Matrix => "matrix",
        }
    }
}

/// What a device multiplies tiles in: by weights of block formats, and by others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) blocks: Option<Narrow>,
    pub(crate) plain: Option<Narrow>,
}

impl Choice {
    /// What a matrix of this format is multiplied in; F32 if `None`.
    pub(crate) fn of(self, format: Format, tier: Tier) -> Option<Narrow> {
        let how = if format.plain { self.plain } else { self.blocks };
        how.filter(|how| tier.shared() && how.takes(format))
    }
}

/// The kernels' name for it, if the device can do it.
fn narrow(device: &GpuDevice, tiles: Tiles) -> Result<Option<Narrow>, String> {
    let ctx = device.context();
    match tiles {
        Tiles::F32 => Ok(None),
        _ if !ctx.tier.shared() => Err(format!("not in the tier {}", ctx.tier.name())),
        Tiles::Packed => Ok(Some(Narrow::Packed)),
        Tiles::Half if !ctx.half => Err(String::from("the adapter has no 16-bit floats")),
        Tiles::Half => Ok(Some(Narrow::Half)),
        Tiles::Matrix => {
            let lacks = "the device was not opened with cooperative matrices of 16-bit floats";
            ctx.matrix.map(|matrix| Some(matrix.how)).ok_or_else(|| String::from(lacks))
        }
    }
}

/// What a device multiplies tiles in by block formats and by others, and what it does not, and why.
pub(crate) struct Chosen {
    pub(crate) blocks: Tiles,
    pub(crate) plain: Tiles,
    pub(crate) passed_over: Vec<(Tiles, String)>,
}

impl Chosen {
    pub(crate) fn new(blocks: Tiles, plain: Tiles) -> Self {
        Chosen { blocks, plain, passed_over: Vec::new() }
    }
}

/// Finds out what a device multiplies tiles in: what is asked for, or what the race says of what gives the right results.
pub(crate) fn choose(device: &mut GpuDevice, options: &Options) -> Result<Chosen, OpenError> {
    if let Some(asked) = options.tiles {
        let tried = |why: String| OpenError::NoTier { tried: format!("{}: {why}", asked.name()) };
        let how = narrow(device, asked).map_err(tried)?;
        if let Some(how) = how {
            device.set_tiles(Choice { blocks: Some(how), plain: Some(how) });
            narrow_test(device, how).map_err(tried)?;
        }
        let plain = if asked == Tiles::Packed { Tiles::F32 } else { asked };
        return Ok(Chosen::new(asked, plain));
    }
    if !options.race.unwrap_or(!device.software()) {
        let why =
            if options.race.is_some() { "not raced" } else { "not raced: the driver computes on a CPU" };
        let passed_over = Tiles::NARROW.map(|tiles| (tiles, why.into())).into();
        return Ok(Chosen { passed_over, ..Chosen::new(Tiles::F32, Tiles::F32) });
    }
    race(device)
}

/// What is not at least by this much faster than what rounds less is not worth its rounding.
const FASTER: f64 = 0.9;

fn race(device: &mut GpuDevice) -> Result<Chosen, OpenError> {
    let failed = |e: DeviceError| OpenError::NoTier { tried: format!("f32: {e}") };
    device.set_tiles(Choice::default());
    let f32 = tier::time(device).map_err(failed)?;
    // What wins so far, for block formats and for others. Plain weights go by the same product of a block format: what differs
    // is how weights are unpacked.
    let mut winners = [(Tiles::F32, None, f32); 2];
    let mut passed_over = Vec::new();
    let mut times = Vec::new();
    for tiles in Tiles::NARROW {
        let timed = narrow(device, tiles).and_then(|how| {
            device.set_tiles(Choice { blocks: how, plain: how });
            how.map_or(Ok(()), |how| narrow_test(device, how))?;
            tier::time(device).map(|time| (how, time)).map_err(|e| e.to_string())
        });
        match timed {
            Ok((how, time)) => {
                times.push((tiles, time));
                let takes = |i: usize| i == 0 || tiles != Tiles::Packed;
                for (_, winner) in winners.iter_mut().enumerate().filter(|(i, _)| takes(*i)) {
                    if time <= winner.2.mul_f64(FASTER) {
                        *winner = (tiles, how, time);
                    }
                }
            }
            Err(why) => passed_over.push((tiles, why)),
        }
    }
    // One that failed may have taken the device with it.
    device.context().check().map_err(|e| OpenError::NoTier { tried: e.to_string() })?;
    let [(blocks, of_blocks, best), (plain, of_plain, _)] = winners;
    device.set_tiles(Choice { blocks: of_blocks, plain: of_plain });
    for (tiles, time) in times.into_iter().filter(|(tiles, _)| *tiles != blocks && *tiles != plain) {
        passed_over
            .push((tiles, format!("a small product took {time:.1?}, in {} {best:.1?}", blocks.name())));
    }
    Ok(Chosen { blocks, plain, passed_over })
}
