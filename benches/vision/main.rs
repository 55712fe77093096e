//! The vision tower at its released size, beside what the processor's multiply units can do in the same run.
//!
//! `cargo bench -p puna-benches --bench vision -- [--weights bf16,q8_0] [--layers 34] [--tiles 1,5] [--threads 1,2]
//! [--rounds 5] [--batch 1]`
//!
//! Each round measures the peaks on as many threads, encodes, and measures the peaks again. A line gives medians of the
//! rounds, and the best of them in brackets: seconds; then, by the seconds of processor time of all threads (as Linux
//! counts them, so that busy neighbours count for less), operations, the peaks, and the share of the peak that was
//! reached. With `--layers` below 34 the adapter's part is larger than it should.
//!
//! `--serve FORMAT` answers lines `THREADS TILES` with the seconds of an encoding and of processor time, for measurements
//! in turns with other programs; `--features FILE` then gets the features of the first, F32 and little-endian.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark reports on the terminal and fails by panicking"
)]

#[path = "../../crates/puna-cpu/examples/roofline/peak.rs"]
#[allow(dead_code, reason = "each program measures the peaks that it needs")]
mod peak;
mod tower;

use puna_core::DType;
use puna_cpu::{CpuDevice, CpuOptions, Threads};
use puna_llama::vision::{Encode, Features};
use puna_llama::{Vision, VisionConfig};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::time::Instant;
use tower::{Tensors, config, operations, tiles};

/// Seconds that a measurement of the peak lasts.
const PEAK: f64 = 0.1;

struct Options {
    weights: Vec<DType>,
    layers: usize,
    tiles: Vec<usize>,
    threads: Vec<usize>,
    rounds: usize,
    batch: Option<usize>,
    serve: bool,
    features: Option<String>,
}

impl Options {
    fn parse() -> Options {
        let mut options = Options {
            weights: vec![DType::BF16, DType::Q8_0],
            layers: 34,
            tiles: vec![1, 5],
            threads: vec![1, puna_benches::threads()],
            rounds: 5,
            batch: None,
            serve: false,
            features: None,
        };
        options.threads.dedup();
        let mut args = std::env::args().skip(1).filter(|a| a != "--bench");
        let numbers = |s: String| s.split(',').map(|n| n.parse().unwrap()).collect::<Vec<usize>>();
        let formats = |s: String| s.split(',').map(|n| DType::from_name(n).unwrap()).collect::<Vec<_>>();
        while let Some(arg) = args.next() {
            let value = args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
            match arg.as_str() {
                "--weights" => options.weights = formats(value),
                "--layers" => options.layers = value.parse().unwrap(),
                "--tiles" => options.tiles = numbers(value),
                "--threads" => options.threads = numbers(value),
                "--rounds" => options.rounds = value.parse().unwrap(),
                "--batch" => options.batch = Some(value.parse().unwrap()),
                "--serve" => (options.weights, options.serve) = (formats(value), true),
                "--features" => options.features = Some(value),
                _ => panic!("no option {arg}"),
            }
        }
        options
    }
}

/// One tower on devices of several numbers of threads.
struct Towers {
    config: VisionConfig,
    batch: Option<usize>,
    tensors: Tensors,
    loaded: BTreeMap<usize, (CpuDevice, Vision)>,
}

impl Towers {
    fn new(options: &Options, dtype: DType) -> Towers {
        let config = config(options.layers);
        let tensors = Tensors::new(&config, dtype);
        Towers { config, batch: options.batch, tensors, loaded: BTreeMap::new() }
    }

    /// Seconds and processor seconds of an encoding of `n` tiles on so many threads.
    fn encode(&mut self, threads: usize, n: usize) -> ([f64; 2], Features) {
        let (device, tower) = self.loaded.entry(threads).or_insert_with(|| {
            let options = CpuOptions { threads: Threads::Count(threads), ..CpuOptions::default() };
            let mut device = CpuDevice::new(options).unwrap();
            let tower = self.tensors.load(&self.config, &mut device);
            (device, tower)
        });
        let tiles = tiles(&self.config, n);
        let (start, used) = (Instant::now(), processor());
        let mut watch = Encode { batch: self.batch, ..Encode::default() };
        let features = tower.encode(device, &tiles, &mut watch).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        ([seconds, used.map_or(seconds, |before| processor().unwrap_or(before) - before)], features)
    }
}

/// Seconds that the living threads of this process have run, where Linux tells.
fn processor() -> Option<f64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let seconds =
        |stat: String| stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).map(|ns| ns / 1e9);
    tasks.map(|t| seconds(std::fs::read_to_string(t.ok()?.path().join("schedstat")).ok()?)).sum()
}

/// Operations a processor second while so many threads do nothing else.
fn peak(threads: usize, burst: impl Fn() -> f64 + Sync) -> f64 {
    let used = || std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let used = || used().and_then(|stat| stat.split(' ').next()?.parse::<f64>().ok()).map(|ns| ns / 1e9);
    let one = || {
        let (start, before, mut done) = (Instant::now(), used(), 0.0);
        while start.elapsed().as_secs_f64() < PEAK {
            done += burst();
        }
        let seconds = start.elapsed().as_secs_f64();
        [done, before.map_or(seconds, |before| used().unwrap_or(before) - before)]
    };
    std::thread::scope(|s| {
        let running: Vec<_> = (0..threads).map(|_| s.spawn(one)).collect();
        let all = running.into_iter().map(|t| t.join().unwrap());
        let [done, seconds] = all.fold([0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
        done / seconds
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure(options: &Options, dtype: DType) {
    let mut towers = Towers::new(options, dtype);
    let (products, attention) = operations(&towers.config);
    let per_tile = products + attention;
    println!(
        "\n{dtype}: {} layers, {:.2} GB of weights, {:.1} GFLOP a tile ({:.1} in attention)",
        options.layers,
        towers.tensors.bytes() as f64 / 1e9,
        per_tile / 1e9,
        attention / 1e9,
    );
    println!(
        "threads  tiles  seconds (best)  a tile   GOP/s   F32 peak      of it (best)  int8 peak      of it (best)"
    );
    for &threads in &options.threads {
        for &n in &options.tiles {
            let (mut times, mut rates) = (vec![], vec![]);
            let (mut peaks, mut shares) = ([vec![], vec![]], [vec![], vec![]]);
            towers.encode(threads, n);
            for _ in 0..options.rounds {
                let before = [
                    peak(threads, peak::float_burst),
                    peak(threads, || peak::byte_burst().unwrap_or(f64::NAN)),
                ];
                let ([seconds, used], _) = towers.encode(threads, n);
                let after = [
                    peak(threads, peak::float_burst),
                    peak(threads, || peak::byte_burst().unwrap_or(f64::NAN)),
                ];
                times.push(seconds);
                let rate = n as f64 * per_tile / used;
                rates.push(rate / 1e9);
                for i in 0..2 {
                    let peak = (before[i] + after[i]) / 2.0;
                    peaks[i].push(peak / 1e9);
                    shares[i].push(100.0 * rate / peak);
                }
            }
            let best = |v: &[f64], f: fn(f64, f64) -> f64| v.iter().copied().reduce(f).unwrap();
            let fastest = best(&times, f64::min);
            let time = median(times);
            print!(
                "{threads:>7} {n:>6} {time:>8.2} {:>7} {:>7.2} | {:>6.1}",
                format!("({fastest:.2})"),
                time / n as f64,
                median(rates)
            );
            for (peaks, shares) in peaks.into_iter().zip(shares) {
                let best = best(&shares, f64::max);
                print!("{:>10.1} {:>9.1}% {:>7}", median(peaks), median(shares), format!("({best:.1})"));
            }
            println!();
        }
    }
}

fn serve(options: &Options) {
    let mut towers = Towers::new(options, options.weights[0]);
    println!("ready");
    let mut features = options.features.as_ref();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let mut numbers = line.split_whitespace().map(|n| n.parse::<usize>().unwrap());
        let (threads, n) = (numbers.next().unwrap(), numbers.next().unwrap());
        let ([seconds, used], encoded) = towers.encode(threads, n);
        if let Some(file) = features.take() {
            let bytes: Vec<u8> = encoded.values().iter().flat_map(|v| v.to_le_bytes()).collect();
            std::fs::write(file, bytes).unwrap();
        }
        println!("{seconds} {used}");
        std::io::stdout().flush().unwrap();
    }
}

fn main() {
    let options = Options::parse();
    if options.serve {
        return serve(&options);
    }
    for &dtype in &options.weights {
        measure(&options, dtype);
    }
}
