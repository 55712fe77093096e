//! Any sequence of pushes, truncations, forks and generations leaves a session that is as a fresh one with its tokens.

use proptest::prelude::*;
use puna::{Activations, Cancel, DeviceKind, KvType, LoadOptions, Model, Sampling, Session, SessionOptions};
use puna_testkit::goldens::{Golden, Rounding};
use puna_testkit::{compare::assert_close, tolerance};
use std::sync::OnceLock;

/// What may happen to a conversation. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Edit {
    /// New tokens, computed at once or later.
    Push(Vec<u32>, bool),
    /// Back to this many tokens.
    Truncate(usize),
    /// Go on with a fork, or keep the fork for comparison at the end.
    Fork(bool),
    /// A few greedy tokens.
    Generate(usize),
    /// Computation that is stopped before it begins.
    Cancelled,
}

fn edit(vocab: u32) -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (prop::collection::vec(0..vocab, 1..24), any::<bool>()).prop_map(|(t, now)| Edit::Push(t, now)),
        3 => (0usize..120).prop_map(Edit::Truncate),
        1 => any::<bool>().prop_map(Edit::Fork),
        1 => (1usize..5).prop_map(Edit::Generate),
        1 => Just(Edit::Cancelled),
    ]
}

fn model(name: &str, device: DeviceKind) -> Model {
    let options = LoadOptions::default().device(device).activations(Activations::F32).threads(2);
    Model::from_bytes(Golden::load(name).gguf(Rounding::F32), &options).unwrap()
}

fn session(model: &Model, batch: usize) -> Session {
    model.session(&SessionOptions::default().kv(KvType::F32).context(400).batch(batch)).unwrap()
}

/// The session's next logits are those of a new session that was given its tokens.
fn assert_fresh(what: &str, session: &mut Session) {
    let tokens = session.tokens().to_vec();
    if tokens.is_empty() {
        assert!(session.logits(&Cancel::new()).is_err());
        return;
    }
    let model = session.model().clone();
    let mut fresh = self::session(&model, 512);
    fresh.push_tokens(&tokens).unwrap();
    let expected = fresh.logits(&Cancel::new()).unwrap();
    assert_close(what, session.logits(&Cancel::new()).unwrap(), expected, tolerance::SPLIT);
}

fn run(model: &Model, batch: usize, edits: &[Edit]) {
    let mut session = session(model, batch);
    let mut tokens: Vec<u32> = Vec::new();
    let mut kept: Vec<(Session, Vec<u32>)> = Vec::new();
    for edit in edits {
        match edit {
            Edit::Push(new, now) => {
                session.push_tokens(new).unwrap();
                tokens.extend(new);
                if *now {
                    session.prefill(&Cancel::new()).unwrap();
                }
            }
            Edit::Truncate(n) => {
                let n = n % (tokens.len() + 1);
                session.truncate(n);
                tokens.truncate(n);
            }
            Edit::Fork(go_on) => {
                let mut fork = session.fork().unwrap();
                if *go_on {
                    std::mem::swap(&mut session, &mut fork);
                }
                kept.push((fork, tokens.clone()));
            }
            Edit::Generate(n) if !tokens.is_empty() => {
                let generation = session.generate(&Sampling::default()).max_tokens(*n).ignore_end();
                tokens.extend(generation.map(|token| token.unwrap().id()));
            }
            Edit::Generate(_) => {}
            Edit::Cancelled => {
                let cancel = Cancel::new();
                cancel.cancel();
                let _ = session.prefill(&cancel);
            }
        }
        assert_eq!(session.tokens(), tokens, "after {edit:?}");
    }
    assert_fresh("the session", &mut session);
    for (mut fork, tokens) in kept {
        assert_eq!(fork.tokens(), tokens);
        assert_fresh("a fork", &mut fork);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Chunks of 7, NoPE in every second layer, two experts a token.
    #[test]
    fn edits_on_the_reference(
        edits in prop::collection::vec(edit(97), 1..12),
        batch in 1usize..20,
    ) {
        static MODEL: OnceLock<Model> = OnceLock::new();
        run(MODEL.get_or_init(|| model("odd", DeviceKind::Reference)), batch, &edits);
    }

    /// Chunks of 32, on the processor's kernels.
    #[test]
    fn edits_on_the_cpu(
        edits in prop::collection::vec(edit(128), 1..16),
        batch in 1usize..80,
    ) {
        static MODEL: OnceLock<Model> = OnceLock::new();
        run(MODEL.get_or_init(|| model("scout", DeviceKind::Cpu)), batch, &edits);
    }
}
