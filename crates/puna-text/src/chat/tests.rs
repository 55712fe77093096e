//! Tests of the prompt format without a tokenizer.

use alloc::{string::String, vec::Vec};

use super::*;
use crate::{JsonStyle, TextError};

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

fn shown(answer: &str) -> String {
    let calls = parse_tool_calls(answer);
    let show = |call: &ToolCall| {
        alloc::format!("{}{}", call.name, call.arguments.dump(JsonStyle { indent: None, ascii: false }))
    };
    calls.iter().map(show).collect::<Vec<_>>().join(";")
}

#[test]
fn a_conversation_reads_as_specified() {
    let messages = [
        Message::system("S"),
        Message::user(" a "),
        Message::assistant("").with_tool_call("f", json(r#"{"x": 1}"#)),
        Message::tool("17"),
        Message::assistant("so").with_stop_reason(StopReason::EndOfMessage),
    ];
    let text = Llama4Prompt::new().with_tool_format(ToolFormat::PythonList).render(&messages, true).unwrap();
    assert_eq!(
        text,
        "<|begin_of_text|><|header_start|>system<|header_end|>\n\nS<|eot|>\
         <|header_start|>user<|header_end|>\n\n a <|eot|>\
         <|header_start|>assistant<|header_end|>\n\n[f(x=1)]<|eom|>\
         <|header_start|>ipython<|header_end|>\n\n17<|eom|>\
         <|header_start|>assistant<|header_end|>\n\nso<|eom|>\
         <|header_start|>assistant<|header_end|>\n\n"
    );
}

#[test]
fn a_vocabulary_without_markers_is_refused_by_name() {
    struct Words;
    impl Encoder for Words {
        fn encode_text(&self, text: &str, out: &mut Vec<u32>) -> Result<(), TextError> {
            out.extend(text.bytes().map(u32::from));
            Ok(())
        }
        fn special_id(&self, name: &str) -> Option<u32> {
            (name != "<|patch|>").then_some(1000)
        }
    }
    let prompt = Llama4Prompt::new();
    assert!(prompt.encode(&Words, &[Message::user("x")], true).is_ok());
    let image = Message::user("x").with(Part::Image(ImageLayout::new(1, 1)));
    let error = prompt.encode(&Words, &[image], true).unwrap_err();
    assert_eq!(error, TextError::MissingToken { name: "<|patch|>".into() });
    let huge = Message::user("x").with(Part::Image(ImageLayout::new(u32::MAX, u32::MAX)));
    assert!(matches!(prompt.encode(&Words, &[huge], true), Err(TextError::TooLarge { .. })));
}

#[test]
fn image_layouts_count_their_tokens() {
    for (rows, cols) in [(1, 1), (1, 2), (3, 1), (4, 4), (0, 0)] {
        let layout = ImageLayout { rows, cols, patches: 5 };
        assert_eq!(layout.tokens().count() as u64, layout.n_tokens(), "{layout:?}");
        assert_eq!(layout.tokens().filter(|&name| name == "<|patch|>").count() as u64, 5 * layout.tiles());
    }
}

#[test]
fn messages_files_are_checked() {
    let good = br#"[{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{\"x\": [1]}"}}]},
        {"role": "ipython", "content": "r", "tool_call_id": "1"},
        {"role": "assistant", "content": "c", "stop_reason": "end_of_message"}]"#;
    let messages = parse_messages(good).unwrap();
    assert_eq!(messages[0].text(), "ab");
    assert_eq!(messages[1].tool_calls, [ToolCall { name: "f".into(), arguments: json(r#"{"x": [1]}"#) }]);
    assert_eq!((messages[2].role, messages[3].stop_reason), (Role::Tool, StopReason::EndOfMessage));

    for (bad, place) in [
        (r#"{"role": "user"}"#, "top level"),
        (r#"["x"]"#, "message 0"),
        (r#"[{"content": "x"}]"#, "message 0, role"),
        (r#"[{"role": "bot", "content": "x"}]"#, "message 0, role"),
        (r#"[{"role": "user"}]"#, "message 0, content"),
        (r#"[{"role": "user", "content": 1}]"#, "message 0, content"),
        (
            r#"[{"role": "user", "content": "x"}, {"role": "user", "content": [{"type": "image"}]}]"#,
            "message 1, part 0, w",
        ),
        (r#"[{"role": "user", "content": "x", "stop_reason": "later"}]"#, "message 0, stop_reason"),
        (r#"[{"role": "assistant", "tool_calls": [{"arguments": {}}]}]"#, "message 0, tool call 0, name"),
        (r#"[{"role": "user", "content": "x"}"#, "line 1, column 33"),
    ] {
        match parse_messages(bad.as_bytes()) {
            Err(TextError::Malformed { at, .. }) => assert_eq!(at, place, "{bad}"),
            other => panic!("{bad}: {other:?}"),
        }
    }
}

#[test]
fn tool_calls_are_found_however_they_are_written() {
    for (answer, expected) in [
        (r#"{"name": "f", "parameters": {"b": 1, "a": "x"}}"#, r#"f{"b": 1, "a": "x"}"#),
        (
            r#"{"type": "function", "name": "f", "arguments": {"a": {"n": []}}}<|eom|>"#,
            r#"f{"a": {"n": []}}"#,
        ),
        (
            r#"{"name": "f", "parameters": {}}; {"name": "g", "parameters": {"x": null}}"#,
            r#"f{};g{"x": null}"#,
        ),
        (r#"{"name": "f", "parameters": {}}{"name": "g"}"#, "f{};g{}"),
        (
            r#"[{"name": "f", "arguments": "{\"x\": 1}"}, {"function": {"name": "g", "arguments": {}}}]"#,
            r#"f{"x": 1};g{}"#,
        ),
        (
            r#"Sure, {this}: <|python_start|>{"name": "f", "parameters": {"q": "a{b"}}<|python_end|><|eot|>junk"#,
            r#"f{"q": "a{b"}"#,
        ),
        ("<|header_start|>assistant<|header_end|>\n\n[f(x=1)]<|eot|>", r#"f{"x": 1}"#),
        (
            r#"[get_weather(city="San Francisco", days=-2, f=1.5e3), a.b(l=['x', "y\n", (True, None)], d={'k': [1]},)]"#,
            r#"get_weather{"city": "San Francisco", "days": -2, "f": 1500.0};a.b{"l": ["x", "y\n", [true, null]], "d": {"k": [1]}}"#,
        ),
        ("I will call [f()] now", "f{}"),
        (r#"<function=f>{"x": "é"}</function> <function=g>{}</function>"#, r#"f{"x": "é"};g{}"#),
        (r#"brave_search.call(query="llama 4")"#, r#"brave_search{"query": "llama 4"}"#),
        ("", ""),
        ("The list [1, 2] and the set {a, b} are no calls.", ""),
        ("[f(1)] [f(x=y)] [f(x=1] f(x=1)", ""),
        (r#"{"title": "no name"}"#, ""),
    ] {
        assert_eq!(shown(answer), expected, "{answer}");
    }
    for open in ["{", "[", "[f(x=", "{\"a\":", "[f(a=[", "<function=f>{", "[[", "\"{"] {
        assert_eq!(shown(&open.repeat(20_000)), "");
    }
}

#[test]
fn built_in_tools_need_their_argument() {
    let call = |name: &str, arguments: &str| {
        let message = Message::assistant("").with_tool_call(name, json(arguments));
        Llama4Prompt::new().render(&[message], false)
    };
    assert!(
        call("brave_search", r#"{"query": "x"}"#)
            .unwrap()
            .contains("\n\nbrave_search.call(query=\"x\")<|eom|>")
    );
    assert!(matches!(call("code_interpreter", "{}"), Err(TextError::Malformed { .. })));
    assert!(matches!(call("photogen", r#"{"query": 1}"#), Err(TextError::Malformed { .. })));
}

#[test]
fn tools_are_offered_in_the_words_the_model_knows() {
    let tools = [json(r#"{"name": "f", "parameters": {"type": "dict"}}"#)];
    let described =
        "{\n    \"name\": \"f\",\n    \"parameters\": {\n        \"type\": \"dict\"\n    }\n}\n\n";
    let user = tools_in_user(&tools, "  Go. ", ToolFormat::Json);
    assert!(
        user.starts_with("Given the following functions, please respond with a JSON for a function call")
    );
    assert!(user.ends_with(&alloc::format!("its value}}.Do not use variables.\n\n{described}Go.")));
    let system = tools_in_system(&tools, " Be brief.", ToolFormat::Json);
    assert!(system.starts_with("Environment: ipython\nYou have access to the following functions."));
    assert!(system.ends_with(&alloc::format!("{described}Be brief.")));
    let pythonic = tools_in_system(&tools, "Be brief.", ToolFormat::PythonList);
    assert!(
        pythonic.starts_with("Be brief.\nHere is a list of functions in JSON format that you can invoke.")
    );
    assert!(pythonic.ends_with("\n    }\n]"));
    assert!(tools_in_user(&tools, "Q", ToolFormat::PythonList).starts_with("Questions: Q\nHere is a list"));
    assert!(
        tools_in_user(&tools, "Q", ToolFormat::FunctionTag).contains("<function=NAME>{\"parameter\": value}")
    );
}
