//! Which weights live on the chosen device, and which on the processor.

use crate::LoadOptions;
use crate::error::{Error, Lift};
use crate::package::Package;
use crate::session::state_options;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;
use puna_core::Place;
use puna_llama::LayerPlaces;

/// The chosen device.
pub(crate) const DEVICE: Place = Place(0);
/// The processor beside it.
pub(crate) const CPU: Place = Place(1);

/// Which groups of a model's weights live on the chosen device; the processor has the rest, computes what needs them, and
/// rows of activations go to and fro. Keys and values live with their layer's attention.
///
/// As text, which is what `puna --placement` takes: `gpu` (everything on the device), `cpu` (everything on the processor),
/// `experts=cpu` (routed experts on the processor), `layers=N` (the first N layers on the device), both of these with a
/// comma between, or `auto:SIZE` (what fits into so many bytes of the device's memory; K, M, G and T are powers of 1000).
///
/// ```
/// let placement: puna::Placement = "layers=24,experts=cpu".parse()?;
/// assert_eq!(placement, puna::Placement::first_layers(24).experts_on_cpu());
/// assert_eq!("auto:8G".parse::<puna::Placement>()?, puna::Placement::auto(8_000_000_000));
/// # Ok::<(), puna::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Placement(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Groups { layers: Option<usize>, experts_on_cpu: bool },
    Cpu,
    Auto { bytes: u64, context: Option<usize> },
}

impl Default for Kind {
    fn default() -> Self {
        Kind::Groups { layers: None, experts_on_cpu: false }
    }
}

impl Placement {
    /// Everything on the chosen device.
    #[must_use]
    pub fn device() -> Self {
        Self::default()
    }

    /// Everything on the processor, whatever device is chosen.
    #[must_use]
    pub fn cpu() -> Self {
        Placement(Kind::Cpu)
    }

    /// The first `n` layers on the device, the others, the last norm and the head on the processor. The embedding table,
    /// of which a token reads one row, is on the device with the first layer, if that is. With more than the model has,
    /// the last norm and the head are there too.
    #[must_use]
    pub fn first_layers(n: usize) -> Self {
        Placement(Kind::Groups { layers: Some(n), experts_on_cpu: false })
    }

    /// The same with the routed experts on the processor. The device computes the shared expert meanwhile.
    #[must_use]
    pub fn experts_on_cpu(self) -> Self {
        match self.0 {
            Kind::Groups { layers, .. } => Placement(Kind::Groups { layers, experts_on_cpu: true }),
            Kind::Cpu | Kind::Auto { .. } => self,
        }
    }

    /// As much on the device as fits into `bytes` of its memory: weights, the keys and values of one session with a full
    /// context, and the activations of its batch. What does not fit is, in this order: the embedding table, routed
    /// experts from the last layer on, whole layers from the last on, the head.
    #[must_use]
    pub fn auto(bytes: u64) -> Self {
        Placement(Kind::Auto { bytes, context: None })
    }

    /// For [`auto`](Self::auto), the context to make room for. Default: that of
    /// [`SessionOptions`](crate::SessionOptions).
    #[must_use]
    pub fn context(self, tokens: usize) -> Self {
        match self.0 {
            Kind::Auto { bytes, .. } => Placement(Kind::Auto { bytes, context: Some(tokens) }),
            Kind::Groups { .. } | Kind::Cpu => self,
        }
    }

    /// Whether everything is on the processor without looking at the model.
    pub(crate) fn is_cpu(self) -> bool {
        self.0 == Kind::Cpu
    }

    /// The place of every group of this model.
    pub(crate) fn of(self, package: &Package) -> Result<puna_llama::Placement, Error> {
        let n_layers = package.config.n_layers;
        match self.0 {
            Kind::Cpu => puna_llama::Placement::all(CPU, n_layers).lift(),
            Kind::Groups { layers, experts_on_cpu } => {
                let near = layers.unwrap_or(n_layers);
                let mut all = puna_llama::Placement::all(CPU, n_layers).lift()?;
                for places in all.layers.iter_mut().take(near) {
                    let experts = if experts_on_cpu { CPU } else { DEVICE };
                    *places = LayerPlaces { layer: DEVICE, experts };
                }
                all.embed = if near > 0 { DEVICE } else { CPU };
                all.head = if layers.is_none_or(|n| n > n_layers) { DEVICE } else { CPU };
                Ok(all)
            }
            Kind::Auto { bytes, context } => {
                let session = crate::SessionOptions { context, ..Default::default() };
                let state = state_options(&package.config, &session);
                let fit = |source: &dyn puna_llama::TensorSource| {
                    puna_llama::Placement::fit(&package.config, source, &state, bytes)
                };
                package.tensors.with(fit).lift()
            }
        }
    }
}

impl FromStr for Placement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            let expected = "gpu, cpu, experts=cpu, layers=N, layers=N,experts=cpu or auto:SIZE";
            Error::input(format_args!("placement: expected {expected}, found {text}"))
        };
        match text {
            "gpu" => return Ok(Placement::device()),
            "cpu" => return Ok(Placement::cpu()),
            _ => {}
        }
        if let Some(size) = text.strip_prefix("auto:") {
            return bytes(size).map(Placement::auto).ok_or_else(wrong);
        }
        let (mut layers, mut experts_on_cpu) = (None, false);
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("experts", "cpu")) if !experts_on_cpu => experts_on_cpu = true,
                Some(("layers", n)) if layers.is_none() => layers = Some(n.parse().map_err(|_| wrong())?),
                _ => return Err(wrong()),
            }
        }
        Ok(Placement(Kind::Groups { layers, experts_on_cpu }))
    }
}

/// A size as people write it: `8G`, `500M`, or plain bytes.
fn bytes(text: &str) -> Option<u64> {
    let unit = text.char_indices().next_back().filter(|(_, unit)| !unit.is_ascii_digit());
    let Some((at, unit)) = unit else { return text.parse().ok() };
    let power = "KMGT".find(unit.to_ascii_uppercase())?;
    text.get(..at)?.parse::<u64>().ok()?.checked_mul(1000u64.pow(power as u32 + 1))
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Cpu => f.write_str("cpu"),
            Kind::Auto { bytes, .. } => write!(f, "auto:{bytes}"),
            Kind::Groups { layers: None, experts_on_cpu: false } => f.write_str("gpu"),
            Kind::Groups { layers: None, experts_on_cpu: true } => f.write_str("experts=cpu"),
            Kind::Groups { layers: Some(n), experts_on_cpu: false } => write!(f, "layers={n}"),
            Kind::Groups { layers: Some(n), experts_on_cpu: true } => write!(f, "layers={n},experts=cpu"),
        }
    }
}

/// What is where, for people; `None` where all is in one place.
pub(crate) fn describe(llama: &puna_llama::Llama) -> Option<String> {
    let (placement, n) = (&llama.placement, llama.layers.len());
    if placement.places(n).len() < 2 {
        return None;
    }
    let layers = (0..n).filter(|&i| placement.layer(i).layer == DEVICE).count();
    let routed = llama.layers.iter().enumerate().filter(|(_, kind)| kind.moe);
    let experts = routed.clone().filter(|&(i, _)| placement.layer(i).experts == DEVICE).count();
    let side = |place: Place| if place == DEVICE { "device" } else { "processor" };
    let mut text = format!("on the device: {layers} of {n} layers");
    let routed = routed.count();
    if routed > 0 {
        text += &format!(", the routed experts of {experts} of {routed} layers");
    }
    text += &format!("; embeddings on the {}, head on the {}", side(placement.embed), side(placement.head));
    Some(text)
}

/// The placement and the device that the options come to.
pub(crate) fn chosen(options: &LoadOptions) -> (crate::DeviceKind, Placement) {
    use crate::DeviceKind;
    let placement = options.placement.unwrap_or_default();
    let device = match (options.device, options.placement) {
        _ if placement.is_cpu() => DeviceKind::Cpu,
        (Some(device), _) => device,
        // Who places weights has a GPU in mind.
        (None, Some(_)) => DeviceKind::Gpu(None),
        (None, None) => DeviceKind::default(),
    };
    match device {
        // Both places would be the same.
        DeviceKind::Cpu => (device, Placement::default()),
        _ => (device, placement),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn placements_are_written_as_they_are_read() {
        for text in ["gpu", "cpu", "experts=cpu", "layers=0", "layers=24,experts=cpu", "auto:8000000000"] {
            assert_eq!(text.parse::<Placement>().unwrap().to_string(), text);
        }
        assert_eq!("auto:500m".parse::<Placement>().unwrap(), Placement::auto(500_000_000));
        assert_eq!(
            "experts=cpu,layers=3".parse::<Placement>().unwrap(),
            Placement::first_layers(3).experts_on_cpu()
        );
        for bad in [
            "",
            "gpu,cpu",
            "experts=gpu",
            "layers=",
            "layers=-1",
            "layers=1,layers=2",
            "auto",
            "auto:",
            "auto:8X",
            "auto:99999999999T",
            "experts=cpu,experts=cpu",
        ] {
            bad.parse::<Placement>().unwrap_err();
        }
    }
}
