//! The little YAML that rules need.

/// A double-quoted scalar: JSON's strings are YAML's.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// PromQL as a literal block, indented by this many spaces.
pub(crate) fn block(text: &str, indent: usize) -> String {
    let pad = " ".repeat(indent);
    let lines = text.trim().lines().map(|line| format!("{pad}{}", line.trim_end()));
    format!("|-\n{}", lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives() {
        assert_eq!(quoted(r#"a "b" \ {{ $value }}"#), r#""a \"b\" \\ {{ $value }}""#);
        assert_eq!(block("a\n  b \n", 2), "|-\n  a\n    b");
    }
}
