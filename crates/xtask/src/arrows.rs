//! Which crate of the workspace may use which: the arrows of the architecture.

use crate::run::{Result, cargo, output};
use crate::tidy::Finding;
use serde_json::Value;

/// Each crate, and those it may depend on. A crate that is not listed may use any (tests, benches, examples, fuzz).
const ARROWS: [(&str, &[&str]); 11] = [
    ("puna-core", &[]),
    ("puna-shaders", &[]),
    ("puna-format", &["puna-core"]),
    ("puna-text", &["puna-core"]),
    ("puna-cpu", &["puna-core"]),
    ("puna-gpu", &["puna-core", "puna-shaders"]),
    ("puna-llama", &["puna-core", "puna-format", "puna-text"]),
    ("puna", &["puna-core", "puna-format", "puna-text", "puna-cpu", "puna-gpu", "puna-llama"]),
    ("puna-cli", &["puna", "puna-core", "puna-format", "puna-text", "puna-llama"]),
    ("puna-testkit", &["puna-core", "puna-format", "puna-text", "puna-cpu", "puna-gpu", "puna-llama"]),
    ("xtask", &["puna-testkit"]),
];

/// Published crates, whose users would have to build whatever their manifest names.
const TEST_SUPPORT: &str = "puna-testkit";

/// Compares the manifests with the table.
pub(crate) fn check() -> Result<Vec<Finding>> {
    let metadata = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_slice(&metadata).map_err(|e| format!("cargo metadata: {e}"))?;
    Ok(findings(&metadata))
}

fn findings(metadata: &Value) -> Vec<Finding> {
    let list =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let packages = list(metadata, "packages");
    let members: Vec<String> = packages.iter().map(|package| text(package, "name")).collect();
    let mut findings = Vec::new();
    for package in &packages {
        let name = text(package, "name");
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else { continue };
        for dependency in list(package, "dependencies") {
            let to = text(&dependency, "name");
            let tests_only = text(&dependency, "kind") == "dev" && to == TEST_SUPPORT;
            if members.contains(&to) && to != name && !allowed.contains(&to.as_str()) && !tests_only {
                findings.push(Finding::new(
                    &text(package, "manifest_path"),
                    0,
                    format!(
                        "{name} depends on {to}, an arrow the architecture does not have. Move what is needed to a \
                         crate both may use, or, with a reason, change the table in crates/xtask/src/arrows.rs and \
                         the README's architecture section together"
                    ),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(from: &str, to: &str, kind: Option<&str>) -> Vec<Finding> {
        findings(&serde_json::json!({ "packages": [
            { "name": from, "manifest_path": "a/Cargo.toml", "dependencies": [{ "name": to, "kind": kind }] },
            { "name": to, "manifest_path": "b/Cargo.toml", "dependencies": [] },
        ]}))
    }

    #[test]
    fn arrows_are_one_way() {
        assert_eq!(workspace("puna-llama", "puna-core", None).len(), 0);
        assert_eq!(workspace("puna-core", "puna-llama", None).len(), 1);
        assert_eq!(workspace("puna-llama", "puna-cpu", None).len(), 1);
        assert_eq!(workspace("puna-cpu", "puna-gpu", None).len(), 1);
        assert_eq!(workspace("puna-gpu", "puna-cpu", Some("dev")).len(), 1);
        assert_eq!(workspace("puna-core", "puna-testkit", Some("dev")).len(), 0);
        assert_eq!(workspace("puna-core", "puna-testkit", None).len(), 1);
        assert_eq!(workspace("puna-tests", "puna-gpu", None).len(), 0);
        assert!(
            workspace("puna-llama", "puna-cpu", None)[0]
                .to_string()
                .contains("puna-llama depends on puna-cpu")
        );
    }

    #[test]
    fn foreign_crates_are_not_arrows() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "puna-core", "manifest_path": "", "dependencies": [{ "name": "half", "kind": null }] },
        ]});
        assert_eq!(findings(&metadata).len(), 0);
    }
}
