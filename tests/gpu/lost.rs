//! A device that is lost in the middle of an answer: one clear error, and the model runs elsewhere.

use puna::{Activations, ErrorKind, LoadOptions, Model, Sampling, SessionOptions, interop};

/// The first `n` tokens after a prompt.
fn tokens(model: &Model, n: usize) -> Vec<u32> {
    let mut session = model.session(&SessionOptions::default()).unwrap();
    session.push_tokens(&[1, 2, 3, 4]).unwrap();
    let answer = session.generate(&Sampling::default()).max_tokens(n).ignore_end();
    answer.map(|token| token.unwrap().id()).collect()
}

#[test]
fn a_generation_ends_and_another_device_goes_on() {
    let file = puna::tiny::gguf(7).unwrap();
    let (adapter, device, queue) = super::own_device();
    let options = interop::on(LoadOptions::default(), &adapter, &device, &queue);
    let model = Model::from_bytes(file.clone(), &options).unwrap();
    let expected = tokens(&model, 12);

    let mut session = model.session(&SessionOptions::default()).unwrap();
    session.push_tokens(&[1, 2, 3, 4]).unwrap();
    let mut answer = session.generate(&Sampling::default()).max_tokens(12).ignore_end();
    let mut said: Vec<u32> = answer.by_ref().take(5).map(|token| token.unwrap().id()).collect();
    device.destroy();
    let error = answer.find_map(Result::err).expect("a lost device does not compute");
    assert_eq!(error.kind(), ErrorKind::Device, "{error}");
    drop(answer);
    assert_eq!(model.session(&SessionOptions::default()).map(drop).unwrap_err().kind(), ErrorKind::Device);

    // What was said is known, so that another device can go on from there.
    assert_eq!(said, expected[..5]);
    assert_eq!(&session.tokens()[4..9], said);
    let exact = LoadOptions::default().activations(Activations::F32);
    let elsewhere = Model::from_bytes(file, &exact.threads(1)).unwrap();
    let mut session2 = elsewhere.session(&SessionOptions::default()).unwrap();
    session2.push_tokens(&session.tokens()[..9]).unwrap();
    let rest = session2.generate(&Sampling::default()).max_tokens(7).ignore_end();
    said.extend(rest.map(|token| token.unwrap().id()));
    assert_eq!(said, expected);
}
