//! docs/METRICS.md: a section for each list, made of it.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use super::{Description, Kind, Values};

/// What a metric's name says about its unit.
fn unit(metric: &Description) -> &'static str {
    let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
    if name.ends_with("_timestamp_seconds") || name == "process_start_time_seconds" {
        "Unix time in seconds"
    } else if name.ends_with("_seconds") {
        "seconds"
    } else if name.ends_with("_bytes") {
        "bytes"
    } else if name.ends_with("_info") {
        "always 1"
    } else {
        "a number"
    }
}

/// A list as Markdown.
pub fn section(list: &[Description]) -> String {
    let mut text = String::new();
    for metric in list {
        let _ = writeln!(text, "\n#### `{}`\n", metric.name);
        let _ = writeln!(text, "{}, {}. {}", metric.kind.as_str(), unit(metric), metric.help);
        if !metric.labels.is_empty() || metric.kind == Kind::Histogram {
            text.push('\n');
        }
        for label in &metric.labels {
            let values = match label.values {
                Values::OneOf(values) => {
                    values().iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
                }
                Values::Number(of) => format!("a number: {of}"),
                Values::Named(of) => format!("a name: {of}"),
            };
            let _ = writeln!(text, "- `{}`: {values}", label.name);
        }
        if metric.kind == Kind::Histogram {
            let bounds: Vec<String> = metric.buckets.iter().map(f64::to_string).collect();
            let _ = writeln!(text, "- buckets up to {}", bounds.join(", "));
        }
    }
    text
}

/// For the test of a list: panics unless the section between the markers of `package` in
/// docs/METRICS.md is what the list says. With `UPDATE_DOCS` in the environment it writes it instead.
/// Also checks the names.
pub fn check(package: &str, list: &[Description]) {
    list.iter().for_each(check_name);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/METRICS.md");
    let text = fs::read_to_string(&path).expect("docs/METRICS.md");
    let remedy = format!("UPDATE_DOCS=1 cargo test -p {package} metrics");
    let (begin, end) =
        (format!("<!-- {package}: {remedy} -->\n"), format!("\n<!-- end of {package} -->"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| {
        let (section, after) = rest.split_once(&end)?;
        Some((before, section, after))
    });
    let (before, found, after) = parts.expect("docs/METRICS.md has the section's markers");
    let made = section(list);
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{begin}{made}{end}{after}")).expect("docs/METRICS.md");
        return;
    }
    assert!(found == made, "docs/METRICS.md is not what the list says; make it anew: {remedy}");
}

/// <https://prometheus.io/docs/practices/naming/>.
fn check_name(metric: &Description) {
    let name = metric.name;
    let is_counter = metric.kind == Kind::Counter;
    assert!(
        name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
        "{name}"
    );
    assert_eq!(name.ends_with("_total"), is_counter, "{name}: `_total` is for counters");
    for wrong in
        ["_ms", "_millis", "_milliseconds", "_us", "_minutes", "_hours", "_kb", "_mb", "_percent"]
    {
        assert!(!name.trim_end_matches("_total").ends_with(wrong), "{name}: not a base unit");
    }
    assert!(metric.help.ends_with('.'), "{name}: its meaning is no sentence");
    assert!(metric.buckets.is_sorted(), "{name}: buckets");
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_says_what_the_list_says() {
        super::check("service", &crate::metrics::all());
    }
}
