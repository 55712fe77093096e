//! A static library without std that opens a model and generates with it, as firmware or a kernel would.
//!
//! It has its own panic handler. rustc refuses a second one (E0152), so this builds only while nothing below links std.
//! `cargo xtask nostd` builds it, and checks that feature `std` makes it fail.
#![no_std]

extern crate alloc;

use alloc::boxed::Box;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::error::Error;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};
use puna::{LoadOptions, Model, Sampling, SessionOptions};
use puna_core::{DType, Device, Mat, RefDevice, Region};
use puna_format::{Limits, gguf::Gguf};
use puna_text::{StreamDecoder, chat::Message};

const HEAP: usize = 64 << 20;

/// Hands out its memory once and takes nothing back.
struct Bump {
    memory: UnsafeCell<[u8; HEAP]>,
    used: AtomicUsize,
}

// SAFETY: bytes of `memory` are reached only through blocks that `alloc` hands out, no two of which overlap.
unsafe impl Sync for Bump {}

// SAFETY: a block lies inside `memory`, begins at a multiple of its alignment, and begins after the end of every block
// handed out before, because `used` only grows and is changed in one atomic step.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.memory.get().cast::<u8>();
        let claim = |used: usize| {
            let start = (base.addr() + used).next_multiple_of(layout.align()) - base.addr();
            start.checked_add(layout.size()).filter(|&end| end <= HEAP)
        };
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim) {
            Ok(used) => {
                let start = (base.addr() + used).next_multiple_of(layout.align()) - base.addr();
                // SAFETY: `claim` found `start + size` within the memory.
                unsafe { base.add(start) }
            }
            Err(_) => core::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static HEAP_MEMORY: Bump = Bump { memory: UnsafeCell::new([0; HEAP]), used: AtomicUsize::new(0) };

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Generates eight tokens after a prompt with a small model held in memory; their sum, or -1.
#[unsafe(no_mangle)]
pub extern "C" fn puna_nostd_generate() -> i64 {
    generate().unwrap_or(-1)
}

fn generate() -> Result<i64, Box<dyn Error>> {
    let model = Model::from_bytes(puna::tiny::gguf(7)?, &LoadOptions::default())?;
    let mut session = model.session(&SessionOptions::default())?;
    session.push_tokens(&[1, 2, 3])?;
    let mut sum = 0;
    for token in session.generate(&Sampling::default()).max_tokens(8).ignore_end() {
        sum += i64::from(token?.id());
    }
    Ok(sum)
}

/// Calls into each crate below the façade; the number of things that did not answer as they should.
#[unsafe(no_mangle)]
pub extern "C" fn puna_nostd_crates() -> i64 {
    let core = || -> Result<bool, Box<dyn Error>> {
        let weight = RefDevice::new().load(&Region::from_vec(alloc::vec![0; 64]))?;
        Ok(Mat::plain(weight, DType::F32, 4, 4).end() == Some(64))
    };
    let cpu = || -> Result<bool, Box<dyn Error>> {
        let device = puna_cpu::CpuDevice::new(puna_cpu::CpuOptions::default())?;
        Ok(!device.info().name.is_empty())
    };
    let format =
        || -> Result<bool, Box<dyn Error>> { Ok(Gguf::read(&b"GGUF"[..], &Limits::default()).is_err()) };
    let text = || -> Result<bool, Box<dyn Error>> {
        Ok(StreamDecoder::default().push(b"hi") == "hi" && Message::user("hi").text() == "hi")
    };
    let llama = || -> Result<bool, Box<dyn Error>> {
        let mut sampler = puna_llama::sample::Sampler::new(&Sampling::default(), 3)?;
        Ok(sampler.sample(&mut [0.0, 2.0, 1.0], &[])?.id == 1)
    };
    let checks: [&dyn Fn() -> Result<bool, Box<dyn Error>>; 5] = [&core, &cpu, &format, &text, &llama];
    checks.iter().filter(|check| !matches!(check(), Ok(true))).count() as i64
}
