//! What a process exports, beside what docs/METRICS.md lists.

use anyhow::Context as _;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

/// Values that a label may have.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Values {
    OneOf(BTreeSet<String>),
    Number,
    Name,
}

/// A metric as the document lists it.
#[derive(Debug, Clone, Default)]
struct Listed {
    kind: String,
    help: String,
    labels: BTreeMap<String, Values>,
    buckets: BTreeSet<String>,
}

/// The document.
#[derive(Debug)]
pub struct Document(BTreeMap<String, Listed>);

impl Document {
    /// Reads docs/METRICS.md.
    pub fn read() -> anyhow::Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/METRICS.md");
        Self::parse(&std::fs::read_to_string(path).context("docs/METRICS.md")?)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut metrics = BTreeMap::new();
        for part in text.split("\n#### `").skip(1) {
            let (name, rest) = part.split_once("`\n").context("a heading")?;
            // The section's end ends its last metric.
            let rest = rest.split("\n<!-- end").next().unwrap_or(rest);
            let mut lines = rest.lines().filter(|line| !line.is_empty());
            let first = lines.next().with_context(|| format!("{name}: no meaning"))?;
            let (kind_and_unit, help) = first.split_once(". ").context("kind, unit. meaning")?;
            let (kind, _) = kind_and_unit.split_once(", ").context("kind, unit")?;
            let mut metric =
                Listed { kind: kind.to_owned(), help: help.to_owned(), ..Listed::default() };
            for line in lines {
                if let Some(bounds) = line.strip_prefix("- buckets up to ") {
                    metric.buckets = bounds.split(", ").map(str::to_owned).collect();
                    metric.buckets.insert("+Inf".to_owned());
                    continue;
                }
                let (label, values) = line
                    .strip_prefix("- `")
                    .and_then(|line| line.split_once("`: "))
                    .with_context(|| format!("{name}: {line}"))?;
                let values = if values.starts_with("a number: ") {
                    Values::Number
                } else if values.starts_with("a name: ") {
                    Values::Name
                } else {
                    let quoted = values.split(", ").map(|value| value.trim_matches('`').to_owned());
                    Values::OneOf(quoted.collect())
                };
                metric.labels.insert(label.to_owned(), values);
            }
            metrics.insert(name.to_owned(), metric);
        }
        Ok(Self(metrics))
    }

    /// The listed metrics whose names begin so.
    pub fn names(&self, prefixes: &[&str]) -> BTreeSet<&str> {
        let begins = |name: &&str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        self.0.keys().map(String::as_str).filter(begins).collect()
    }

    /// What of these metrics is not as it is listed.
    pub fn problems(&self, scrape: &Scrape) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, kind) in &scrape.kinds {
            let Some(listed) = self.0.get(name) else {
                problems.push(format!("{name} is not listed"));
                continue;
            };
            if *kind != listed.kind {
                problems.push(format!("{name} is a {kind}, listed as {}", listed.kind));
            }
            if scrape.helps.get(name) != Some(&listed.help) {
                problems.push(format!("{name}: HELP {:?}", scrape.helps.get(name)));
            }
        }
        for series in &scrape.series {
            let name = scrape.metric(series);
            match self.0.get(name) {
                Some(listed) => problems.extend(listed.problem(series)),
                None => problems.push(format!("{} is of no listed metric", series.name)),
            }
        }
        problems
    }
}

impl Listed {
    fn problem(&self, series: &Series) -> Option<String> {
        let mut labels = series.labels.clone();
        if let Some(bound) = labels.remove("le")
            && !self.buckets.contains(&bound)
        {
            return Some(format!("{} has the bucket {bound}", series.name));
        }
        if !labels.keys().eq(self.labels.keys()) {
            return Some(format!("{} has the labels {labels:?}", series.name));
        }
        labels.iter().find_map(|(label, value)| {
            let is_allowed = match &self.labels[label] {
                Values::OneOf(values) => values.contains(value),
                Values::Number => value.parse::<u32>().is_ok(),
                Values::Name => !value.is_empty(),
            };
            (!is_allowed).then(|| format!("{}: {label}={value:?} is not listed", series.name))
        })
    }
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// What `/metrics` answered: Prometheus' text format 0.0.4.
#[derive(Debug, Default)]
pub struct Scrape {
    kinds: BTreeMap<String, String>,
    helps: BTreeMap<String, String>,
    series: Vec<Series>,
}

impl Scrape {
    /// Asks the admin listener.
    pub async fn of(admin: SocketAddr) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let response = client.get(format!("http://{admin}/metrics")).send().await?;
        Self::parse(&response.error_for_status()?.text().await?)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let twice = if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').context("HELP")?;
                scrape.helps.insert(name.to_owned(), help.to_owned())
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').context("TYPE")?;
                scrape.kinds.insert(name.to_owned(), kind.to_owned())
            } else {
                scrape.series.push(Series::parse(line).with_context(|| line.to_owned())?);
                None
            };
            anyhow::ensure!(twice.is_none(), "said twice: {line}");
        }
        Ok(scrape)
    }

    /// The metric that a series is of: a histogram has three kinds of them.
    fn metric<'a>(&self, series: &'a Series) -> &'a str {
        ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|suffix| series.name.strip_suffix(suffix))
            .find(|name| self.kinds.get(*name).is_some_and(|kind| kind == "histogram"))
            .unwrap_or(&series.name)
    }

    /// The metrics that have a series.
    pub fn names(&self) -> BTreeSet<&str> {
        self.series.iter().map(|series| self.metric(series)).collect()
    }

    /// Sum over the series of this name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |series: &&Series| {
            let mut wanted = labels.iter();
            wanted.all(|(label, value)| series.labels.get(*label).is_some_and(|v| v == value))
        };
        let of_name = self.series.iter().filter(|series| series.name == name);
        of_name.filter(has).map(|series| series.value).sum()
    }

    /// The same as a whole number, rounded.
    #[expect(clippy::cast_possible_truncation, reason = "counts are far below 2^53")]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> i64 {
        self.sum(name, labels).round() as i64
    }
}

impl Series {
    fn parse(line: &str) -> anyhow::Result<Self> {
        let (series, value) = line.rsplit_once(' ').context("no value")?;
        let value = value.parse()?;
        let Some((name, labels)) = series.split_once('{') else {
            return Ok(Self { name: series.to_owned(), labels: BTreeMap::new(), value });
        };
        // No value of ours holds a quote or a comma.
        let labels = labels
            .trim_end_matches('}')
            .split(',')
            .map(|pair| {
                let (label, value) = pair.split_once('=').context("a label")?;
                Ok((label.to_owned(), value.trim_matches('"').to_owned()))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { name: name.to_owned(), labels, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "
#### `a_total`

counter, a number. Cakes.

- `kind`: `sweet`, `sour`
- `oven`: a number: of the oven

#### `b_seconds`

histogram, seconds. Baking.

- buckets up to 0.1, 2

<!-- end of bakery -->
";

    fn problems(text: &str) -> Vec<String> {
        let document = Document::parse(DOCUMENT).unwrap();
        document.problems(&Scrape::parse(text).unwrap())
    }

    #[test]
    fn what_is_as_listed_has_no_problem() {
        let good = "# HELP a_total Cakes.\n# TYPE a_total counter\na_total{oven=\"3\",kind=\"sour\"} 2\n\
            # HELP b_seconds Baking.\n# TYPE b_seconds histogram\nb_seconds_bucket{le=\"0.1\"} 1\n\
            b_seconds_bucket{le=\"2\"} 1\nb_seconds_bucket{le=\"+Inf\"} 1\nb_seconds_sum 0.05\n\
            b_seconds_count 1\n";
        assert_eq!(problems(good), Vec::<String>::new());
        let scrape = Scrape::parse(good).unwrap();
        assert_eq!(scrape.names(), BTreeSet::from(["a_total", "b_seconds"]));
        assert_eq!(scrape.count("a_total", &[("kind", "sour")]), 2);
        assert_eq!(scrape.count("a_total", &[("kind", "sweet")]), 0);
    }

    #[test]
    fn each_way_not_to_be_as_listed_is_a_problem() {
        let head = "# HELP a_total Cakes.\n# TYPE a_total counter\n";
        for (text, problem) in [
            (
                "# HELP c_total Tea.\n# TYPE c_total counter\nc_total 1\n".to_owned(),
                "c_total is not listed",
            ),
            ("c_total 1\n".to_owned(), "c_total is of no listed metric"),
            ("# HELP a_total Cakes.\n# TYPE a_total gauge\n".to_owned(), "a_total is a gauge"),
            ("# HELP a_total Pies.\n# TYPE a_total counter\n".to_owned(), "a_total: HELP"),
            (format!("{head}a_total{{oven=\"3\"}} 1\n"), "a_total has the labels"),
            (format!("{head}a_total{{oven=\"x\",kind=\"sour\"}} 1\n"), "a_total: oven=\"x\""),
            (format!("{head}a_total{{oven=\"3\",kind=\"salt\"}} 1\n"), "a_total: kind=\"salt\""),
            (
                "# HELP b_seconds Baking.\n# TYPE b_seconds histogram\n\
                 b_seconds_bucket{le=\"7\"} 1\n"
                    .to_owned(),
                "b_seconds_bucket has the bucket 7",
            ),
        ] {
            let found = problems(&text);
            assert!(found.iter().any(|found| found.starts_with(problem)), "{text}: {found:?}");
        }
    }
}
