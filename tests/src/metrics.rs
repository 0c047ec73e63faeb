//! What a process tells on its admin listener.

use anyhow::Context as _;
use std::net::SocketAddr;

/// Sum of a metric's series whose labels hold this text, `role="project"` for example; 0 if none
/// does. All series hold the empty text.
pub async fn metric(admin: SocketAddr, name: &str, label: &str) -> anyhow::Result<f64> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.get(format!("http://{admin}/metrics")).send().await?;
    sum(&answer.text().await?, name, label)
}

fn sum(text: &str, name: &str, label: &str) -> anyhow::Result<f64> {
    let series = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
    let wanted = series.filter(|(labels, _)| {
        (labels.is_empty() || labels.starts_with('{')) && labels.contains(label)
    });
    let values = wanted.map(|(_, value)| value.parse::<f64>());
    values.sum::<Result<f64, _>>().with_context(|| format!("the metric {name}"))
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn series_of_one_name_are_added_up() {
        let text = "# TYPE a counter\na{role=\"x\"} 1\na{role=\"y\"} 2\na_total 4\nb 8\n";
        assert!((sum(text, "a", "").unwrap() - 3.0).abs() < f64::EPSILON);
        assert!((sum(text, "a", "role=\"y\"").unwrap() - 2.0).abs() < f64::EPSILON);
        assert!((sum(text, "b", "").unwrap() - 8.0).abs() < f64::EPSILON);
        assert!(sum(text, "c", "").unwrap().abs() < f64::EPSILON);
    }
}
