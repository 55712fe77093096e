//! Real weights: SmolLM2-135M-Instruct against what llama.cpp computes with the same file (`llamacpp.py`).

use puna::{Activations, Cancel, LoadOptions, Message, Model, Sampling, SessionOptions};
use puna_tests::fetched::{fetched, smollm2};
use serde_json::Value;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

fn recorded() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/llamacpp.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn ids(json: &Value) -> Vec<u32> {
    json.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn open(activations: Activations) -> Model {
    Model::open(smollm2(), &LoadOptions::default().activations(activations).threads(2)).unwrap()
}

/// The negative log-likelihood of `next` under these logits.
fn surprise(logits: &[f32], next: u32) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|v| (f64::from(*v) - most).exp()).sum();
    most + sum.ln() - f64::from(logits[next as usize])
}

/// Mean surprise over the second half of the first `most` windows, as `llamacpp.py` has it.
fn perplexity(model: &Model, tokens: &[u32], ctx: usize, most: usize) -> (f64, usize) {
    let mut scores = Vec::new();
    let mut session = model.session(&SessionOptions::default().context(ctx).batch(ctx)).unwrap();
    for window in tokens.chunks_exact(ctx).take(most) {
        let mut window = window.to_vec();
        if let Some(bos) = model.bos() {
            window[0] = bos;
        }
        session.truncate(0);
        let see = |place: usize, logits: &[f32]| {
            if (ctx / 2..ctx - 1).contains(&place) {
                scores.push(surprise(logits, window[place + 1]));
            }
            ControlFlow::Continue(())
        };
        session.score(&window, &Cancel::new(), see).unwrap();
    }
    ((scores.iter().sum::<f64>() / scores.len() as f64).exp(), scores.len())
}

/// Over 100 kB of text: within half a percent, and the windows are the same.
#[test]
fn perplexity_is_llama_cpps() {
    let golden = &recorded()["perplexity"];
    let number = |name: &str| golden[name].as_f64().unwrap();
    let text = fs::read_to_string(fetched("text/genesis.txt")).unwrap();
    let text = &text[..number("bytes") as usize];
    assert!(text.len() >= 100_000 && text.ends_with('\n'));
    let model = open(Activations::Auto);
    let mut tokens: Vec<u32> = model.bos().into_iter().collect();
    tokens.extend(model.encode(text).unwrap());
    assert_eq!(tokens.len(), number("text_tokens") as usize, "tokens of the text");
    let ctx = number("ctx") as usize;
    let (found, n) = perplexity(&model, &tokens, ctx, usize::MAX);
    assert_eq!(n, number("tokens") as usize, "tokens scored");
    let off = found / number("perplexity") - 1.0;
    assert!(
        off.abs() < 0.005,
        "perplexity {found}, llama.cpp's {}: off by {:.2} %",
        number("perplexity"),
        off * 100.0
    );

    // Rounding activations costs next to nothing.
    let (auto, _) = perplexity(&model, &tokens, ctx, 4);
    let (exact, _) = perplexity(&open(Activations::F32), &tokens, ctx, 4);
    assert!((auto / exact - 1.0).abs() < 0.005, "auto {auto}, f32 {exact}");
}

/// The first greedy tokens, with activations as they are and rounded as llama.cpp rounds them.
#[test]
fn greedy_tokens_are_llama_cpps() {
    let golden = recorded();
    for activations in [Activations::Auto, Activations::F32] {
        let model = open(activations);
        for run in golden["greedy"].as_array().unwrap() {
            let prompt = run["prompt"].as_str().unwrap();
            let mut session = model.session(&SessionOptions::default().context(512)).unwrap();
            session.push_text(prompt).unwrap();
            assert_eq!(session.tokens(), ids(&run["tokens"]), "{prompt:?}");
            let expected = ids(&run["greedy"]);
            let generation = session.generate(&Sampling::default()).max_tokens(expected.len()).ignore_end();
            let found: Vec<u32> = generation.map(|token| token.unwrap().id()).collect();
            // Two choices that llama.cpp itself finds nearly equal may come out either way; from there on texts differ.
            let margins = run["margins"].as_array().unwrap();
            let clear = margins.iter().position(|m| m.as_f64().unwrap() < CLEAR).unwrap_or(expected.len());
            let same = found.iter().zip(&expected).take_while(|(a, b)| a == b).count();
            assert!(
                same >= clear,
                "{activations:?} {prompt:?}: {same} tokens agree, of {clear} before llama.cpp's first close choice"
            );
            assert!(same >= 8, "{activations:?} {prompt:?}: only {same} tokens agree");
        }
    }
}

/// Logits closer than this are a tie that the rounding of activations decides.
const CLEAR: f64 = 0.15;

/// It answers what it is asked.
#[test]
fn a_small_model_chats_sensibly() {
    let model = open(Activations::Auto);
    let mut chat = model.session(&SessionOptions::default().context(1024)).unwrap();
    let mut ask = |question: &str| {
        chat.push(&[Message::user(question)]).unwrap();
        chat.generate(&Sampling::default()).max_tokens(60).text().unwrap()
    };
    let answer = ask("What is the capital of France?");
    assert!(answer.contains("Paris"), "{answer:?}");
    let answer = ask("And which river flows through it?");
    assert!(answer.contains("Seine"), "{answer:?}");
}
