//! A real Prometheus for one run: it scrapes the run's processes every second and evaluates the
//! committed rules.

use crate::process::{Process, free_address};
use crate::stack::eventually;
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Rules that hold for minutes must be seen within seconds: both intervals.
const INTERVAL: &str = "1s";
/// Time until it answers.
const START: Duration = Duration::from_secs(30);

/// A running Prometheus. Dropping it kills it.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    client: reqwest::Client,
    process: Process,
}

/// Labels of a series, its name left out.
pub type Labels = BTreeMap<String, String>;

impl Prometheus {
    /// Starts it with its data and log in `directory`, and waits until it answers. `targets` are job
    /// and admin listener of each process; they need not be there yet.
    pub async fn start(
        directory: &Path,
        rules: &[PathBuf],
        targets: &[(&str, SocketAddr)],
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let config = directory.join("prometheus.json");
        // YAML's flow style is JSON.
        let jobs = targets.iter().enumerate().map(|(index, (job, target))| {
            serde_json::json!({
                "job_name": format!("{job}-{index}"),
                "static_configs": [{"targets": [target.to_string()], "labels": {"job": job}}],
            })
        });
        let document = serde_json::json!({
            "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
            "rule_files": rules,
            "scrape_configs": jobs.collect::<Vec<_>>(),
        });
        fs::create_dir_all(directory)?;
        fs::write(&config, document.to_string())?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"));
        let process = Process::start_command(command, directory, "prometheus")?;
        let client = reqwest::Client::builder().no_proxy().timeout(START).build()?;
        let prometheus = Self { address, client, process };
        prometheus.ready().await?;
        Ok(prometheus)
    }

    async fn ready(&self) -> anyhow::Result<()> {
        eventually(START, async || {
            let answer = self.client.get(format!("http://{}/-/ready", self.address)).send().await;
            let is_ready = answer.is_ok_and(|answer| answer.status().is_success());
            let log = self.process.log.display();
            Ok((!is_ready).then(|| format!("Prometheus does not answer; log: {log}")))
        })
        .await
    }

    /// What a query comes to now: labels and value of each series.
    pub async fn query(&self, query: &str) -> anyhow::Result<Vec<(Labels, f64)>> {
        let data = self.get("query", &[("query", query)]).await?;
        let series = data["result"].as_array().context("no vector")?;
        series.iter().map(|series| Ok((labels(series), number(&series["value"][1])?))).collect()
    }

    /// Whether a query had any number in the last minutes.
    pub async fn answered(&self, query: &str, minutes: u64) -> anyhow::Result<bool> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        let (start, end) = ((now - minutes * 60).to_string(), now.to_string());
        let range = [("query", query), ("start", &start), ("end", &end), ("step", "2")];
        let data = self.get("query_range", &range).await?;
        for series in data["result"].as_array().context("no matrix")? {
            for value in series["values"].as_array().context("no values")? {
                if !number(&value[1])?.is_nan() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Names of the alerts whose condition holds, whether or not it has held for long enough.
    pub async fn alerts(&self) -> anyhow::Result<Vec<String>> {
        let data = self.get("alerts", &[]).await?;
        let alerts = data["alerts"].as_array().context("no alerts")?;
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().map(str::to_owned);
        Ok(alerts.iter().filter_map(name).collect())
    }

    /// Errors of the rules, by the rule's name.
    pub async fn broken_rules(&self) -> anyhow::Result<Vec<(String, String)>> {
        let data = self.get("rules", &[]).await?;
        let groups = data["groups"].as_array().context("no groups")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        let broken = rules.filter(|rule| rule["health"] != "ok");
        Ok(broken.map(|rule| (rule["name"].to_string(), rule["lastError"].to_string())).collect())
    }

    async fn get(&self, what: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Value> {
        let url = format!("http://{}/api/v1/{what}", self.address);
        let answer = self.client.get(url).query(parameters).send().await?;
        let mut answer: Value = answer.json().await?;
        if answer["status"] != "success" {
            bail!("{what} {parameters:?}: {}", answer["error"]);
        }
        Ok(answer["data"].take())
    }
}

fn labels(series: &Value) -> Labels {
    let metric = series["metric"].as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let named = metric.filter(|(label, _)| *label != "__name__");
    named.map(|(label, value)| (label.clone(), text(value))).collect()
}

/// Prometheus writes numbers as text: `NaN`, `+Inf`.
fn number(value: &Value) -> anyhow::Result<f64> {
    Ok(value.as_str().context("no number")?.parse()?)
}
