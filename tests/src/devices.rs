//! Every device that this machine has, in every way it can be opened.

#[path = "../../crates/puna-cpu/tests/isas/mod.rs"]
mod isas;

use isas::isas;
use puna_core::{Device, RefDevice};
use puna_cpu::device::Threads;
use puna_cpu::matmul::Activations;
use puna_cpu::{CpuDevice, CpuOptions};

/// A device under test.
pub struct Candidate {
    /// What it is, for messages.
    pub label: String,
    /// Devices of one family must give the same bits: they differ only in the number of threads.
    pub family: String,
    /// Whether it may round activations.
    pub activations: Activations,
    /// The device, holding nothing.
    pub device: Box<dyn Device>,
}

/// All of them, the reference first. A kind of device that is missing here is not in the list.
pub fn devices() -> Vec<Candidate> {
    let mut all = vec![Candidate {
        label: "reference".into(),
        family: "reference".into(),
        activations: Activations::F32,
        device: Box::new(RefDevice::new()),
    }];
    for isa in isas() {
        for activations in [Activations::F32, Activations::Auto] {
            let family = format!("cpu {} {activations:?}", isa.name());
            for threads in 1..=3 {
                let options = CpuOptions { threads: Threads::Count(threads), isa: Some(isa), activations };
                all.push(Candidate {
                    label: format!("{family} threads {threads}"),
                    family: family.clone(),
                    activations,
                    device: Box::new(CpuDevice::new(options).unwrap()),
                });
            }
        }
    }
    all
}
