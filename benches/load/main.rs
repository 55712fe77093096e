//! What opening a model costs: warm and cold, its tokenizer, the first token, and the memory it then holds.
//!
//! `cargo bench -p puna-benches --bench load -- FILE [--threads 2] [--rounds 5] [--prompt "The sky"]`
//!
//! FILE is a GGUF file (`cargo xtask synth` makes one of true dimensions) or a vocabulary alone (`tokenizer.model`,
//! `tokenizer.json`), of which only the tokenizer is measured. Every round is a process of its own. Warm: the file is in
//! the page cache. Cold: its pages are dropped first (`posix_fadvise`), which needs Linux and a file on a disk. With
//! `--once` one warm round runs in this process and prints its numbers, in seconds and bytes.
//!
//! Bytes needed are the pages of the file that are mapped when the first token is there (`RssFile`; the kernel maps what
//! lies around a page along with it); bytes fetched are what the disk gave (`/proc/self/io`), read-ahead included. The time
//! that reading takes is measured in the same round: as many bytes as were needed, from the front of the file, cold.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark reports on the terminal and fails by panicking"
)]

use puna::{LoadOptions, Model, Sampling, SessionOptions};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

struct Options {
    file: PathBuf,
    threads: usize,
    rounds: usize,
    prompt: String,
    /// Measure once, in this process, and print numbers for the parent.
    once: bool,
}

impl Options {
    fn parse() -> Options {
        let mut options = Options {
            file: puna_benches::smollm2().unwrap_or_default(),
            threads: puna_benches::threads(),
            rounds: 5,
            prompt: "The sky is blue because".into(),
            once: false,
        };
        let mut args = std::env::args().skip(1).filter(|a| a != "--bench");
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
            match arg.as_str() {
                "--threads" => options.threads = value().parse().unwrap(),
                "--rounds" => options.rounds = value().parse().unwrap(),
                "--prompt" => options.prompt = value(),
                "--once" => options.once = true,
                _ if arg.starts_with("--") => panic!("no option {arg}"),
                _ => options.file = arg.into(),
            }
        }
        options
    }
}

/// A number of this process, in bytes: `RssAnon` of `status`, `read_bytes` of `io`.
fn own(file: &str, key: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let mut words = line.unwrap_or_default().split_whitespace();
    let number: f64 = words.next().and_then(|n| n.parse().ok()).unwrap_or(f64::NAN);
    if words.next() == Some("kB") { number * 1024.0 } else { number }
}

/// Opens the model, encodes, and computes one token. Prints name and number of each figure.
fn once(options: &Options) {
    let start = Instant::now();
    let seconds = |since: Instant| since.elapsed().as_secs_f64();
    let (anon, fetched) = (own("status", "RssAnon"), own("io", "read_bytes"));
    let model = Model::open(&options.file, &LoadOptions::default().threads(options.threads).read_ahead(true))
        .unwrap();
    println!("load {}", seconds(start));
    println!("load_anon {}", own("status", "RssAnon") - anon);
    let encoding = Instant::now();
    let tokens = model.encode(&options.prompt).unwrap();
    println!("tokenizer {}", seconds(encoding));
    println!("tokenizer_anon {}", own("status", "RssAnon") - anon);
    let prompt = model.bos().into_iter().chain(tokens).collect::<Vec<_>>();
    let mut session = model.session(&SessionOptions::default().context(4096)).unwrap();
    session.push_tokens(&prompt).unwrap();
    session.generate(&Sampling::default()).ignore_end().next().unwrap().unwrap();
    println!("first {}", seconds(start));
    println!("weights {}", own("status", "RssFile"));
    println!("fetched {}", own("io", "read_bytes") - fetched);
    session.generate(&Sampling::default()).ignore_end().max_tokens(8).for_each(|t| drop(t.unwrap()));
    println!("anon {}", own("status", "RssAnon") - anon);
    println!("kv {}", session.kv_bytes());
    let batch: Vec<u32> = prompt.iter().copied().cycle().take(512).collect();
    session.push_tokens(&batch).unwrap();
    session.generate(&Sampling::default()).ignore_end().next().unwrap().unwrap();
    println!("batch_anon {}", own("status", "RssAnon") - anon);
    println!("batch_kv {}", session.kv_bytes());
    println!("peak {}", own("status", "VmHWM"));
}

/// Runs [`once`] in a new process.
fn child(options: &Options) -> BTreeMap<String, f64> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(&options.file).args(["--once", "--prompt", &options.prompt]);
    let output = command.args(["--threads", &options.threads.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let pair = |line: &str| line.split_once(' ').map(|(k, v)| (k.to_owned(), v.parse().unwrap()));
    text.lines().filter_map(pair).collect()
}

/// Takes the file out of the page cache; what is not on the disk yet is written first.
fn drop_cache(path: &Path) {
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    #[cfg(target_os = "linux")]
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

/// Seconds that reading the first `bytes` bytes takes.
fn read(path: &Path, bytes: u64) -> f64 {
    let start = Instant::now();
    let mut buffer = vec![0; 8 << 20];
    let mut file = File::open(path).unwrap().take(bytes);
    while file.read(&mut buffer).unwrap() > 0 {}
    start.elapsed().as_secs_f64()
}

fn median(rounds: &[BTreeMap<String, f64>], key: &str) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(|round| round[key]).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A vocabulary without a model.
fn vocabulary(options: &Options) {
    let (mut opened, mut ready) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let start = Instant::now();
        let tokenizer = puna::internal::tokenizer(&options.file).unwrap();
        opened.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        tokenizer.prepare().unwrap();
        ready.push(start.elapsed().as_secs_f64());
    }
    for (what, mut times) in [("read", opened), ("ready to encode after that", ready)] {
        times.sort_by(f64::total_cmp);
        println!(
            "{what}: {:.0} ms ({:.0} to {:.0})",
            times[times.len() / 2] * 1e3,
            times[0] * 1e3,
            times[times.len() - 1] * 1e3
        );
    }
}

fn main() {
    let options = Options::parse();
    if options.once {
        return once(&options);
    }
    let size = std::fs::metadata(&options.file).unwrap().len();
    println!(
        "{}: {:.2} GB, {} threads, {} rounds",
        options.file.display(),
        size as f64 / 1e9,
        options.threads,
        options.rounds
    );
    if options.file.extension().is_none_or(|e| e != "gguf") {
        return vocabulary(&options);
    }
    let (mut warm, mut cold) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        drop_cache(&options.file);
        let mut round = child(&options);
        drop_cache(&options.file);
        let needed = round["weights"].min(size as f64);
        round.insert("read".into(), read(&options.file, needed as u64));
        round.insert("ratio".into(), round["first"] / round["read"]);
        cold.push(round);
        read(&options.file, size);
        warm.push(child(&options));
    }
    let ms = |rounds, key| median(rounds, key) * 1e3;
    let mb = |rounds, key| median(rounds, key) / 1048576.0;
    println!(
        "warm: load {:.0} ms, tokenizer ready {:.0} ms later, first token {:.0} ms after the start",
        ms(&warm, "load"),
        ms(&warm, "tokenizer"),
        ms(&warm, "first")
    );
    println!(
        "cold: load {:.0} ms, first token {:.0} ms; {:.0} MiB needed, {:.0} fetched; reading as many as are needed {:.0} ms, ratio {:.2}",
        ms(&cold, "load"),
        ms(&cold, "first"),
        mb(&cold, "weights"),
        mb(&cold, "fetched"),
        ms(&cold, "read"),
        median(&cold, "ratio")
    );
    let own = |key| mb(&warm, key);
    println!(
        "memory of its own without keys and values, MiB: loaded {:.1}, tokenizer ready {:.1}, 8 tokens later {:.1}, after a batch of 512 {:.1}",
        own("load_anon"),
        own("tokenizer_anon"),
        own("anon") - own("kv"),
        own("batch_anon") - own("batch_kv")
    );
}
