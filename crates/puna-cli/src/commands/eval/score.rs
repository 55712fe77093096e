//! What a model reached: a row for each skill, and for each length of a skill that has lengths.

use serde_json::{Value, json};

/// One row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Score {
    pub(super) skill: String,
    pub(super) length: Option<usize>,
    /// Items that were tried.
    pub(super) items: usize,
    /// Answers that were right.
    pub(super) right: usize,
    /// Answers that were well-formed, where there is a form.
    pub(super) formed: Option<usize>,
    /// The likelihood of texts.
    pub(super) text: Option<Likelihood>,
    /// Items that the model cannot take, and why the first of them.
    pub(super) left_out: usize,
    pub(super) why: Option<String>,
}

/// How likely texts are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Likelihood {
    /// Negative logarithms, summed.
    pub(super) nats: f64,
    pub(super) tokens: usize,
    pub(super) bytes: usize,
}

impl Likelihood {
    pub(super) fn perplexity(&self) -> f64 {
        (self.nats / self.tokens.max(1) as f64).exp()
    }

    pub(super) fn bits_per_byte(&self) -> f64 {
        self.nats / self.bytes.max(1) as f64 / std::f64::consts::LN_2
    }
}

/// The row of a skill and length, a new one if there was none.
pub(super) fn row<'s>(
    scores: &'s mut Vec<Score>,
    skill: &str,
    length: Option<usize>,
) -> Option<&'s mut Score> {
    if !scores.iter().any(|s| s.skill == skill && s.length == length) {
        scores.push(Score { skill: skill.into(), length, ..Score::default() });
    }
    scores.iter_mut().find(|s| s.skill == skill && s.length == length)
}

/// What one column of the table measures.
pub(super) struct Column {
    /// The type, as `--quant` names it.
    pub(super) name: String,
    /// Bytes of all weights.
    pub(super) bytes: u64,
    pub(super) scores: Vec<Score>,
}

fn percent(n: usize, of: usize) -> f64 {
    100.0 * n as f64 / of.max(1) as f64
}

impl Score {
    /// The lines of this row: what it is, and its value.
    fn lines(&self) -> Vec<(String, String)> {
        let name = match self.length {
            Some(length) => format!("{} {length}", self.skill),
            None => self.skill.clone(),
        };
        if self.items == 0 {
            return vec![(name, "left out".into())];
        }
        if let Some(text) = &self.text {
            return vec![
                (format!("{name} perplexity"), format!("{:.2}", text.perplexity())),
                (format!("{name} bits/byte"), format!("{:.3}", text.bits_per_byte())),
            ];
        }
        let mut lines = vec![(name, format!("{:.1} %", percent(self.right, self.items)))];
        if let Some(formed) = self.formed {
            lines.push(("  well-formed".into(), format!("{:.1} %", percent(formed, self.items))));
        }
        lines
    }

    fn json(&self) -> Value {
        let mut row = json!({ "skill": self.skill, "items": self.items });
        if let Some(length) = self.length {
            row["length"] = length.into();
        }
        match &self.text {
            Some(text) => {
                row["tokens"] = text.tokens.into();
                row["bytes"] = text.bytes.into();
                row["perplexity"] = text.perplexity().into();
                row["bits_per_byte"] = text.bits_per_byte().into();
            }
            None if self.items > 0 => {
                row["right"] = self.right.into();
                row["percent"] = percent(self.right, self.items).into();
            }
            None => {}
        }
        if let Some(formed) = self.formed {
            row["well_formed"] = formed.into();
        }
        if self.left_out > 0 {
            row["left_out"] = self.left_out.into();
            row["why"] = self.why.clone().into();
        }
        row
    }
}

impl Column {
    pub(super) fn json(&self) -> Value {
        let rows = self.scores.iter().map(Score::json).collect::<Vec<_>>();
        json!({ "type": self.name, "weight_bytes": self.bytes, "skills": rows })
    }
}

/// All columns side by side. They have the same rows: the same items were tried.
pub(super) fn table(columns: &[Column]) -> String {
    let mut head = vec!["skill".to_owned(), "items".to_owned()];
    head.extend(columns.iter().map(|column| column.name.clone()));
    let mut size = vec!["weights".to_owned(), String::new()];
    size.extend(columns.iter().map(|column| crate::output::size(column.bytes)));
    let mut rows = vec![head, size];
    let Some(first) = columns.first() else { return String::new() };
    for (i, score) in first.scores.iter().enumerate() {
        for (line, (name, _)) in score.lines().into_iter().enumerate() {
            let items = if line == 0 { score.items.to_string() } else { String::new() };
            let mut row = vec![name, items];
            row.extend(columns.iter().map(|column| {
                let lines = column.scores.get(i).map(Score::lines).unwrap_or_default();
                lines.into_iter().nth(line).map_or_else(String::new, |(_, value)| value)
            }));
            rows.push(row);
        }
    }
    let mut out = crate::output::table(&rows);
    for score in first.scores.iter().filter(|score| score.left_out > 0) {
        let length = score.length.map(|length| format!(" {length}")).unwrap_or_default();
        let why = score.why.as_deref().unwrap_or_default();
        out += &format!("\n  {}{length}: {} left out: {why}", score.skill, score.left_out);
    }
    if out.ends_with('\n') { out } else { out + "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_side_by_side() {
        let text = Likelihood { nats: 4.0 * 2f64.ln(), tokens: 2, bytes: 8 };
        assert!((text.perplexity() - 4.0).abs() < 1e-12 && (text.bits_per_byte() - 0.5).abs() < 1e-12);
        let column = |name: &str, right| {
            let mut scores = Vec::new();
            *row(&mut scores, "text", None).unwrap() =
                Score { skill: "text".into(), items: 1, text: Some(text), ..Score::default() };
            for _ in 0..2 {
                let score = row(&mut scores, "json", None).unwrap();
                (score.items, score.right, score.formed) = (4, right, Some(4));
            }
            row(&mut scores, "digit", None).unwrap().left_out = 3;
            assert_eq!(scores.len(), 3);
            Column { name: name.into(), bytes: 1000, scores }
        };
        let table = table(&[column("f32", 3), column("q2_k", 1)]);
        assert!(table.contains("75.0 %") && table.contains("25.0 %") && table.contains("100.0 %"), "{table}");
        assert!(table.contains("digit: 3 left out") && table.contains("4.00"), "{table}");
        let json = column("f32", 3).json();
        assert_eq!(json["skills"][1]["percent"], 75.0);
        assert_eq!((&json["skills"][2]["items"], &json["skills"][2]["right"]), (&json!(0), &Value::Null));
    }
}
