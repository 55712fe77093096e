//! As much of a GGUF reader as the tests of real vocabularies need; it trusts the file.

use std::collections::BTreeMap;

/// A value of the metadata.
pub enum Value {
    Number(f64),
    Text(String),
    List(Vec<Value>),
}

impl Value {
    pub fn text(&self) -> &str {
        if let Self::Text(text) = self { text } else { panic!("no text") }
    }

    pub fn number(&self) -> f64 {
        if let Self::Number(number) = self { *number } else { panic!("no number") }
    }

    pub fn list(&self) -> &[Value] {
        if let Self::List(items) = self { items } else { panic!("no list") }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(n);
        self.0 = rest;
        bytes
    }

    fn int(&mut self, n: usize) -> u64 {
        self.bytes(n).iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
    }

    fn string(&mut self) -> String {
        let n = self.int(8) as usize;
        String::from_utf8(self.bytes(n).to_vec()).unwrap()
    }

    fn value(&mut self, kind: u64) -> Value {
        Value::Number(match kind {
            0 | 7 => self.int(1) as f64,
            1 => self.int(1) as i8 as f64,
            2 => self.int(2) as f64,
            3 => self.int(2) as i16 as f64,
            4 => self.int(4) as f64,
            5 => self.int(4) as i32 as f64,
            6 => f32::from_bits(self.int(4) as u32).into(),
            8 => return Value::Text(self.string()),
            9 => {
                let (kind, n) = (self.int(4), self.int(8));
                return Value::List((0..n).map(|_| self.value(kind)).collect());
            }
            10 => self.int(8) as f64,
            11 => self.int(8) as i64 as f64,
            12 => f64::from_bits(self.int(8)),
            other => panic!("type {other}"),
        })
    }
}

/// The metadata of a GGUF file.
pub fn metadata(file: &[u8]) -> BTreeMap<String, Value> {
    let mut reader = Reader(file);
    assert_eq!((reader.bytes(4), reader.int(4)), (&b"GGUF"[..], 3));
    let (_tensors, n) = (reader.int(8), reader.int(8));
    (0..n)
        .map(|_| {
            let key = reader.string();
            let kind = reader.int(4);
            (key, reader.value(kind))
        })
        .collect()
}
