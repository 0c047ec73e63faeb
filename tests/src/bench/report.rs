//! The tables of a benchmark: Markdown for docs/BENCHMARKS.md, or one JSON document.

use super::{Machine, Options};
use comfy_table::{CellAlignment, presets};
use serde_json::{Map, Value, json};

/// What a benchmark came to.
#[derive(Debug)]
pub struct Report {
    name: &'static str,
    short: bool,
    machine: Machine,
    tables: Vec<Table>,
}

impl Report {
    /// A report without tables yet, of the machine as it is now.
    pub async fn begin(name: &'static str, options: &Options) -> anyhow::Result<Self> {
        let machine = Machine::look().await?;
        Ok(Self { name, short: options.short, machine, tables: Vec::new() })
    }

    /// Adds a table.
    pub fn add(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// Every table in Markdown, ratios first.
    pub fn to_markdown(&self) -> String {
        let form = if self.short { ", short form: its numbers mean nothing" } else { "" };
        let head = format!("## {}{form}\n\n{}\n", self.name, self.machine.line());
        let tables = self.tables.iter().map(Table::to_markdown);
        std::iter::once(head).chain(tables).collect::<Vec<_>>().join("\n")
    }

    /// The same as one document.
    pub fn to_json(&self) -> Value {
        let tables: Vec<Value> = self.tables.iter().map(Table::to_json).collect();
        json!({
            "bench": self.name, "short": self.short, "machine": self.machine, "tables": tables
        })
    }
}

/// One table: rows of a label and values.
#[derive(Debug)]
pub struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    /// A table with these columns, the first of which names the row.
    pub fn new<S: Into<String>>(
        title: impl Into<String>,
        columns: impl IntoIterator<Item = S>,
    ) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        Self { title: title.into(), columns, rows: Vec::new() }
    }

    /// Adds a row; values that are not there are empty.
    pub fn row(&mut self, label: impl Into<String>, values: impl IntoIterator<Item = f64>) {
        let values = values.into_iter().map(|value| json!(value));
        self.rows.push(std::iter::once(json!(label.into())).chain(values).collect());
    }

    fn to_markdown(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_header(&self.columns);
        for row in &self.rows {
            table.add_row(row.iter().map(|value| match value {
                Value::String(label) => label.clone(),
                value => value.as_f64().map_or_else(String::new, number),
            }));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("### {}\n\n{table}\n", self.title)
    }

    fn to_json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let pairs = self.columns.iter().cloned().zip(row.iter().cloned());
                Value::Object(pairs.collect::<Map<String, Value>>())
            })
            .collect();
        json!({ "title": self.title, "rows": rows })
    }
}

/// A number to three digits, thousands apart: `0.714`, `5.52`, `12 500`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "–".to_owned();
    } else if size < 100.0 {
        let decimals = if size < 1.0 {
            3
        } else if size < 10.0 {
            2
        } else {
            1
        };
        return format!("{value:.decimals$}");
    }
    let digits = format!("{}", size.round() as u64);
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    format!("{}{}", if value < 0.0 { "-" } else { "" }, groups.join(" "))
}

/// A count as a number to calculate with; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts are smaller")]
pub fn float(count: usize) -> f64 {
    count as f64
}

/// Bytes in MiB.
#[expect(clippy::cast_precision_loss, reason = "for a table")]
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_at_least() {
        let shown = [0.7142, 5.519, 55.19, 551.9, 12_500.4, 1_234_567.0, -1234.0].map(number);
        assert_eq!(shown, ["0.714", "5.52", "55.2", "552", "12 500", "1 234 567", "-1 234"]);
        assert_eq!(number(f64::NAN), "–");
    }

    #[test]
    fn a_table_is_markdown_and_json() {
        let mut table = Table::new("Speed", ["what", "ratio"]);
        table.row("ingest", [0.8]);
        let text = table.to_markdown();
        assert!(text.contains("### Speed\n\n| what") && text.contains("| 0.800 |"), "{text}");
        let rows = json!([{ "what": "ingest", "ratio": 0.8 }]);
        assert_eq!(table.to_json(), json!({ "title": "Speed", "rows": rows }));
    }
}
