//! Tools in prompts: the texts that offer them and the text of a call.

use alloc::{format, string::String, vec::Vec};

use super::ToolCall;
use crate::{Json, JsonStyle, TextError, json::python_float};

/// How tool calls are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToolFormat {
    /// `{"type": "function", "name": "f", "parameters": {"x": 1}}`
    #[default]
    Json,
    /// `<function=f>{"x": 1}</function>`
    FunctionTag,
    /// `[f(x=1)]`
    PythonList,
}

/// Opens a system message of a conversation with tools.
const ENVIRONMENT: &str = "Environment: ipython\n";
const JSON_ANSWER: &str = "Respond in the format {\"name\": function name, \"parameters\": dictionary of argument name and its value}.Do not use variables.\n\n";
const LIST: &str = "Here is a list of functions in JSON format that you can invoke";

/// The content of a system message that offers `tools` (JSON descriptions) and goes on with `text`.
///
/// [`ToolFormat::Json`] is what the released template makes with `tools_in_user_message` false.
pub fn tools_in_system(tools: &[Json], text: &str, format: ToolFormat) -> String {
    match format {
        ToolFormat::Json => {
            let call = "You have access to the following functions. To call a function, please respond with JSON for a function call.";
            format!("{ENVIRONMENT}{call}{JSON_ANSWER}{}{}", each(tools), text.trim())
        }
        ToolFormat::FunctionTag => format!(
            "{ENVIRONMENT}{LIST}. Use exact format: <function=NAME>{{\"parameter\": value}}</function>\n{}\n\n{}",
            array(tools),
            text.trim()
        ),
        ToolFormat::PythonList => format!(
            "{text}\n{LIST}. Use exact format: [func_name1(param1=value1, param2=value2), func_name2(...)]\n{}",
            array(tools)
        ),
    }
}

/// The content of a first user message that offers `tools` (JSON descriptions) and asks `text`.
///
/// [`ToolFormat::Json`] is what the released template makes by default.
pub fn tools_in_user(tools: &[Json], text: &str, format: ToolFormat) -> String {
    match format {
        ToolFormat::Json => {
            let call = "Given the following functions, please respond with a JSON for a function call with its proper arguments that best answers the given prompt.\n\n";
            format!("{call}{JSON_ANSWER}{}{}", each(tools), text.trim())
        }
        ToolFormat::FunctionTag => format!(
            "{LIST}. Use exact format: <function=NAME>{{\"parameter\": value}}</function>\n{}\n\n{}",
            array(tools),
            text.trim()
        ),
        ToolFormat::PythonList => format!(
            "Questions: {text}\n{LIST}:\n{}\n\nShould you decide to return the function call(s), put them in the format of [func1(params_name=params_value, params_name2=params_value2...), func2(params)]\n\nYou SHOULD NOT include any other text in the response.",
            array(tools)
        ),
    }
}

const PRETTY: JsonStyle = JsonStyle { indent: Some(4), ascii: false };

fn each(tools: &[Json]) -> String {
    tools.iter().map(|tool| tool.dump(PRETTY) + "\n\n").collect()
}

fn array(tools: &[Json]) -> String {
    Json::Array(tools.to_vec()).dump(PRETTY)
}

/// The text of a call, as Meta's `ToolUtils.encode_tool_call` writes it, its four built-in tools included.
pub(super) fn encode_call(call: &ToolCall, format: ToolFormat) -> Result<String, TextError> {
    let argument = |key: &str| match call.arguments.get(key) {
        Some(Json::String(text)) => Ok(text.as_str()),
        other => Err(TextError::malformed(
            "tool call",
            format!("argument \"{key}\" of built-in tool {}", call.name),
            "a string",
            other.map_or("nothing", Json::kind),
        )),
    };
    match (call.name.as_str(), format) {
        (name @ ("brave_search" | "wolfram_alpha" | "photogen"), _) => {
            Ok(format!("{name}.call(query=\"{}\")", argument("query")?))
        }
        ("code_interpreter", _) => argument("code").map(String::from),
        (name, ToolFormat::Json) => {
            let call = Json::Object(Vec::from([
                ("type".into(), Json::String("function".into())),
                ("name".into(), Json::String(name.into())),
                ("parameters".into(), call.arguments.clone()),
            ]));
            Ok(call.dump(JsonStyle::default()))
        }
        (name, ToolFormat::FunctionTag) => {
            Ok(format!("<function={name}>{}</function>", call.arguments.dump(JsonStyle::default())))
        }
        (name, ToolFormat::PythonList) => match &call.arguments {
            Json::Object(arguments) => {
                let mut out = format!("[{name}(");
                keyword_arguments(arguments, &mut out);
                out.push_str(")]");
                Ok(out)
            }
            other => Err(TextError::malformed(
                "tool call",
                format!("arguments of {name}"),
                "an object",
                other.kind(),
            )),
        },
    }
}

fn keyword_arguments(arguments: &[(String, Json)], out: &mut String) {
    for (i, (key, value)) in arguments.iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        out.push_str(key);
        out.push('=');
        python_value(value, out);
    }
}

/// A value as Meta's code writes it: quotes in strings are not escaped, and a dictionary has `=` between key and value.
fn python_value(value: &Json, out: &mut String) {
    match value {
        Json::Null => out.push_str("None"),
        Json::Bool(b) => out.push_str(if *b { "True" } else { "False" }),
        Json::Int(n) => out.push_str(&format!("{n}")),
        Json::Float(x) => out.push_str(&python_float(*x)),
        Json::String(s) => out.extend(["\"", s, "\""]),
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                python_value(item, out);
            }
            out.push(']');
        }
        Json::Object(entries) => {
            out.push('{');
            keyword_arguments(entries, out);
            out.push('}');
        }
    }
}
