//! A model's weights on their way to a device.

use crate::error::{Error, Lift};
use crate::package::{Package, Watch, formats};
use crate::placement::{CPU, DEVICE, describe};
use crate::{DeviceKind, ErrorKind, LoadOptions, ModelInfo, Phase, Placement, VisionInfo, device};
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::Cell;
use puna_core::{Composite, DType, Device, PlanDevice};
use puna_llama::weights::LoadProgress;
use puna_llama::{Llama, LoadWatch, TensorSource, Vision};

/// A model whose weights are on devices.
pub(crate) struct Loaded {
    pub(crate) llama: Llama,
    pub(crate) vision: Option<Vision>,
    pub(crate) device: Box<dyn Device>,
}

impl ErrorKind {
    /// Whether another device might do what this one did not.
    pub(crate) fn is_of_device(self) -> bool {
        use ErrorKind::{Device, DeviceRefused, NoDevice, OutOfMemory, Unsupported, WeakDevice};
        matches!(self, Device | DeviceRefused | NoDevice | OutOfMemory | Unsupported | WeakDevice)
    }
}

impl Loaded {
    /// Opens the device and brings the weights to it, and some to the processor if the placement says so.
    pub(crate) fn new(
        package: &Package,
        kind: DeviceKind,
        placement: Placement,
        options: &LoadOptions,
    ) -> Result<Loaded, Error> {
        let watch = Watch::new(options);
        let placement = placement.of(package)?;
        let places = placement.places(package.config.n_layers);
        if !places.contains(&DEVICE) {
            // Nothing fits: no device is opened for that.
            return Self::new(package, DeviceKind::Cpu, Placement::default(), options);
        }
        let opened = device::open(kind, options)?;
        let mut device = opened.device;
        if let DeviceKind::Gpu(_) = kind {
            check_formats(package, &placement, &*device)?;
        }
        if places.contains(&CPU) {
            let both = [device, device::open(DeviceKind::Cpu, options)?.device];
            device = Box::new(Composite::new(Vec::from(both)).lift()?);
        }
        let total = package.list().iter().map(|tensor| tensor.bytes).sum::<u64>();
        let text = Cell::new(0);
        let tell = |bytes: u64| watch.tell(Phase::Weights, bytes.min(total), total);
        let mut progress = |p: LoadProgress| {
            text.set(p.bytes);
            tell(p.bytes);
        };
        let mut listen = LoadWatch { cancel: Some(&watch.cancel), progress: Some(&mut progress) };
        let config = package.config.clone();
        let load = |source: &dyn TensorSource| {
            Llama::load_placed(config, source, &mut *device, &placement, &mut listen)
        };
        let llama = package.tensors.with(load).lift()?;
        let mut progress = |p: LoadProgress| tell(text.get().saturating_add(p.bytes));
        let mut listen = LoadWatch { cancel: Some(&watch.cancel), progress: Some(&mut progress) };
        let vision = package.vision.clone().map(|config| {
            package.with_vision(|source| Vision::load(config, source, &mut *device, &mut listen)).lift()
        });
        let vision = vision.transpose()?;
        tell(total);
        #[cfg(feature = "gpu")]
        if let Some(compiler) = &opened.compiler {
            device::compile(compiler, (&llama, vision.as_ref()), options, &watch)?;
        }
        Ok(Loaded { llama, vision, device })
    }

    /// What there is to tell of it.
    pub(crate) fn info(&self, package: &Package) -> ModelInfo {
        let formats = formats(&package.list());
        let device = self.device.info();
        let used =
            |kernel: &(DType, &str)| formats.iter().any(|f| f.format.eq_ignore_ascii_case(kernel.0.name()));
        let config = &self.llama.config;
        ModelInfo {
            name: package.name.clone(),
            architecture: config.architecture.name().to_string(),
            layers: config.n_layers,
            hidden: config.hidden,
            heads: config.n_heads,
            kv_heads: config.n_kv_heads,
            vocab: config.vocab_size,
            context: config.context_length,
            experts: config.n_experts,
            chunk: self.llama.layers.chunk().and_then(|n| usize::try_from(n).ok()),
            device: device.name,
            placement: describe(&self.llama),
            fallback: None,
            kernels: device
                .kernels
                .iter()
                .filter(|k| used(k))
                .map(|(t, k)| (t.name().to_string(), k.to_string()))
                .collect(),
            weight_bytes: formats.iter().map(|f| f.bytes).sum(),
            formats,
            #[cfg(feature = "tokenizer")]
            has_tokenizer: package.tokenizer.is_some(),
            #[cfg(not(feature = "tokenizer"))]
            has_tokenizer: false,
            vision: self.vision.as_ref().map(|vision| VisionInfo::new(&vision.config)),
            has_template: package.template.is_some(),
        }
    }
}

/// Refuses a model with weights in formats that the device has no kernels for now, and not at its first token.
fn check_formats(
    package: &Package,
    placement: &puna_llama::Placement,
    device: &dyn Device,
) -> Result<(), Error> {
    let info = device.info();
    let (config, watch) = (package.config.clone(), &mut LoadWatch::default());
    let load = |source: &dyn TensorSource| {
        Llama::load_placed(config, source, &mut PlanDevice::new(), placement, watch)
    };
    let llama = package.tensors.with(load).lift()?;
    let mut here = llama.mats().filter(|(place, _)| *place == DEVICE).map(|(_, mat)| mat.dtype);
    match here.find(|t| info.kernels.iter().all(|(known, _)| known != t)) {
        Some(format) => {
            Err(Error::unsupported(format_args!("{}: no kernels for weights in {format}", info.name)))
        }
        None => Ok(()),
    }
}
