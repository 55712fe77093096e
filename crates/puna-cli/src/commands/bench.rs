//! `puna bench`: how fast a model runs here, and how close to what the memory allows.

use crate::args::{BenchArgs, ModelArgs};
use crate::failure::{Failure, Result};
use crate::load::{load_options, session_options};
use crate::output::{self, median, size, table};
use crate::progress::watched;
use puna::{Cancel, Model, OpTime, Sampling, Session};
use serde_json::{Value, json};
use std::time::Instant;

/// What was measured with one number of threads; speeds in tokens a second.
struct Figures {
    threads: usize,
    load_s: f64,
    prefill: f64,
    decode: f64,
    resident: Resident,
    device: String,
    placement: Option<String>,
    /// What the device counted for one decoded token, by name.
    counts: Vec<(&'static str, f64)>,
    /// Where the time of decoding goes, if the device can tell.
    times: Vec<OpTime>,
    kernels: Vec<(String, String)>,
}

/// Memory of this process in bytes, as the system counts it; 0 where it does not say.
#[derive(Clone, Copy, Default)]
struct Resident {
    all: u64,
    /// Without what is shared with files: the program's own.
    private: u64,
}

pub(crate) fn run(args: &BenchArgs, quiet: bool) -> Result<()> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if args.t.is_empty() { vec![args.options.threads.unwrap_or(all)] } else { args.t.clone() };
    if let Some(size) = args.image {
        return super::bench_image::run(args, size, &threads);
    }
    let needed = args.prompt + args.n + 1;
    let options = session_options(&args.options, Some(needed), true);
    let plan = Model::plan(&args.model, &load_options(&args.options), &options)?;
    let mut results = Vec::new();
    for threads in threads {
        if watched(quiet) {
            say(&format!("{threads} threads, {} rounds …", args.rounds));
        }
        results.push(measure(args, threads, needed)?);
    }
    let per_token = plan.weights_per_token;
    if args.json {
        output::json(&as_json(args, per_token, &results))
    } else {
        output::text(&as_text(args, per_token, &results))
    }
}

/// Tokens of the prompt that comes before those which are measured, at most. They choose all experts.
const WARM_UP: usize = 512;

fn measure(args: &BenchArgs, threads: usize, needed: usize) -> Result<Figures> {
    let options = ModelArgs { threads: Some(threads), ..args.options.clone() };
    let clock = Instant::now();
    let model = Model::open(&args.model, &load_options(&options))?;
    let load_s = clock.elapsed().as_secs_f64();
    let info = model.info();
    let vocab = info.vocab as u64;
    // Any tokens do; these go all over the vocabulary and choose different experts.
    let id = |i: usize| ((i as u64).wrapping_mul(2_654_435_761) >> 7) % vocab.max(1);
    let prompt: Vec<u32> = (0..args.prompt).map(|i| id(i + 1) as u32).collect();
    let mut session = model.session(&session_options(&options, Some(needed), true))?;
    let (mut prefill, mut decode, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    let cancel = Cancel::new();
    // The round before the first brings the weights into memory, which no long prompt is needed for.
    for round in 0..=args.rounds {
        session.truncate(0);
        session.push_tokens(if round > 0 { &prompt } else { &prompt[..args.prompt.min(WARM_UP)] })?;
        let clock = Instant::now();
        session.prefill(&cancel)?;
        let mut answer = session.generate(&Sampling::default()).max_tokens(args.n + 1).ignore_end();
        // The first token needs no step of its own: the prompt's logits choose it. A GPU is done when it is there.
        answer.next().transpose()?;
        let prefill_s = clock.elapsed().as_secs_f64();
        let before = answer.counters();
        let clock = Instant::now();
        for _ in 0..args.n {
            if answer.next().transpose()?.is_none() {
                return Err(Failure::new("the generation ended early: expected a larger --context"));
            }
        }
        let decode_s = clock.elapsed().as_secs_f64();
        counts = per_token(&before, &answer.counters(), args.n);
        if round > 0 {
            prefill.push(args.prompt as f64 / prefill_s);
            decode.push(args.n as f64 / decode_s);
        }
    }
    let times = profile(&mut session, args.n)?;
    Ok(Figures {
        threads,
        load_s,
        prefill: median(&mut prefill),
        decode: median(&mut decode),
        resident: resident(),
        device: info.device.clone(),
        placement: info.placement.clone(),
        counts,
        times,
        kernels: info.kernels.clone(),
    })
}

/// How long each kernel takes while `n` more tokens are decoded, one by one: a round of its own, since that is slower.
fn profile(session: &mut Session, n: usize) -> Result<Vec<OpTime>> {
    session.truncate(session.tokens().len().saturating_sub(n));
    let mut answer = session.generate(&Sampling::default()).max_tokens(1).ignore_end();
    answer.next().transpose()?;
    drop(answer);
    if !session.profile(true)? {
        return Ok(Vec::new());
    }
    for token in session.generate(&Sampling::default()).max_tokens(n).ignore_end() {
        token?;
    }
    let times = session.times()?;
    session.profile(false)?;
    Ok(times)
}

/// What a device counted between two moments, for each of `n` tokens.
fn per_token(
    before: &[(&'static str, u64)],
    after: &[(&'static str, u64)],
    n: usize,
) -> Vec<(&'static str, f64)> {
    let count = |&(name, now): &(&'static str, u64)| {
        let then = before.iter().find(|(known, _)| *known == name).map_or(0, |(_, then)| *then);
        (name, now.saturating_sub(then) as f64 / n.max(1) as f64)
    };
    after.iter().map(count).collect()
}

/// From Linux's `/proc`; nothing elsewhere.
fn resident() -> Resident {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kb = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kb.unwrap_or(0) * 1024
    };
    Resident { all: field("VmRSS:"), private: field("RssAnon:") }
}

/// Weight bytes that decoding reads a second, in GB.
fn bandwidth(per_token: u64, decode: f64) -> f64 {
    per_token as f64 * decode / 1e9
}

fn as_json(args: &BenchArgs, per_token: u64, results: &[Figures]) -> Value {
    let one = |f: &Figures| {
        json!({
            "threads": f.threads,
            "prefill_tokens_per_s": f.prefill,
            "decode_tokens_per_s": f.decode,
            "weight_gb_per_s": bandwidth(per_token, f.decode),
            "load_s": f.load_s,
            "resident_bytes": f.resident.all,
            "private_bytes": f.resident.private,
            "device": f.device,
            "placement": f.placement,
            "times": f.times.iter().map(time_json).collect::<Vec<_>>(),
            "per_token": f.counts.iter().map(|(n, c)| (n.to_string(), json!(c))).collect::<serde_json::Map<_, _>>(),
            "kernels": f.kernels.iter().map(|(t, k)| (t.clone(), json!(k))).collect::<serde_json::Map<_, _>>(),
        })
    };
    json!({
        "model": args.model.display().to_string(),
        "prompt_tokens": args.prompt,
        "decode_tokens": args.n,
        "rounds": args.rounds,
        "weight_bytes_per_token": per_token,
        "results": results.iter().map(one).collect::<Vec<_>>(),
    })
}

fn time_json(t: &OpTime) -> Value {
    json!({ "op": t.op, "kernel": t.kernel, "runs": t.runs, "seconds": t.time.as_secs_f64() })
}

fn as_text(args: &BenchArgs, per_token: u64, results: &[Figures]) -> String {
    let head = ["threads", "prefill", "decode", "weights read", "load", "resident", "private"];
    let mut rows = vec![head.map(String::from).to_vec()];
    rows.extend(results.iter().map(|f| {
        vec![
            f.threads.to_string(),
            format!("{:.1} tok/s", f.prefill),
            format!("{:.1} tok/s", f.decode),
            format!("{:.2} GB/s", bandwidth(per_token, f.decode)),
            format!("{:.2} s", f.load_s),
            size(f.resident.all),
            size(f.resident.private),
        ]
    }));
    let rounds = args.rounds;
    let mut out = format!(
        "{}: prompt {}, decode {}, medians of {rounds} rounds\n",
        args.model.display(),
        args.prompt,
        args.n
    );
    out += &format!("{} of weights are read for each decoded token\n\n{}", size(per_token), table(&rows));
    if let Some(last) = results.last() {
        out += &format!("\n{}\n", last.device);
        if let Some(placement) = &last.placement {
            out += &format!("{placement}\n");
        }
        if !last.counts.is_empty() {
            let counts =
                last.counts.iter().map(|(name, count)| vec![name.to_string(), format!("{count:.1}")]);
            out += &format!("for each decoded token\n{}", table(&counts.collect::<Vec<_>>()));
        }
        if !last.times.is_empty() {
            let ms = |t: &OpTime| format!("{:.3} ms", t.time.as_secs_f64() * 1e3 / args.n as f64);
            let times = last.times.iter().map(|t| {
                vec![t.op.clone(), t.kernel.clone(), format!("{:.1}", t.runs as f64 / args.n as f64), ms(t)]
            });
            out += "kernels, runs and time for each decoded token, measured apart\n";
            out += &table(&times.collect::<Vec<_>>());
        }
        out += &table(&last.kernels.iter().map(|(t, k)| vec![t.clone(), k.clone()]).collect::<Vec<_>>());
    }
    out
}

fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
