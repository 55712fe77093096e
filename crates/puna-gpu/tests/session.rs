//! Sessions on the GPU: the work of a token, choosing it there, and a device that is lost in between.
//!
//! These tests need an adapter (a software Vulkan such as Mesa's lavapipe will do) and fail where there is none.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and say what they saw")]

use puna_core::{Buf, Device, DeviceError, DeviceInfo, Elem, Op, Place, Region, Rows, Weight};
use puna_gpu::interop::{self, wgpu};
use puna_gpu::{GpuDevice, Options, Tier};
use puna_testkit::Loaded;
use puna_testkit::compare::argmax;
use puna_testkit::goldens::{Golden, Rounding};
use std::sync::{Arc, Mutex};

/// A GPU that the test looks into while a session works on it: what should be a fork is the device itself.
#[derive(Clone)]
struct Shared(Arc<Mutex<GpuDevice>>);

impl Device for Shared {
    fn info(&self) -> DeviceInfo {
        self.0.lock().unwrap().info()
    }

    fn far(&self, buf: Buf) -> bool {
        self.0.lock().unwrap().far(buf)
    }

    fn load(&mut self, region: &Region) -> Result<Weight, DeviceError> {
        self.0.lock().unwrap().load(region)
    }

    fn load_together(
        &mut self,
        place: Place,
        regions: &[Region],
        step: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<Weight>, DeviceError> {
        self.0.lock().unwrap().load_together(place, regions, step)
    }

    fn alloc(&mut self, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        self.0.lock().unwrap().alloc(elem, len)
    }

    fn free(&mut self, buf: Buf) {
        self.0.lock().unwrap().free(buf);
    }

    fn write(&mut self, to: Buf, at: usize, values: &[f32]) -> Result<(), DeviceError> {
        self.0.lock().unwrap().write(to, at, values)
    }

    fn issue(&mut self, op: &Op<'_>) -> Result<(), DeviceError> {
        self.0.lock().unwrap().issue(op)
    }

    fn read(&mut self, from: &Rows, into: &mut [f32]) -> Result<(), DeviceError> {
        self.0.lock().unwrap().read(from, into)
    }

    fn fork(&self) -> Result<Box<dyn Device>, DeviceError> {
        Ok(Box::new(self.clone()))
    }
}

#[test]
fn a_token_is_one_submit_and_one_small_read() {
    // A tier for GPUs: software drivers take a dispatch for every 256 KiB of weights.
    let gpu = Arc::new(Mutex::new(GpuDevice::open(&Options::new().tier(Tier::Shared)).unwrap()));
    let golden = Golden::load("scout");
    let model = Loaded::gguf(&golden.gguf(Rounding::F32), Box::new(Shared(gpu.clone())));
    let layers = model.model().layers.len() as u64;
    let (mut by_top, mut whole) = (model.session(), model.session());
    let mut space = [0.0; 514];
    let mut next = argmax(whole.feed(&golden.prompt, None).unwrap());
    by_top.feed(&golden.prompt, None).unwrap();
    for step in 0..8 {
        whole.feed_with(&[next], &mut puna_testkit::last()).unwrap();
        let row = whole.logits(None).unwrap();
        let expected = argmax(row);

        let before = gpu.lock().unwrap().counts();
        by_top.feed_with(&[next], &mut puna_testkit::last()).unwrap();
        let top = by_top.top(1, None, &mut space).unwrap().unwrap();
        assert_eq!(top.iter().next().unwrap().0, expected);
        let counts = gpu.lock().unwrap().counts();
        assert_eq!((counts.submits - before.submits, counts.reads - before.reads), (1, 1));
        let dispatches = counts.dispatches - before.dispatches;
        if step == 0 {
            println!("{dispatches} dispatches for a token of {layers} layers");
        }
        // Embedding, last norm, head and choice; no layer takes more than 11 where matrices are not joined.
        assert!(dispatches <= 11 * layers + 4, "{dispatches}");
        // The whole row is there still.
        assert_eq!(argmax(by_top.logits(None).unwrap()), expected);
        next = expected;
    }
}

/// The device goes in the middle of an answer: a typed error, at every later call too; and the model opens again.
#[test]
fn a_device_lost_in_the_middle_of_an_answer() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default())).unwrap();
    let gpu = interop::from_wgpu(&adapter, device.clone(), queue, &Options::new()).unwrap();
    let golden = Golden::load("scout");
    let file = golden.gguf(Rounding::F32);
    let model = Loaded::gguf(&file, Box::new(gpu));
    let mut session = model.session();
    let mut tokens = vec![argmax(session.feed(&golden.prompt, None).unwrap())];
    for _ in 0..3 {
        tokens.push(argmax(session.decode(tokens[tokens.len() - 1]).unwrap()));
    }
    device.destroy();
    for _ in 0..2 {
        let error = session.decode(tokens[3]).unwrap_err().to_string();
        assert!(error.contains("device lost"), "{error}");
    }
    assert!(session.fork().is_err());
    drop((session, model));
    let again = Loaded::gguf(&file, Box::new(GpuDevice::open(&Options::new()).unwrap()));
    assert_eq!(again.greedy(&golden.prompt, 4), tokens);
}
