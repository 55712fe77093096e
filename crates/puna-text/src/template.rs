//! The Jinja chat template that a model file carries, rendered as Hugging Face renders it.

use std::{borrow::Cow, format, string::String, string::ToString, vec::Vec};

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, syntax::SyntaxConfig};

use crate::chat::{Message, Part};
use crate::{Json, JsonStyle, TextError};

/// Steps of the template engine before it gives up on a template that may not end.
const FUEL: u64 = 20_000_000;
/// Longest template source, in bytes.
const MAX_SOURCE: usize = 4 << 20;
const NAME: &str = "chat";

/// A compiled chat template.
///
/// It knows what templates of published models use: `raise_exception`, `strftime_now`, `tojson` as Python writes JSON,
/// Python's methods of strings, lists and dictionaries, `break` and `continue`, `generation` blocks. It reads nothing
/// but what [`TemplateInput`] gives it: no file, no clock.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
}

/// What a template is rendered with.
#[derive(Debug, Clone, Default)]
pub struct TemplateInput<'a> {
    /// The conversation.
    pub messages: &'a [Message],
    /// Text of the token that begins a text.
    pub bos_token: &'a str,
    /// Text of the token that ends a text.
    pub eos_token: &'a str,
    /// Whether to open the assistant's answer.
    pub add_generation_prompt: bool,
    /// Descriptions of tools; empty leaves `tools` undefined.
    pub tools: &'a [Json],
    /// The time that `strftime_now` tells, in seconds since 1970 UTC; without it, `strftime_now` is undefined.
    pub now: Option<i64>,
    /// More variables, e.g. `tools_in_user_message`.
    pub variables: &'a [(&'a str, Json)],
}

impl ChatTemplate {
    /// Compiles a template.
    pub fn new(source: &str) -> Result<Self, TextError> {
        if source.len() > MAX_SOURCE {
            let what = "bytes of a chat template";
            return Err(TextError::TooLarge { what, limit: MAX_SOURCE, found: source.len() });
        }
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        environment.set_syntax(syntax.build().map_err(template_error)?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_filter("tojson", tojson);
        environment.set_formatter(|out, state, value| match value.kind() {
            ValueKind::Bool => {
                out.write_str(if value.is_true() { "True" } else { "False" }).map_err(Error::from)
            }
            ValueKind::None => out.write_str("None").map_err(Error::from),
            _ => minijinja::escape_formatter(out, state, value),
        });
        environment.add_template_owned(NAME, without_generation_tags(source)).map_err(template_error)?;
        Ok(Self { environment })
    }

    /// The prompt. Encode it with [`Special::Recognize`](crate::Special::Recognize), and without another BOS if the
    /// template wrote one.
    pub fn render(&self, input: &TemplateInput<'_>) -> Result<String, TextError> {
        let mut context: Vec<(String, Value)> = Vec::from([
            ("messages".into(), input.messages.iter().map(message).collect()),
            ("bos_token".into(), input.bos_token.into()),
            ("eos_token".into(), input.eos_token.into()),
            ("add_generation_prompt".into(), input.add_generation_prompt.into()),
        ]);
        if !input.tools.is_empty() {
            context.push(("tools".into(), input.tools.iter().map(value).collect()));
        }
        if let Some(now) = input.now {
            let tell = move |format: String| Ok::<_, Error>(strftime(&format, now));
            context.push(("strftime_now".into(), Value::from_function(tell)));
        }
        context.extend(input.variables.iter().map(|(name, json)| ((*name).into(), value(json))));
        let template = self.environment.get_template(NAME).map_err(template_error)?;
        template.render(Value::from_pairs(context)).map_err(template_error)
    }
}

fn template_error(error: Error) -> TextError {
    let message = error
        .detail()
        .map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    TextError::Template { message, line: error.line().unwrap_or(0) }
}

/// Hugging Face marks the assistant's words with `{% generation %}`; only training looks at the mark.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{%")
        && let Some((tag, next)) = after.split_once("%}")
    {
        let tag = match tag.trim_matches(['-', '+']).trim() {
            "generation" => Cow::Owned(tag.replace("generation", "if true")),
            "endgeneration" => Cow::Owned(tag.replace("endgeneration", "endif")),
            _ => Cow::Borrowed(tag),
        };
        out.extend([before, "{%", &tag, "%}"]);
        rest = next;
    }
    out.push_str(rest);
    out
}

fn message(message: &Message) -> Value {
    let mut entries: Vec<(String, Value)> = Vec::from([("role".into(), message.role.as_str().into())]);
    let content = match message.content.as_slice() {
        [] => "".into(),
        [Part::Text(text)] => text.as_str().into(),
        parts => parts.iter().map(part).collect(),
    };
    entries.push(("content".into(), content));
    if !message.tool_calls.is_empty() {
        let call = |call: &crate::chat::ToolCall| {
            let function = map([("name", call.name.as_str().into()), ("arguments", value(&call.arguments))]);
            map([("type", "function".into()), ("function", function)])
        };
        entries.push(("tool_calls".into(), message.tool_calls.iter().map(call).collect()));
    }
    Value::from_pairs(entries)
}

fn part(part: &Part) -> Value {
    match part {
        Part::Text(text) => map([("type", "text".into()), ("text", text.as_str().into())]),
        Part::Image(_) | Part::Picture(_) => map([("type", "image".into())]),
    }
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::from_pairs(entries)
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(b) => (*b).into(),
        Json::Int(n) => i64::try_from(*n).map_or_else(|_| (*n).into(), Value::from),
        Json::Float(x) => (*x).into(),
        Json::String(s) => s.as_str().into(),
        Json::Array(items) => items.iter().map(value).collect(),
        Json::Object(entries) => {
            Value::from_pairs(entries.iter().map(|(key, item)| (key.as_str(), value(item))))
        }
    }
}

/// `tojson` of Hugging Face: Python's `json.dumps`, nothing escaped but what JSON must.
fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent = options.get::<Option<usize>>("indent")?;
    let ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    // Templates pass these with the values that are the default here.
    let _ = (options.get::<Option<Value>>("separators")?, options.get::<Option<bool>>("sort_keys")?);
    options.assert_all_used()?;
    let indent = indent.map(|indent| indent.min(64));
    let text = json_of(value, 0)?.dump(JsonStyle { indent, ascii });
    Ok(text.into())
}

fn json_of(value: &Value, depth: usize) -> Result<Json, Error> {
    let refuse = |message: String| Err(Error::new(ErrorKind::InvalidOperation, message));
    if depth > 128 {
        return refuse("tojson: nested more than 128 levels".into());
    }
    Ok(match value.kind() {
        ValueKind::None => Json::Null,
        ValueKind::Bool => Json::Bool(value.is_true()),
        ValueKind::Number => match i128::try_from(value.clone()) {
            Ok(n) if value.is_integer() => Json::Int(n),
            _ => Json::Float(f64::try_from(value.clone())?),
        },
        ValueKind::String => Json::String(value.as_str().unwrap_or_default().into()),
        ValueKind::Seq | ValueKind::Iterable => {
            Json::Array(value.try_iter()?.map(|item| json_of(&item, depth + 1)).collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let entry = |key: Value| {
                let item = value.get_item(&key)?;
                Ok((key.as_str().map_or_else(|| key.to_string(), String::from), json_of(&item, depth + 1)?))
            };
            Json::Object(value.try_iter()?.map(entry).collect::<Result<_, Error>>()?)
        }
        other => return refuse(format!("tojson: {other} has no JSON")),
    })
}

/// The parts of `strftime` that chat templates use; other directives stay as they are.
fn strftime(format: &str, now: i64) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    let (days, seconds) = (now.div_euclid(86_400), now.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let name = |names: &[&'static str], index: i64| {
        usize::try_from(index).ok().and_then(|i| names.get(i).copied()).unwrap_or("")
    };
    let (month_name, day_name) = (name(&MONTHS, month - 1), name(&DAYS, (days + 4).rem_euclid(7)));
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('Y') => out += &format!("{year}"),
            Some('y') => out += &format!("{:02}", year.rem_euclid(100)),
            Some('m') => out += &format!("{month:02}"),
            Some('d') => out += &format!("{day:02}"),
            Some('B') => out += month_name,
            Some('b' | 'h') => out.extend(month_name.chars().take(3)),
            Some('A') => out += day_name,
            Some('a') => out.extend(day_name.chars().take(3)),
            Some('H') => out += &format!("{:02}", seconds / 3600),
            Some('I') => out += &format!("{:02}", (seconds / 3600 + 11) % 12 + 1),
            Some('p') => out += if seconds < 43_200 { "AM" } else { "PM" },
            Some('M') => out += &format!("{:02}", seconds / 60 % 60),
            Some('S') => out += &format!("{:02}", seconds % 60),
            Some('F') => out += &format!("{year}-{month:02}-{day:02}"),
            Some('T') => {
                out += &format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
            }
            Some('%') => out.push('%'),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Count from 1 March of year 0, so that leap days end a year; 400 years are 146,097 days.
    let days = days.saturating_add(719_468);
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let calendar = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(calendar <= 2), calendar, day - (153 * month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, input: &TemplateInput<'_>) -> Result<String, TextError> {
        ChatTemplate::new(source)?.render(input)
    }

    #[test]
    fn time_is_what_the_caller_says() {
        // 2024-02-29 13:05:09 UTC, a Thursday.
        let input = TemplateInput { now: Some(1_709_211_909), ..TemplateInput::default() };
        let source = "{{ strftime_now('%d %b %Y|%A %a %B %F %T %I%p %y %M%%%q') }}";
        assert_eq!(
            render(source, &input).unwrap(),
            "29 Feb 2024|Thursday Thu February 2024-02-29 13:05:09 01PM 24 05%%q"
        );
        let early = TemplateInput { now: Some(-1), ..TemplateInput::default() };
        assert_eq!(
            render("{{ strftime_now('%Y-%m-%d %H:%M:%S %p') }}", &early).unwrap(),
            "1969-12-31 23:59:59 PM"
        );
        for now in [i64::MIN, i64::MAX] {
            let input = TemplateInput { now: Some(now), ..TemplateInput::default() };
            assert!(render("{{ strftime_now('%Y') }}", &input).is_ok());
        }
        assert_eq!(render("{{ strftime_now is defined }}", &TemplateInput::default()).unwrap(), "False");
    }

    #[test]
    fn hostile_templates_are_refused() {
        let fails = |source: &str| match render(source, &TemplateInput::default()) {
            Err(error @ TextError::Template { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            fails("a\n{{ raise_exception('no system') }}"),
            "chat template, line 2: invalid operation: no system"
        );
        fails("{% if %}");
        fails("{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}");
        fails("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
        fails("{% include 'chat' %}");
        fails("{{ 'x' * 99999999999 }}");
        fails(&"{% if true %}".repeat(10_000));
        fails(&format!("{{{{ {}", "(".repeat(100_000)));
        let large = "x".repeat(MAX_SOURCE + 1);
        assert!(matches!(ChatTemplate::new(&large), Err(TextError::TooLarge { .. })));
    }

    #[test]
    fn images_and_parts_reach_the_template() {
        use crate::chat::ImageLayout;
        let message = Message::user("look: ").with(Part::Image(ImageLayout::new(1, 1)));
        let input = TemplateInput { messages: &[message], ..TemplateInput::default() };
        let source = "{% for p in messages[0].content %}{{ p.type }}={{ p.text }};{% endfor %}";
        assert_eq!(render(source, &input).unwrap(), "text=look: ;image=;");
    }
}
