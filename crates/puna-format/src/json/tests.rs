//! Limits, duplicates and typed fields.

use super::*;
use alloc::format;
use alloc::string::ToString;
use proptest::prelude::*;

fn refusal(text: &str) -> FormatError {
    parse(text.as_bytes(), &Limits::default()).unwrap_err()
}

#[test]
fn duplicates_are_refused_at_any_depth() {
    let error = refusal("{\"a\": [\n {\"b\": 1, \"b\": 1}]}");
    assert_eq!(
        (error.kind(), error.what(), error.offset()),
        (ErrorKind::Duplicate, "JSON key \"b\"", Some(20))
    );
    assert_eq!(refusal(r#"{"a":1,"\u0061":2}"#).kind(), ErrorKind::Duplicate);
}

#[test]
fn limits_hold() {
    let mut limits = Limits { json_bytes: 10, ..Limits::default() };
    assert_eq!(parse(b"[0,0,0,0,0]", &limits).unwrap_err().kind(), ErrorKind::Limit);
    limits.json_bytes = 11;
    limits.json_values = 6;
    assert!(parse(b"[0,0,0,0,0]", &limits).is_ok());
    limits.json_values = 5;
    let error = parse(b"[0,0,0,0,0]", &limits).unwrap_err();
    assert_eq!((error.kind(), error.found()), (ErrorKind::Limit, "6"));
    limits = Limits::default();
    limits.json_depth = 3;
    assert!(parse(b"[[[]]]", &limits).is_ok());
    assert_eq!(parse(b"[[[[]]]]", &limits).unwrap_err().kind(), ErrorKind::Limit);
    limits.json_depth = u64::MAX;
    // Beyond what the recursion can take, the parser itself says no.
    assert_eq!(parse("[".repeat(100_000).as_bytes(), &limits).unwrap_err().kind(), ErrorKind::Syntax);
}

#[test]
fn fields_say_their_path() {
    let value = parse(
        br#"{"text_config": {"n": "x", "big": 4294967296, "rope": {"factor": 8}, "list": [1, -1], "no": null,
            "half": 0.5}}"#,
        &Limits::default(),
    )
    .unwrap();
    let root = Object::root(&value).unwrap();
    let text = root.object("text_config").unwrap().unwrap();
    let rope = text.object("rope").unwrap().unwrap();
    assert_eq!(rope.need::<f32>("factor").unwrap(), 8.0);
    assert_eq!(text.need::<u64>("big").unwrap(), 1 << 32);
    assert_eq!(text.need::<Vec<i64>>("list").unwrap(), [1, -1]);
    assert_eq!(text.find::<u32>("no").unwrap(), None);
    assert!(text.object("no").unwrap().is_none() && text.contains("no") && text.get("no").is_none());
    for (error, message) in [
        (
            text.need::<u32>("n").err(),
            "text_config.n: expected an unsigned integer of 32 bits, found string \"x\"",
        ),
        (
            text.need::<u32>("big").err(),
            "text_config.big: expected an unsigned integer of 32 bits, found number 4294967296",
        ),
        (
            text.need::<u32>("half").err(),
            "text_config.half: expected an unsigned integer of 32 bits, found number 0.5",
        ),
        (
            text.need::<Vec<u64>>("list").err(),
            "text_config.list[1]: expected an unsigned integer, found number -1",
        ),
        (
            text.need::<Vec<u64>>("n").err(),
            "text_config.n: expected a list of unsigned integers, found string \"x\"",
        ),
        (rope.need::<f32>("type").err(), "text_config.rope.type: expected a number, found nothing"),
        (text.object("n").err(), "text_config.n: expected an object, found string \"x\""),
        (Some(rope.bad("factor", "at least 1", 0)), "text_config.rope.factor: expected at least 1, found 0"),
    ] {
        assert_eq!(error.unwrap().to_string(), message);
    }
}

proptest! {
    #[test]
    fn positions_are_within_the_file(text in "[\\[\\]{}\",:0-9a\n ]{0,60}") {
        if let Err(error) = parse(text.as_bytes(), &Limits::default()) {
            prop_assert!(error.offset().is_some_and(|at| at <= text.len() as u64), "{error}");
        }
    }

    #[test]
    fn numbers_and_strings_survive(n in any::<i64>(), x in -1e300f64..1e300, s in any::<String>()) {
        let json = format!("[{n},{x:?},{}]", Value::from(s.as_str()));
        let value = parse(json.as_bytes(), &Limits::default()).unwrap();
        prop_assert_eq!(value, Value::Array(alloc::vec![n.into(), x.into(), s.into()]));
    }
}
