//! Damaged and contradictory models: each is refused with a typed error of one line that names the culprit, and what
//! was open before goes on working.

mod command;
mod folder;
pub(crate) mod images;
mod metadata;
mod run_time;
mod tensors;
mod truncated;
mod vocabulary;

use puna::{Cancel, Error, ErrorKind, LoadOptions, Model, Session, SessionOptions};
use puna_format::Limits;
use puna_format::gguf::{Gguf, GgufWriter, Metadata, TensorType, Value};
use std::path::Path;

/// A GGUF file in pieces that a test can change before it puts them together.
#[derive(Clone)]
struct Parts {
    metadata: Metadata,
    tensors: Vec<Part>,
}

#[derive(Clone)]
struct Part {
    name: String,
    ne: Vec<u64>,
    dtype: TensorType,
    bytes: Vec<u8>,
}

impl Parts {
    /// A small Llama 4 that works.
    fn tiny() -> Parts {
        let bytes = puna::tiny::gguf(7).unwrap();
        let file = Gguf::read(&bytes[..], &Limits::default()).unwrap();
        let part = |t: &puna_format::gguf::TensorInfo| Part {
            name: t.name.clone(),
            ne: t.shape.to_vec(),
            dtype: t.dtype,
            bytes: bytes[t.range.start as usize..t.range.end as usize].to_vec(),
        };
        Parts { tensors: file.tensors.iter().map(part).collect(), metadata: file.metadata }
    }

    fn set(mut self, key: &str, value: impl Into<Value>) -> Parts {
        assert!(!key.contains(' '));
        self.metadata.set(key, value);
        self
    }

    fn without(mut self, key: &str) -> Parts {
        assert!(self.metadata.remove(key).is_some(), "{key} is there to be removed");
        self
    }

    fn tensor(&mut self, name: &str) -> &mut Part {
        self.tensors.iter_mut().find(|t| t.name == name).unwrap()
    }

    /// Writes one value of an F32 tensor.
    fn poke(mut self, name: &str, at: usize, value: f32) -> Parts {
        self.tensor(name).bytes[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
        self
    }

    fn without_tensor(mut self, name: &str) -> Parts {
        let before = self.tensors.len();
        self.tensors.retain(|t| t.name != name);
        assert_eq!(self.tensors.len() + 1, before, "{name} is there to be removed");
        self
    }

    fn with_tensor(mut self, name: &str, values: &[f32]) -> Parts {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let dtype = TensorType::from_gguf_id(0).unwrap();
        self.tensors.push(Part { name: name.into(), ne: vec![values.len() as u64], dtype, bytes });
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut writer = GgufWriter::with_metadata(self.metadata.clone());
        for t in &self.tensors {
            writer.tensor(&t.name, &t.ne, t.dtype).unwrap();
        }
        let mut stream = writer.start(Vec::new()).unwrap();
        for t in &self.tensors {
            stream.write(&t.name, &t.bytes).unwrap();
        }
        stream.finish().unwrap()
    }
}

fn options() -> LoadOptions {
    LoadOptions::default().threads(1)
}

/// One line that says something, and says it about `names`.
fn assert_clear(what: &str, error: &Error, kind: ErrorKind, names: &[&str]) {
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{what}: {message}");
    assert!(!message.is_empty() && !message.contains('\n'), "{what}: {message:?}");
    for name in names {
        assert!(message.contains(name), "{what}: the message does not name {name}: {message}");
    }
}

/// The file must be refused; how many have been is counted.
struct Refused {
    witness: Witness,
    count: usize,
}

impl Refused {
    fn new() -> Self {
        Self { witness: Witness::new(), count: 0 }
    }

    fn bytes(&mut self, what: &str, bytes: Vec<u8>, kind: ErrorKind, names: &[&str]) {
        match Model::from_bytes(bytes, &options()) {
            Ok(_) => panic!("{what}: opened without a word"),
            Err(error) => assert_clear(what, &error, kind, names),
        }
        self.count += 1;
        self.witness.still_works();
    }

    fn parts(&mut self, what: &str, parts: &Parts, names: &[&str]) {
        self.bytes(what, parts.bytes(), ErrorKind::BadFile, names);
    }

    fn path(&mut self, what: &str, path: &Path, kind: ErrorKind, names: &[&str]) {
        match Model::open(path, &options()) {
            Ok(_) => panic!("{what}: opened without a word"),
            Err(error) => assert_clear(what, &error, kind, names),
        }
        self.count += 1;
        self.witness.still_works();
    }
}

/// A session of a good model that was open before anything went wrong.
struct Witness {
    session: Session,
    expected: Vec<f32>,
}

impl Witness {
    fn new() -> Self {
        let model = Model::from_bytes(Parts::tiny().bytes(), &options()).unwrap();
        let mut session = model.session(&SessionOptions::default()).unwrap();
        session.push_text("before").unwrap();
        let expected = session.logits(&Cancel::new()).unwrap().to_vec();
        Self { session, expected }
    }

    /// Takes the last token back and computes it again.
    fn still_works(&mut self) {
        let last = *self.session.tokens().last().unwrap();
        self.session.truncate(self.session.tokens().len() - 1);
        self.session.push_tokens(&[last]).unwrap();
        let found = self.session.logits(&Cancel::new()).unwrap();
        assert!(found.iter().zip(&self.expected).all(|(a, b)| (a - b).abs() < 1e-4));
    }
}

/// What the others change is what makes them bad.
#[test]
fn the_model_they_are_made_of_is_good() {
    assert_eq!(Parts::tiny().bytes(), puna::tiny::gguf(7).unwrap());
    Witness::new().still_works();
}
