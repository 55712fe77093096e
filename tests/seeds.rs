//! The seeds of `fuzz/corpus`: small valid inputs of every kind, from which mutation starts.
//!
//! `PUNA_WRITE_SEEDS=1 cargo test -p puna-tests --test suite seeds` writes them; otherwise they are compared.

use puna_core::DType;
use puna_format::gguf::{Array, GgufWriter, Metadata, Strings, Value};
use puna_format::safetensors::{StDType, StWriter};
use puna_testkit::goldens::Golden;
use serde_json::{Value as Json, json};
use std::fs;
use std::path::Path;

#[test]
fn the_corpus_holds_the_seeds() {
    let write = std::env::var_os("PUNA_WRITE_SEEDS").is_some();
    let mut seeds: Vec<(&str, &str, Vec<u8>)> = Vec::new();
    gguf(&mut seeds);
    safetensors(&mut seeds);
    configurations(&mut seeds);
    words(&mut seeds);
    images(&mut seeds);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (target, name, bytes) in seeds {
        assert!(puna_fuzz::target(target).is_some(), "{target}");
        let path = corpus.join(target).join(name);
        if write {
            fs::create_dir_all(corpus.join(target)).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert!(
            fs::read(&path).is_ok_and(|found| found == bytes),
            "{}: not what is made here",
            path.display()
        );
    }
}

/// A small image of every format.
fn images(seeds: &mut Seeds) {
    for (name, file) in crate::images::files() {
        seeds.push(("image", name, file));
    }
    seeds.push(("image", "jpeg", crate::images::jpeg().1));
    let palette = [(*b"PLTE", vec![255, 0, 0, 0, 255, 0]), (*b"tRNS", vec![255, 0])];
    let png = crate::hostile::images::png(4, 1, 1, 3, &palette, &[0, 0b0110_0000]);
    seeds.push(("image", "palette", png));
}

type Seeds = Vec<(&'static str, &'static str, Vec<u8>)>;

/// A GGUF file of these tensors, filled with a pattern.
fn file(metadata: Metadata, tensors: &[(String, Vec<u64>, DType)]) -> Vec<u8> {
    let mut writer = GgufWriter::with_metadata(metadata);
    for (name, ne, dtype) in tensors {
        writer.tensor(name, ne, *dtype).unwrap();
    }
    let mut stream = writer.start(Vec::new()).unwrap();
    for (name, ne, dtype) in tensors {
        let rows: u64 = ne[1..].iter().product();
        let bytes = rows as usize * dtype.row_bytes(ne[0] as usize).unwrap();
        stream.write(name, &(0..bytes).map(|i| (i * 37 % 127) as u8).collect::<Vec<_>>()).unwrap();
    }
    stream.finish().unwrap()
}

fn gguf(seeds: &mut Seeds) {
    seeds.push(("gguf", "empty", file(Metadata::new(), &[])));
    let mut all = Metadata::new();
    for (key, value) in [
        ("a.u8", Value::U8(1)),
        ("a.i8", Value::I8(-1)),
        ("a.u16", Value::U16(2)),
        ("a.i16", Value::I16(-2)),
        ("a.u32", Value::U32(3)),
        ("a.i32", Value::I32(-3)),
        ("a.u64", Value::U64(4)),
        ("a.i64", Value::I64(-4)),
        ("a.f32", Value::F32(0.5)),
        ("a.f64", Value::F64(0.25)),
        ("a.bool", Value::Bool(true)),
        ("a.text", Value::String("text, é".into())),
        ("a.list", Value::Array(Array::I32(vec![1, -2, 3]))),
        ("a.flags", Value::Array(Array::Bool(vec![true, false]))),
        ("a.texts", Value::Array(Array::String(Strings::from_strs(["", "a", "ü"]).unwrap()))),
        ("general.alignment", Value::U32(64)),
    ] {
        all.set(key, value);
    }
    seeds.push(("gguf", "values", file(all, &[])));
    let tensors: Vec<_> = DType::ALL
        .into_iter()
        .filter(|t| t.gguf_id().is_some())
        .map(|t| (format!("{}.weight", t.name()), vec![t.block_len() as u64, 2], t))
        .collect();
    seeds.push(("gguf", "types", file(Metadata::new(), &tensors)));
    let mut split = Metadata::new();
    split.set("split.no", 0u16);
    split.set("split.count", 1u16);
    split.set("split.tensors.count", 1i32);
    seeds.push(("gguf", "split", file(split, &[("a".into(), vec![3, 1, 2, 1], DType::F32)])));

    for (name, experts, fused) in [("dense", 0, false), ("experts", 2, false), ("fused", 2, true)] {
        let (metadata, tensors) = mini(experts, fused);
        seeds.push(("config_gguf", name, file(metadata, &tensors)));
    }
}

/// A Llama 4 of two layers, eight wide.
fn mini(experts: u32, fused: bool) -> (Metadata, Vec<(String, Vec<u64>, DType)>) {
    let mut m = Metadata::new();
    m.set("general.architecture", "llama4");
    for (key, value) in [
        ("block_count", 2u32),
        ("context_length", 64),
        ("embedding_length", 8),
        ("feed_forward_length", 6),
        ("expert_feed_forward_length", 4),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("attention.key_length", 4),
        ("attention.value_length", 4),
        ("attention.chunk_size", 4),
        ("rope.dimension_count", 4),
        ("vocab_size", 5),
        ("expert_count", experts),
        ("expert_used_count", experts.min(1)),
        ("interleave_moe_layer_step", 2),
    ] {
        m.set(format!("llama4.{key}"), value);
    }
    m.set("llama4.attention.layer_norm_rms_epsilon", 1e-5f32);
    m.set("llama4.rope.freq_base", 10000.0f32);
    m.set("llama4.attention.no_rope_layers", vec![1u32, 0]);
    m.set("llama4.attention.temperature_tuning", true);
    m.set("llama4.attention.temperature_scale", 0.1f32);
    m.set("llama4.attention.qk_norm", true);
    let mut tensors = Vec::new();
    let mut add = |name: String, ne: &[u64]| tensors.push((name, ne.to_vec(), DType::F16));
    add("token_embd.weight".into(), &[8, 5]);
    for layer in 0..2 {
        let mut add = |name: &str, ne: &[u64]| add(format!("blk.{layer}.{name}.weight"), ne);
        add("attn_norm", &[8]);
        add("attn_q", &[8, 8]);
        add("attn_k", &[8, 4]);
        add("attn_v", &[8, 4]);
        add("attn_output", &[8, 8]);
        add("ffn_norm", &[8]);
        if layer == 0 || experts == 0 {
            add("ffn_gate", &[8, 6]);
            add("ffn_up", &[8, 6]);
            add("ffn_down", &[6, 8]);
            continue;
        }
        let n = u64::from(experts);
        add("ffn_gate_inp", &[8, n]);
        if fused {
            add("ffn_gate_up_exps", &[8, 8, n]);
        } else {
            add("ffn_gate_exps", &[8, 4, n]);
            add("ffn_up_exps", &[8, 4, n]);
        }
        add("ffn_down_exps", &[4, 8, n]);
        add("ffn_gate_shexp", &[8, 4]);
        add("ffn_up_shexp", &[8, 4]);
        add("ffn_down_shexp", &[4, 8]);
    }
    add("output_norm.weight".into(), &[8]);
    (m, tensors)
}

fn safetensors(seeds: &mut Seeds) {
    let make = |tensors: &[(&str, &[u64], StDType, usize)], metadata: bool| {
        let mut writer = StWriter::new();
        if metadata {
            writer.metadata("format", "pt");
        }
        for (name, shape, dtype, _) in tensors {
            writer.tensor(name, shape, *dtype).unwrap();
        }
        let mut stream = writer.start(Vec::new()).unwrap();
        for (name, shape, _, size) in tensors {
            stream.write(name, &vec![1; shape.iter().product::<u64>() as usize * size]).unwrap();
        }
        stream.finish().unwrap()
    };
    seeds.push(("safetensors", "empty", make(&[], false)));
    seeds.push(("safetensors", "one", make(&[("model.norm.weight", &[4], StDType::F32, 4)], true)));
    let several: [(&str, &[u64], StDType, usize); 4] = [
        ("a", &[2, 3], StDType::BF16, 2),
        ("b.é", &[], StDType::F32, 4),
        ("c", &[0, 7], StDType::F16, 2),
        ("d", &[3], StDType::U8, 1),
    ];
    seeds.push(("safetensors", "several", make(&several, true)));

    let index = |json: Json| json.to_string().into_bytes();
    seeds.push(("index", "empty", index(json!({ "weight_map": {} }))));
    seeds.push((
        "index",
        "two",
        index(json!({
            "metadata": { "total_size": 12 },
            "weight_map": { "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors" }
        })),
    ));
    seeds.push((
        "index",
        "same",
        index(json!({ "weight_map": { "a": "m.safetensors", "é": "m.safetensors" } })),
    ));
}

fn configurations(seeds: &mut Seeds) {
    for name in ["scout", "maverick", "dense", "odd", "tied", "llama3", "long"] {
        let config = Golden::load(name).config;
        let bytes = config.to_string().into_bytes();
        seeds.push(("config_json", name, bytes.clone()));
        seeds.push(("config_hf", name, bytes));
        if name == "scout" {
            let nested = json!({ "model_type": "llama4", "text_config": config, "vision_config": { "image_size": 336 } });
            seeds.push(("config_hf", "nested", nested.to_string().into_bytes()));
        }
    }
}

fn words(seeds: &mut Seeds) {
    let bytes: serde_json::Map<String, Json> =
        ('a'..='j').chain(['Ġ', 'Ċ']).enumerate().map(|(id, c)| (c.to_string(), id.into())).collect();
    let with = |more: &[(&str, u32)]| {
        let mut vocab = bytes.clone();
        vocab.extend(more.iter().map(|(token, id)| (token.to_string(), (*id).into())));
        vocab
    };
    let byte_level = json!({
        "version": "1.0",
        "added_tokens": [{ "id": 14, "content": "<|eot|>", "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false }],
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": "\\p{L}+|\\s+" }, "behavior": "Isolated", "invert": false },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false }
        ] },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "vocab": with(&[("ab", 12), ("abc", 13)]), "merges": ["a b", "ab c"],
            "ignore_merges": true, "byte_fallback": false }
    });
    seeds.push(("tokenizer_json", "byte_level", byte_level.to_string().into_bytes()));
    let mut pairs = byte_level.clone();
    pairs["model"]["merges"] = json!([["a", "b"], ["ab", "c"]]);
    seeds.push(("tokenizer_json", "pairs", pairs.to_string().into_bytes()));
    let meta = json!({
        "version": "1.0", "added_tokens": [],
        "normalizer": { "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": "▁" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "▁" }] },
        "decoder": { "type": "Sequence", "decoders": [{ "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
            { "type": "ByteFallback" }, { "type": "Fuse" }] },
        "model": { "type": "BPE", "vocab": { "<unk>": 0, "▁": 1, "a": 2, "▁a": 3, "<0x41>": 4 }, "merges": ["▁ a"],
            "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true }
    });
    seeds.push(("tokenizer_json", "meta_space", meta.to_string().into_bytes()));
    let settings = json!({ "bos_token": { "content": "<s>" }, "add_bos_token": true, "chat_template": "{{ messages }}" });
    seeds.push(("tokenizer_json", "settings", settings.to_string().into_bytes()));

    seeds.push(("rank_file", "none", Vec::new()));
    seeds.push(("rank_file", "two", b"YWI= 256\nYWJj 257\n".to_vec()));
    seeds.push(("rank_file", "spaces", b"ICA= 256\r\nICAg 257".to_vec()));

    let text = "\u{3}aé€😀 z".as_bytes().to_vec();
    seeds.push(("decode_stream", "cut", text[..text.len() - 4].to_vec()));
    seeds.push(("decode_stream", "text", text));
    seeds.push(("decode_stream", "broken", b"\x00\xe2\x82\xf0\x9f\x98\xff\xc3\x28".to_vec()));

    let chat = json!([
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": [{ "type": "text", "text": "Weather?" }] },
        { "role": "assistant", "content": "", "tool_calls": [{ "name": "weather", "arguments": { "city": "Rome", "days": 2 } }],
            "stop_reason": "end_of_message" },
        { "role": "tool", "content": "{\"sun\": true}" }
    ]);
    seeds.push(("messages", "chat", chat.to_string().into_bytes()));
    seeds.push(("messages", "one", br#"[{"role":"user","content":"hi \u00e9 \ud83d\ude00"}]"#.to_vec()));
    seeds.push((
        "messages",
        "calls",
        br#"[weather(city="Rome", days=[1, 2.5, None], deep={'a': True}), stop()]"#.to_vec(),
    ));

    let template =
        |source: &str, chat: &Json| [source.as_bytes(), b"\0", chat.to_string().as_bytes()].concat();
    let loop_over = "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m.content | trim }}\n{% endfor %}\
                     {% if add_generation_prompt %}<|assistant|>{% endif %}";
    seeds.push(("template", "loop", template(loop_over, &chat)));
    let logic = "{%- set ns = namespace(n=0) -%}{%- for m in messages if m.role == 'user' -%}{%- set ns.n = ns.n + 1 -%}\
                 {%- endfor -%}{{ ns.n }}{{ messages | tojson(indent=2) }}{{ 'x'.upper() }}";
    seeds.push(("template", "logic", template(logic, &chat)));
    let raise = "{% if messages|length > 1 %}{{ raise_exception('one only') }}{% endif %}{{ strftime_now('%d %b %Y') }}";
    seeds.push(("template", "raise", template(raise, &json!([{ "role": "user", "content": "x" }]))));
}
