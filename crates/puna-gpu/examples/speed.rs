//! Tokens a second of a GGUF model on the GPU, and where the time goes.
//!
//! ```sh
//! cargo run --release -p puna-gpu --example speed -- target/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
//! ```
//! With `--ops`, every op is waited for and its time added up by name: slower in all, but it tells the ops apart.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement may stop by panicking")]
#![allow(clippy::print_stdout, reason = "what it is for")]

use puna_core::{Buf, Device, DeviceError, DeviceInfo, Elem, Op, Region, Rows, Weight};
use puna_gpu::{GpuDevice, Options};
use puna_testkit::Loaded;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

type Times = Arc<Mutex<BTreeMap<String, (u32, Duration)>>>;

/// A device that waits for every op and adds up its time.
struct Timed {
    inner: Box<dyn Device>,
    times: Times,
    /// One F32 to wait by.
    probe: Option<Buf>,
}

impl Device for Timed {
    fn info(&self) -> DeviceInfo {
        self.inner.info()
    }
    fn load(&mut self, region: &Region) -> Result<Weight, DeviceError> {
        self.inner.load(region)
    }
    fn alloc(&mut self, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        self.inner.alloc(elem, len)
    }
    fn free(&mut self, buf: Buf) {
        self.inner.free(buf);
    }
    fn write(&mut self, to: Buf, at: usize, values: &[f32]) -> Result<(), DeviceError> {
        self.inner.write(to, at, values)
    }
    fn issue(&mut self, op: &Op<'_>) -> Result<(), DeviceError> {
        let probe = match self.probe {
            Some(probe) => probe,
            None => *self.probe.insert(self.inner.alloc(Elem::F32, 1)?),
        };
        let start = Instant::now();
        self.inner.issue(op)?;
        self.inner.read(&Rows::new(probe, 1, 1), &mut [0.0])?;
        let name = match op {
            Op::MatMul(op) => format!("MatMul {} {}x{}", op.w.dtype, op.w.n_out, op.w.n_in),
            op => op.name().to_string(),
        };
        let mut times = self.times.lock().expect("no panic while it is held");
        let (count, time) = times.entry(name).or_default();
        (*count, *time) = (*count + 1, *time + start.elapsed());
        Ok(())
    }
    fn read(&mut self, from: &Rows, into: &mut [f32]) -> Result<(), DeviceError> {
        self.inner.read(from, into)
    }
    fn fork(&self) -> Result<Box<dyn Device>, DeviceError> {
        Ok(Box::new(Timed { inner: self.inner.fork()?, times: self.times.clone(), probe: None }))
    }
}

fn main() {
    let mut path = String::from("target/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
    let (mut ops, mut prompt, mut decode) = (false, 128, 16);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|v| v.parse().ok()).expect("a number");
        match arg.as_str() {
            "--ops" => ops = true,
            "-p" => prompt = number(),
            "-n" => decode = number(),
            _ => path = arg,
        }
    }
    let times = Times::default();
    let gpu = GpuDevice::open(&Options::new()).expect("a GPU");
    println!("{}", gpu.info().name);
    let device: Box<dyn Device> = match ops {
        true => Box::new(Timed { inner: Box::new(gpu), times: times.clone(), probe: None }),
        false => Box::new(gpu),
    };
    let model = Loaded::gguf(&std::fs::read(&path).expect("the model file"), device);
    let vocab = model.model().config.vocab_size as u32;
    let tokens: Vec<u32> = (0..prompt).map(|i: u32| (i * 7919 + 11) % vocab).collect();

    let report = |phase: &str, tokens: u32, start: Instant| {
        let time = start.elapsed();
        println!("{phase}: {tokens} tokens, {:.2} tokens/s", f64::from(tokens) / time.as_secs_f64());
        let mut times = times.lock().expect("no panic while it is held");
        let mut all: Vec<_> = std::mem::take(&mut *times).into_iter().collect();
        all.sort_by_key(|(_, (_, time))| std::cmp::Reverse(*time));
        for (name, (count, time)) in all {
            println!("  {:8.1} ms {count:6} {name}", time.as_secs_f64() * 1e3);
        }
    };
    // Kernels are compiled at first use.
    let mut session = model.session();
    session.feed(&tokens, None).expect("a prefill");
    session.decode(1).expect("a step");
    times.lock().expect("no panic while it is held").clear();

    let mut session = model.session();
    let start = Instant::now();
    session.feed(&tokens, None).expect("a prefill");
    report("prefill", prompt, start);
    let start = Instant::now();
    for i in 0..decode {
        session.decode(i % vocab).expect("a step");
    }
    report("decode", decode, start);
}
