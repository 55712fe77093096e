//! The samplers against naive twins, and their distribution against softmax.
#![allow(clippy::unwrap_used, reason = "a failed assumption in a test should stop it")]

extern crate std;

use super::{Rng, *};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec;
use proptest::prelude::*;

/// Ids that `options` choose among, found by many draws at a temperature that makes all of them about equally likely.
fn reachable(options: Sampling, logits: &[f32]) -> BTreeSet<u32> {
    let mut sampler = Sampler::new(&options.temperature(1e9), logits.len()).unwrap();
    (0..60 * logits.len()).map(|_| sampler.sample(&mut logits.to_vec(), &[]).unwrap().id).collect()
}

fn greedy(options: &Sampling, logits: &[f32], history: &[u32]) -> Result<u32, SampleError> {
    Sampler::new(options, logits.len())?.sample(&mut logits.to_vec(), history).map(|sampled| sampled.id)
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&l| f64::from(l - max).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|w| w / total).collect()
}

/// The shortest prefix of `ids` that holds `share` of the probability.
fn prefix(ids: &[usize], p: &[f64], share: f32) -> BTreeSet<u32> {
    let mut mass = 0.0;
    let mut kept = BTreeSet::new();
    for &id in ids {
        kept.insert(id as u32);
        mass += p[id];
        if mass >= f64::from(share) {
            break;
        }
    }
    kept
}

fn ids_by(n: usize, key: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..n).collect();
    ids.sort_by(|&a, &b| key(a).total_cmp(&key(b)).then(a.cmp(&b)));
    ids
}

/// Distinct logits in no order: sets then do not hang on the last bit of a probability.
fn scattered(n: usize, spread: f32) -> Vec<f32> {
    (0..n).map(|i| ((i * 37 + 11) % n) as f32 / n as f32 * spread - 1.0).collect()
}

#[test]
fn generator_is_xoshiro256_plus_plus() {
    // First outputs for seed 0, from the authors' C code.
    let mut rng = Rng::new(0);
    assert_eq!(rng.next_u64(), 0x53175d61490b23df);
    assert_eq!(rng.next_u64(), 0x61da6f3dc380d507);
    let mut rng = Rng::new(7);
    assert!((0..10_000).all(|_| (0.0..1.0).contains(&rng.uniform())));
}

#[test]
fn plain_temperature_draws_from_softmax() {
    let logits = [1.0f32, -2.0, 0.5, 3.0, 2.5, f32::NEG_INFINITY, 0.0, 1.5];
    for (temperature, seed) in [(1.0f32, 1), (0.6, 2), (2.0, 3)] {
        let scaled: Vec<f32> = logits.iter().map(|l| l / temperature).collect();
        let p = softmax(&scaled);
        let mut sampler = Sampler::new(&Sampling::default().temperature(temperature).seed(seed), 8).unwrap();
        let n = 40_000;
        let mut seen = [0u32; 8];
        for _ in 0..n {
            seen[sampler.sample(&mut logits.to_vec(), &[]).unwrap().id as usize] += 1;
        }
        assert_eq!(seen[5], 0, "a banned token was drawn");
        let chi_square: f64 = (0..8)
            .filter(|&i| i != 5)
            .map(|i| (f64::from(seen[i]) - p[i] * f64::from(n)).powi(2) / (p[i] * f64::from(n)))
            .sum();
        // Six degrees of freedom: 22.46 is exceeded once in a thousand.
        assert!(chi_square < 22.46, "chi square {chi_square} at temperature {temperature}");
    }
}

#[test]
fn truncated_draws_keep_their_proportions() {
    let logits = [2.0f32, 1.0, 0.0, -1.0];
    let options = Sampling::default().temperature(1.0).top_k(2).seed(5);
    let mut sampler = Sampler::new(&options, 4).unwrap();
    let first = (0..20_000).filter(|_| sampler.sample(&mut logits.to_vec(), &[]).unwrap().id == 0).count();
    let expected = 1.0 / (1.0 + (-1.0f64).exp());
    assert!((first as f64 / 20_000.0 - expected).abs() < 0.01, "{first} of 20000, expected {expected}");
}

#[test]
fn same_seed_same_tokens() {
    let options = Sampling::default().temperature(0.9).top_p(0.95).seed(42);
    let draw = |options: &Sampling| {
        let mut sampler = Sampler::new(options, 50).unwrap();
        (0..50).map(|_| sampler.sample(&mut scattered(50, 4.0), &[]).unwrap().id).collect::<Vec<_>>()
    };
    assert_eq!(draw(&options), draw(&options));
    assert_ne!(draw(&options), draw(&options.clone().seed(43)));
    let mut sampler = Sampler::new(&options, 50).unwrap();
    sampler.sample(&mut scattered(50, 4.0), &[]).unwrap();
    let mut twin = sampler.clone();
    for _ in 0..20 {
        let logits = scattered(50, 4.0);
        assert_eq!(sampler.sample(&mut logits.clone(), &[]), twin.sample(&mut logits.clone(), &[]));
    }
}

#[test]
fn greedy_takes_the_first_of_the_largest() {
    for n in [1, 2, 15, 16, 17, 40, 100] {
        for at in 0..n {
            let mut logits = vec![0.5; n];
            logits[at..].fill(2.0);
            assert_eq!(greedy(&Sampling::default(), &logits, &[]), Ok(at as u32));
        }
    }
    // A tiny temperature does the same without dividing by zero.
    assert_eq!(reachable_at(f32::from_bits(1), &[1.0, 3.0, 2.9]), BTreeSet::from([1]));
}

fn reachable_at(temperature: f32, logits: &[f32]) -> BTreeSet<u32> {
    let mut sampler = Sampler::new(&Sampling::default().temperature(temperature), logits.len()).unwrap();
    (0..100).map(|_| sampler.sample(&mut logits.to_vec(), &[]).unwrap().id).collect()
}

#[test]
fn damaged_logits_are_errors() {
    for options in [
        Sampling::default(),
        Sampling::default().temperature(1.0),
        Sampling::default().temperature(1.0).top_k(3),
    ] {
        for bad in [f32::NAN, f32::INFINITY, -f32::NAN] {
            for at in [0, 7, 16, 39] {
                let mut logits = scattered(40, 3.0);
                logits[at] = bad;
                match greedy(&options, &logits, &[]) {
                    Err(SampleError::NotFinite { id, found }) => {
                        assert_eq!((id as usize, found.to_bits()), (at, bad.to_bits()));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        let banned = options.clone().logit_bias((0..3).map(|id| (id, f32::NEG_INFINITY)).collect());
        assert_eq!(greedy(&banned, &[1.0, 2.0, 3.0], &[]), Err(SampleError::NothingLeft));
        assert_eq!(greedy(&options, &[f32::NEG_INFINITY; 20], &[]), Err(SampleError::NothingLeft));
    }
    let mut sampler = Sampler::new(&Sampling::default(), 3).unwrap();
    assert_eq!(sampler.sample(&mut [0.0; 2], &[]), Err(SampleError::Length { expected: 3, found: 2 }));
    // And the sampler is still usable.
    assert_eq!(sampler.sample(&mut [0.0, 1.0, 0.0], &[]).unwrap().id, 1);
}

#[test]
fn options_out_of_range_are_errors() {
    let d = Sampling::default;
    let wrong = [
        (d().temperature(-1.0), "temperature"),
        (d().temperature(f32::NAN), "temperature"),
        (d().top_p(1.5), "top_p"),
        (d().min_p(-0.1), "min_p"),
        (d().typical_p(f32::NAN), "typical_p"),
        (d().repetition_penalty(0.0), "repetition_penalty"),
        (d().frequency_penalty(f32::INFINITY), "frequency_penalty"),
        (d().presence_penalty(f32::NAN), "presence_penalty"),
        (d().dry(Dry::new(-1.0)), "dry.multiplier"),
        (d().dry(Dry::new(1.0).base(f32::NAN)), "dry.base"),
        (d().logit_bias(vec![(0, f32::INFINITY)]), "logit_bias"),
    ];
    for (options, wanted) in wrong {
        match Sampler::new(&options, 4) {
            Err(SampleError::Option { name, .. }) => assert_eq!(name, wanted),
            other => panic!("{wanted}: {other:?}"),
        }
    }
    let error = Sampler::new(&d().logit_bias(vec![(4, 1.0)]), 4).unwrap_err();
    assert_eq!(error, SampleError::TokenId { id: 4, vocab: 4 });
}

#[test]
fn bias_and_penalties_move_the_choice() {
    let logits = [1.0, 2.0, 3.0, -0.5];
    let d = Sampling::default;
    assert_eq!(greedy(&d().logit_bias(vec![(0, 5.0)]), &logits, &[]), Ok(0));
    assert_eq!(greedy(&d().logit_bias(vec![(2, f32::NEG_INFINITY)]), &logits, &[]), Ok(1));
    assert_eq!(greedy(&d().repetition_penalty(2.0), &logits, &[2]), Ok(1)); // 3 / 2
    assert_eq!(greedy(&d().presence_penalty(1.5), &logits, &[2, 2, 2]), Ok(1)); // 3 - 1.5, once
    assert_eq!(greedy(&d().frequency_penalty(0.4), &logits, &[2, 2]), Ok(2)); // 3 - 0.8
    assert_eq!(greedy(&d().frequency_penalty(0.4), &logits, &[2, 2, 2]), Ok(1)); // 3 - 1.2
    // Outside the window nothing is penalised; ids past the vocabulary are no concern of the sampler.
    assert_eq!(greedy(&d().presence_penalty(9.0).penalty_last_n(1), &logits, &[2, 77]), Ok(2));
    // A banned token stays banned, whatever the penalties.
    let banned = d().logit_bias(vec![(2, f32::NEG_INFINITY)]).frequency_penalty(-9.0).dry(Dry::new(1.0));
    assert_ne!(greedy(&banned, &logits, &[2, 2, 2, 2]), Ok(2));
}

#[test]
fn dry_breaks_a_loop() {
    let d = || Sampling::default().dry(Dry::new(1.0).base(2.0));
    let logits = [0.0, 0.0, 0.0, 1.5];
    // 1 2 3 came before and 1 2 is here again: 3 costs 1 * 2^0.
    assert_eq!(greedy(&d(), &logits, &[1, 2, 3, 0, 1, 2]), Ok(3));
    // One token longer: 2^1.
    assert_eq!(greedy(&d(), &logits, &[0, 1, 2, 3, 0, 1, 2]), Ok(0));
    // A breaker inside cuts the repeat.
    let cut = Sampling::default().dry(Dry::new(1.0).base(2.0).breakers([1]));
    assert_eq!(greedy(&cut, &logits, &[0, 1, 2, 3, 0, 1, 2]), Ok(3));
}

#[test]
fn logprobs_are_those_of_the_model() {
    let logits = scattered(100, 6.0);
    let p = softmax(&logits);
    let order = ids_by(100, |id| -p[id]);
    let options = Sampling::default().temperature(1.5).top_k(5).repetition_penalty(1.7).logprobs(4).seed(9);
    let mut sampler = Sampler::new(&options, 100).unwrap();
    for _ in 0..20 {
        let sampled = sampler.sample(&mut logits.clone(), &[order[0] as u32]).unwrap();
        let expected = p[sampled.id as usize].ln();
        assert!((f64::from(sampled.logprob.unwrap()) - expected).abs() < 1e-5);
        let top: Vec<_> = sampler.top_logprobs().collect();
        assert_eq!(top.len(), 4);
        for (rank, (id, logprob)) in top.into_iter().enumerate() {
            assert_eq!(id as usize, order[rank]);
            assert!((f64::from(logprob) - p[id as usize].ln()).abs() < 1e-5);
        }
    }
    let mut without = Sampler::new(&Sampling::default(), 100).unwrap();
    assert_eq!(without.sample(&mut logits.clone(), &[]).unwrap().logprob, None);
    assert_eq!(without.top_logprobs().len(), 0);
}

#[test]
fn top_k_of_a_large_vocabulary_equals_a_sort() {
    for k in [1, 3, 40, 63, 64, 500, 4999, 5000, 9000] {
        // Many ties.
        let logits: Vec<f32> = (0..5000).map(|i| ((i * 7919) % 613) as f32 / 100.0).collect();
        let expected: Vec<usize> = ids_by(5000, |id| -f64::from(logits[id])).into_iter().take(k).collect();
        let mut top = reserved(chain::top_space(k, 5000)).unwrap();
        let space = top.capacity();
        chain::keep_top(&logits, k, &mut top);
        assert_eq!(top.iter().map(|c| c.id as usize).collect::<Vec<_>>(), expected, "k {k}");
        assert_eq!(top.capacity(), space, "k {k} has allocated");
    }
}

#[test]
fn stop_strings_hold_back_no_more_than_needed() {
    let mut stop = StopStrings::new(["\nUser:", ""]);
    assert_eq!(stop.push("Hello\n").text, "Hello");
    assert_eq!(stop.push("U").text, "");
    assert_eq!(stop.push("nder").text, "\nUnder");
    assert_eq!(stop.push("\nUser").text, "");
    let last = stop.push(": Hi");
    assert_eq!((last.text, last.hit), ("", Some(0)));
    assert_eq!(stop.push("more"), Passed { text: "", hit: Some(0) });
    assert_eq!(stop.finish().text, "");
    stop.reset();
    assert_eq!(stop.push("a\nUs").text, "a");
    assert_eq!(stop.finish(), Passed { text: "\nUs", hit: None });
    // Whole characters only, although 'é' and 'è' begin with the same byte.
    let mut stop = StopStrings::new(["é!"]);
    assert_eq!(stop.push("è").text, "è");
    assert_eq!(stop.push("é").text, "");
    assert_eq!(stop.push("é!").text, "é");
}

/// DRY by its definition: tries every length at every place.
fn naive_dry(options: &Dry, logits: &[f32], history: &[u32]) -> Vec<f32> {
    let window = &history[history.len().saturating_sub(options.last_n)..];
    let mut longest = BTreeMap::<u32, usize>::new();
    for n in options.allowed_length.max(1)..window.len() {
        let tail = &window[window.len() - n..];
        if tail.iter().any(|id| options.breakers.contains(id)) {
            break;
        }
        for start in 0..window.len() - n {
            if window[start..start + n] == *tail {
                let longest = longest.entry(window[start + n]).or_default();
                *longest = n.max(*longest);
            }
        }
    }
    let mut logits = logits.to_vec();
    for (id, n) in longest {
        let exponent = (n - options.allowed_length.max(1)) as f32;
        logits[id as usize] =
            (logits[id as usize] - options.multiplier * libm::powf(options.base, exponent)).max(f32::MIN);
    }
    logits
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn truncation_equals_sorting_everything(n in 2usize..24, spread in 0.5f32..8.0, p in 0.02f32..0.99) {
        let logits = scattered(n, spread);
        let probability = softmax(&logits);
        let likely = ids_by(n, |id| -probability[id]);
        let d = Sampling::default;

        prop_assert_eq!(reachable(d().top_p(p), &logits), prefix(&likely, &probability, p));
        let floor = f64::from(p) * probability[likely[0]];
        let above = (0..n as u32).filter(|&id| probability[id as usize] >= floor).collect();
        prop_assert_eq!(reachable(d().min_p(p), &logits), above);
        let entropy: f64 = -probability.iter().map(|p| p * p.ln()).sum::<f64>();
        let typical = ids_by(n, |id| (-probability[id].ln() - entropy).abs());
        prop_assert_eq!(reachable(d().typical_p(p), &logits), prefix(&typical, &probability, p));
    }

    #[test]
    fn later_steps_see_what_is_left(k in 1usize..12, p in 0.05f32..0.95) {
        let logits = scattered(20, 3.0);
        let all = softmax(&logits);
        let kept: Vec<usize> = ids_by(20, |id| -all[id]).into_iter().take(k).collect();
        let mut left = vec![0.0; 20];
        let total: f64 = kept.iter().map(|&id| all[id]).sum();
        kept.iter().for_each(|&id| left[id] = all[id] / total);
        prop_assert_eq!(reachable(Sampling::default().top_k(k).top_p(p), &logits), prefix(&kept, &left, p));
    }

    #[test]
    fn dry_equals_its_definition(
        history in prop::collection::vec(0u32..4, 0..60),
        allowed_length in 0usize..5,
        last_n in 1usize..70,
        breakers in prop::collection::vec(0u32..5, 0..2),
    ) {
        let options = Dry::new(0.8).base(1.3).allowed_length(allowed_length).last_n(last_n).breakers(breakers);
        let logits = [0.25, -1.0, 2.0, 0.5, 0.0];
        let mut found = logits;
        DryPenalty::new(Some(&options), 5).unwrap().unwrap().apply(&mut found, &history).unwrap();
        prop_assert_eq!(found.to_vec(), naive_dry(&options, &logits, &history));
    }

    #[test]
    fn stop_strings_do_not_depend_on_the_pieces(
        text in "[abcé]{0,24}",
        stops in prop::collection::vec("[abcé]{1,4}", 0..4),
        cuts in prop::collection::vec(0usize..24, 0..6),
    ) {
        let run = |pieces: &[&str]| {
            let mut stop = StopStrings::new(stops.clone());
            let mut out = String::new();
            let mut hit = None;
            for piece in pieces {
                let passed = stop.push(piece);
                out.push_str(passed.text);
                hit = passed.hit;
            }
            out.push_str(stop.finish().text);
            (out, hit)
        };
        let mut at: Vec<usize> = cuts.into_iter().filter(|&cut| text.is_char_boundary(cut) && cut <= text.len()).collect();
        at.extend([0, text.len()]);
        at.sort_unstable();
        let pieces: Vec<&str> = at.windows(2).map(|w| &text[w[0]..w[1]]).collect();
        let (out, hit) = run(&pieces);
        prop_assert_eq!(&(out.clone(), hit), &run(&[&text]));
        match hit {
            Some(index) => {
                let with_stop = out.clone() + &stops[index];
                prop_assert!(text.starts_with(&with_stop));
            }
            None => prop_assert_eq!(&out, &text),
        }
        prop_assert!(stops.iter().all(|stop| !out.contains(stop.as_str())));
    }
}

/// From the most likely tokens and the sum over all, the same tokens come as from the whole row, whenever any come.
#[test]
fn the_top_of_a_row_does_for_the_whole() {
    let mut random = Rng::new(5);
    let mut decided = BTreeMap::new();
    for trial in 0..600u32 {
        let vocab = [1, 5, 40, 300, 2000][trial as usize % 5];
        // From nearly flat to nearly certain; coarse steps give equal logits.
        let spread = [0.1, 1.0, 6.0, 30.0][(trial / 5) as usize % 4];
        let coarse = trial % 3 == 0;
        let logits: Vec<f32> = (0..vocab)
            .map(|_| {
                let x = ((random.uniform() + random.uniform() + random.uniform()) * spread) as f32 - 3.0;
                if coarse { libm::roundf(x * 4.0) / 4.0 } else { x }
            })
            .collect();
        let plain = Sampling::default().seed(u64::from(trial)).temperature(0.7);
        let many: [(&str, Sampling); 9] = [
            ("greedy", Sampling::default()),
            ("top-k", plain.clone().top_k(20)),
            ("top-p", plain.clone().top_p(0.9)),
            ("min-p", plain.clone().min_p(0.05)),
            ("top-p and min-p", plain.clone().top_p(0.95).min_p(0.02)),
            ("top-k, top-p and min-p", plain.clone().top_k(40).top_p(0.8).min_p(0.1)),
            ("top-k and typical", plain.clone().top_k(30).typical_p(0.7)),
            ("plain", plain.clone()),
            ("penalised", plain.top_k(20).repetition_penalty(1.3)),
        ];
        for (name, options) in many {
            let mut whole = Sampler::new(&options, vocab).unwrap();
            let mut from_top = whole.clone();
            let Some(k) = from_top.top().map(|k| k.min(vocab)) else {
                assert!(vocab <= 20 || name == "plain" || name == "penalised", "{name}");
                continue;
            };
            let mut row = vec![0.0; 2 * k + 2];
            puna_core::reference::top_k(&logits, k, &mut row);
            // As far off as no device may be.
            row[2 * k] += if trial % 2 == 0 { 5e-5 } else { -5e-5 };
            for _ in 0..4 {
                let before = from_top.rng.clone();
                let expected = whole.sample(&mut logits.clone(), &[]).unwrap();
                match from_top.sample_top(&Top::new(&row, k, vocab)).unwrap() {
                    Some(found) => {
                        assert_eq!(found, expected, "{name}: trial {trial}");
                        *decided.entry(name).or_insert(0) += 1;
                    }
                    None => {
                        assert_eq!(from_top.rng, before, "{name}: a fallback draws nothing");
                        from_top = whole.clone();
                    }
                }
            }
        }
    }
    for (name, least) in [
        ("greedy", 2400),
        ("top-k", 1400),
        ("top-p", 1000),
        ("min-p", 1000),
        ("top-p and min-p", 1000),
        ("top-k, top-p and min-p", 1400),
        ("top-k and typical", 1400),
    ] {
        assert!(decided.get(name).is_some_and(|&n| n >= least), "{name}: {decided:?}");
    }
}
