//! Targets of puna-text: tokenizer files, streamed bytes, message lists and templates.

use puna_text::chat::{Llama4Prompt, parse_messages, parse_tool_calls};
use puna_text::{ChatTemplate, HfTokenizerConfig, Json, Special, StreamDecoder, TemplateInput, Tokenizer};

/// A `tokenizer.json`; what loads must also encode and decode.
pub fn tokenizer_json(data: &[u8]) {
    if let Ok(tokenizer) = Tokenizer::from_json(data) {
        use_tokenizer(&tokenizer, data);
    }
    let _ = HfTokenizerConfig::parse(data);
}

/// A rank file of Meta's kind, put behind the 256 single bytes that every such file has.
pub fn rank_file(data: &[u8]) {
    let _ = Tokenizer::from_rank_file(data);
    let mut file: Vec<u8> = Vec::new();
    for byte in 0..=255u32 {
        let digit = |value: u32| match value {
            0..26 => b'A' + value as u8,
            26..52 => b'a' + value as u8 - 26,
            52..62 => b'0' + value as u8 - 52,
            62 => b'+',
            _ => b'/',
        };
        file.extend([digit(byte >> 2), digit((byte & 3) << 4), b'=', b'=']);
        file.extend(format!(" {byte}\n").bytes());
    }
    file.extend_from_slice(data);
    if let Ok(tokenizer) = Tokenizer::from_rank_file(&file) {
        use_tokenizer(&tokenizer, data);
    }
}

/// Bytes in pieces: together they must be what they are at once.
pub fn decode_stream(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else { return };
    let mut decoder = StreamDecoder::new();
    let mut out = String::new();
    for piece in bytes.chunks(usize::from(step % 7) + 1) {
        out.push_str(decoder.push(piece));
    }
    out.push_str(decoder.flush());
    assert_eq!(out, String::from_utf8_lossy(bytes));
}

/// A list of messages, rendered; and the same bytes as an answer that may hold tool calls.
pub fn messages(data: &[u8]) {
    if let Ok(messages) = parse_messages(data) {
        let _ = Llama4Prompt::new().render(&messages, true);
    }
    let _ = Json::parse(data);
    let _ = parse_tool_calls(&String::from_utf8_lossy(data));
}

/// A template before a NUL, a list of messages after it.
pub fn template(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == 0);
    let source = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let messages = parse_messages(parts.next().unwrap_or(b"[]")).unwrap_or_default();
    if let Ok(template) = ChatTemplate::new(&source) {
        let _ = template.render(&TemplateInput {
            messages: &messages,
            add_generation_prompt: true,
            now: Some(0),
            ..TemplateInput::default()
        });
    }
}

fn use_tokenizer(tokenizer: &Tokenizer, data: &[u8]) {
    let text = String::from_utf8_lossy(&data[..data.len().min(4096)]);
    for special in [Special::AsText, Special::Recognize] {
        if let Ok(ids) = tokenizer.encode(&text, special) {
            let _ = tokenizer.decode(&ids, true);
        }
    }
}
