//! As much of PromQL as the tests must see: each selector of a query with what stands around it. That
//! queries are valid, promtool says.

/// One selector, `name{matchers}[range]`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    pub(crate) matchers: String,
    /// Empty where it is an instant's.
    pub(crate) range: String,
    /// The function that it is an argument of; empty where there is none.
    pub(crate) function: String,
}

impl Selector {
    /// Name of the metric without what a histogram's series end in.
    pub(crate) fn listed_as(&self) -> &str {
        ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| self.metric.strip_suffix(end))
            .unwrap_or(&self.metric)
    }
}

/// The selectors of a query. All of ours have braces, but for recorded series.
pub(crate) fn selectors(query: &str) -> Vec<Selector> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    for (at, _) in query.match_indices('{') {
        let metric: String = trailing(&query[..at], is_name);
        let before = &query[..at - metric.len()];
        let end = at + query[at..].find('}').unwrap();
        let range = query[end + 1..].strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let function = before.strip_suffix('(').map(|before| trailing(before, is_name));
        found.push(Selector {
            metric,
            matchers: query[at + 1..end].to_owned(),
            range: range.map(|(range, _)| range.to_owned()).unwrap_or_default(),
            function: function.unwrap_or_default(),
        });
    }
    found
}

fn trailing(text: &str, is: impl Fn(char) -> bool) -> String {
    text[text.trim_end_matches(is).len()..].to_owned()
}

#[test]
fn selectors_are_seen_with_what_stands_around_them() {
    let query = r#"sum by (a) (rate(x_total{job="j", b=~"1|2"}[5m])) / y_bucket{c="d"} > slo:z"#;
    let [rate, plain] = &selectors(query)[..] else { panic!() };
    assert_eq!((&*rate.metric, &*rate.range, &*rate.function), ("x_total", "5m", "rate"));
    assert_eq!(rate.matchers, r#"job="j", b=~"1|2""#);
    assert_eq!((plain.listed_as(), &*plain.range, &*plain.function), ("y", "", ""));
}
