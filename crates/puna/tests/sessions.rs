//! Sessions and generations through the public interface, on the tiny model.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed assumption in a test should stop it"
)]

use puna::{
    Cancel, ErrorKind, Finish, LoadOptions, Message, Model, Phase, Sampling, Session, SessionOptions,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

fn model() -> Model {
    Model::from_bytes(puna::tiny::gguf(11).unwrap(), &LoadOptions::default().threads(1)).unwrap()
}

fn session(model: &Model) -> Session {
    model.session(&SessionOptions::default()).unwrap()
}

fn ids(session: &mut Session, n: usize) -> Vec<u32> {
    session.generate(&Sampling::default()).max_tokens(n).ignore_end().map(|t| t.unwrap().id()).collect()
}

#[test]
fn a_chat_pushed_in_portions_has_the_tokens_of_one_pushed_whole() {
    let model = model();
    let messages = [Message::system("Be brief."), Message::user("Hello <|eot|>"), Message::assistant("Hi.")];
    let (mut whole, mut portions) = (session(&model), session(&model));
    whole.push(&messages).unwrap();
    for message in &messages {
        portions.push(std::slice::from_ref(message)).unwrap();
    }
    assert_eq!(whole.tokens(), portions.tokens());
    assert_eq!(whole.tokens()[0], 256, "it begins with BOS, and only once");
    assert_eq!(
        whole.tokens().iter().filter(|&&id| id == 261).count(),
        3,
        "what a user spells out ends no turn"
    );
}

#[test]
fn an_answer_cut_short_is_closed_before_the_next_message() {
    let model = model();
    let mut chat = session(&model);
    chat.push(&[Message::user("a")]).unwrap();
    let before = chat.tokens().len();
    let answer = ids(&mut chat, 3);
    let header = chat.tokens().len() - before - 3;
    assert!(header > 2, "generate opens the answer");
    assert_eq!(chat.tokens()[before + header..], answer);
    let end = chat.tokens().len();
    chat.push(&[Message::user("b")]).unwrap();
    assert_eq!(chat.tokens()[end..end + 2], [261, 258], "end of turn, then the next header");
}

#[test]
fn truncated_sessions_answer_as_they_did() {
    let model = model();
    let mut chat = session(&model);
    chat.push(&[Message::user("What is a whale, and how long is it when it is grown?")]).unwrap();
    let before = chat.tokens().len();
    let first = ids(&mut chat, 24);
    chat.truncate(before);
    assert_eq!(ids(&mut chat, 24), first);
    let mut fork = chat.fork().unwrap();
    assert_eq!(ids(&mut fork, 5), ids(&mut chat, 5));
    chat.truncate(0);
    chat.push(&[Message::user("What is a whale, and how long is it when it is grown?")]).unwrap();
    assert_eq!(ids(&mut chat, 24), first);
}

#[test]
fn batches_and_threads_change_nothing() {
    let bytes = puna::tiny::gguf(11).unwrap();
    let mut results = Vec::new();
    for (threads, batch) in [(1, 512), (2, 7), (1, 1)] {
        let model = Model::from_bytes(bytes.clone(), &LoadOptions::default().threads(threads)).unwrap();
        let mut session = model.session(&SessionOptions::default().batch(batch)).unwrap();
        session.push_text("The quick brown fox jumps over the lazy dog.").unwrap();
        results.push(ids(&mut session, 32));
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
}

#[test]
fn a_cancelled_prompt_goes_on() {
    let model = model();
    let text = "a long prompt ".repeat(12);
    let mut whole = session(&model);
    whole.push_text(&text).unwrap();
    let expected = ids(&mut whole, 8);

    let (cancel, calls) = (Cancel::new(), Arc::new(AtomicUsize::new(0)));
    let (stop, count) = (cancel.clone(), calls.clone());
    let options = SessionOptions::default().batch(16).on_progress(move |p| {
        assert_eq!(p.phase, Phase::Prefill);
        if count.fetch_add(1, Ordering::Relaxed) == 2 {
            stop.cancel();
        }
    });
    let mut session = model.session(&options).unwrap();
    session.push_text(&text).unwrap();
    assert_eq!(session.prefill(&cancel).unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    let mut answer = session.generate(&Sampling::default()).cancel(&cancel);
    assert!(answer.next().is_none());
    assert_eq!(answer.finish(), Some(Finish::Cancelled));
    assert_eq!(ids(&mut session, 8), expected);
}

#[test]
fn a_task_gets_the_same_tokens() {
    let model = model();
    let (mut plain, mut polled) =
        (session(&model), model.session(&SessionOptions::default().batch(4)).unwrap());
    plain.push_text("Once upon a time").unwrap();
    polled.push_text("Once upon a time").unwrap();
    let expected = ids(&mut plain, 6);
    let mut answer = polled.generate(&Sampling::default()).max_tokens(6).ignore_end();
    let (mut found, mut pending) = (Vec::new(), 0);
    loop {
        match answer.poll_token(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(token)) => found.push(token.unwrap().id()),
            Poll::Ready(None) => break,
            Poll::Pending => pending += 1,
        }
    }
    assert_eq!(found, expected);
    assert!(pending > 1, "the prompt is done in batches");
}

#[test]
fn text_of_tokens_is_the_text_of_the_session() {
    let model = model();
    let mut session = session(&model);
    session.push_text("x").unwrap();
    let start = session.tokens().len();
    let sampling = Sampling::default().temperature(1.5).seed(5);
    let text = session.generate(&sampling).max_tokens(200).ignore_end().text().unwrap();
    assert_eq!(text, model.decode(&session.tokens()[start..]).unwrap());
}

#[test]
fn a_stop_string_is_held_back_and_never_shown() {
    let model = model();
    let mut first = session(&model);
    first.push_text("x").unwrap();
    let sampling = Sampling::default().temperature(1.2).seed(3);
    let text = first.generate(&sampling).max_tokens(60).ignore_end().text().unwrap();
    let stop: String = text.chars().skip(20).take(3).collect();
    let mut second = session(&model);
    second.push_text("x").unwrap();
    let mut answer = second.generate(&sampling).max_tokens(60).ignore_end().stop_strings([stop.as_str()]);
    let stopped = answer.text().unwrap();
    assert_eq!(answer.finish(), Some(Finish::StopString));
    assert_eq!(stopped, text[..text.find(&stop).unwrap()]);
}

#[test]
fn a_full_context_is_an_end_and_not_a_failure() {
    let model = model();
    let mut session = model.session(&SessionOptions::default().context(20)).unwrap();
    session.push_tokens(&[1; 15]).unwrap();
    let mut answer = session.generate(&Sampling::default()).ignore_end();
    assert_eq!(answer.by_ref().count(), 5);
    assert_eq!(answer.finish(), Some(Finish::ContextFull));
    assert_eq!(session.remaining(), 0);
    assert_eq!(session.push_tokens(&[1]).unwrap_err().kind(), ErrorKind::ContextFull);
    assert_eq!(session.push_text("no").unwrap_err().kind(), ErrorKind::ContextFull);
    session.truncate(4);
    session.push_tokens(&[2; 3]).unwrap();
    assert_eq!(ids(&mut session, 2).len(), 2);
}

#[test]
fn wrong_input_is_named_and_leaves_the_session_usable() {
    let model = model();
    let mut session = session(&model);
    let empty = session.generate(&Sampling::default()).next().unwrap().unwrap_err();
    assert_eq!((empty.kind(), empty.to_string().contains("empty prompt")), (ErrorKind::BadInput, true));
    let past = session.push_tokens(&[0, 1, 5000]).unwrap_err();
    assert_eq!(past.kind(), ErrorKind::BadInput);
    assert!(past.to_string().contains("5000") && past.to_string().contains("263"), "{past}");
    assert!(session.tokens().is_empty());
    session.push_tokens(&[1]).unwrap();
    let option = session.generate(&Sampling::default().temperature(-1.0)).next().unwrap().unwrap_err();
    assert!(option.to_string().contains("temperature"), "{option}");
    assert_eq!(ids(&mut session, 2).len(), 2);
    let kind = |result: Result<Session, puna::Error>| result.unwrap_err().kind();
    assert_eq!(kind(model.session(&SessionOptions::default().context(0))), ErrorKind::BadInput);
    assert_eq!(kind(model.session(&SessionOptions::default().batch(0))), ErrorKind::BadInput);
}

#[test]
fn options_are_checked() {
    let bytes = puna::tiny::gguf(1).unwrap();
    let open = |options: &LoadOptions| Model::from_bytes(bytes.clone(), options).unwrap_err();
    assert_eq!(open(&LoadOptions::default().threads(0)).kind(), ErrorKind::BadInput);
    assert_eq!(open(&LoadOptions::default().isa("mmx")).kind(), ErrorKind::Unsupported);
    let e = open(&LoadOptions::default().set("llama4.block_count", "four"));
    assert!(e.kind() == ErrorKind::BadInput && e.to_string().contains("JSON"), "{e}");
    let e = open(&LoadOptions::default().set("general.architecture", "\"mamba\""));
    assert!(e.kind() == ErrorKind::Unsupported && e.to_string().contains("llama4"), "{e}");
}

#[test]
fn log_probabilities_come_with_each_token() {
    let model = model();
    let mut session = session(&model);
    session.push_text("x").unwrap();
    for token in session.generate(&Sampling::default().logprobs(3)).max_tokens(4).ignore_end() {
        let token = token.unwrap();
        let top = token.top_logprobs();
        assert_eq!(top.len(), 3);
        assert_eq!((top[0].0, Some(top[0].1)), (token.id(), token.logprob()), "greedy takes the first");
        assert!(top[0].1 >= top[1].1 && top[1].1 >= top[2].1 && top[0].1 < 0.0);
    }
}
