//! A real Chromium without a window, driven over the WebDriver protocol
//! (<https://www.w3.org/TR/webdriver2>) that Debian's `chromedriver` speaks.

use crate::process::free_address;
use crate::stack::eventually;
use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What makes it quiet, alone and reproducible.
const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];
/// Time for it to start.
const START: Duration = Duration::from_secs(30);

/// A browser with one page. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    client: reqwest::Client,
    /// Address of the session.
    session: String,
    profile: PathBuf,
}

/// How a page is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Width of the window, CSS pixels.
    pub width: u32,
    /// Whether dark colours are preferred.
    pub is_dark: bool,
}

impl Browser {
    /// Starts the driver that `CHROMEDRIVER` names, with a new and empty profile. `None` where
    /// `./dev` has said that it cannot be had: the variable is there and empty.
    pub async fn start() -> anyhow::Result<Option<Self>> {
        let program = std::env::var("CHROMEDRIVER").unwrap_or_else(|_| "chromedriver".to_owned());
        if program.is_empty() {
            return Ok(None);
        }
        let address = free_address()?;
        let profile = std::env::temp_dir().join(format!("console-browser-{}", address.port()));
        let driver = Command::new(&program)
            .arg(format!("--port={}", address.port()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {program}; `./dev test` installs it"))?;
        let client = reqwest::Client::builder().no_proxy().timeout(START).build()?;
        let mut browser = Self { driver, client, session: String::new(), profile };
        let driver = format!("http://{address}");
        eventually(START, async || {
            let answer = browser.client.get(format!("{driver}/status")).send().await;
            Ok(answer.err().map(|error| format!("chromedriver does not answer: {error}")))
        })
        .await?;
        let profile = format!("--user-data-dir={}", browser.profile.display());
        let arguments: Vec<&str> = ARGUMENTS.into_iter().chain([&*profile]).collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}}}});
        let started = browser.post(&format!("{driver}/session"), &wanted).await?;
        let id = started["sessionId"].as_str().context("no session")?;
        browser.session = format!("{driver}/session/{id}");
        Ok(Some(browser))
    }

    /// Chooses how pages are looked at from now on.
    pub async fn look(&self, view: View) -> anyhow::Result<()> {
        let size = json!({"width": view.width, "height": 900, "deviceScaleFactor": 1,
            "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await?;
        let scheme = if view.is_dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", media).await.map(drop)
    }

    /// Whether pages may run scripts, from the next page on.
    pub async fn allow_scripts(&self, is_allowed: bool) -> anyhow::Result<()> {
        let value = json!({"value": !is_allowed});
        self.devtools("Emulation.setScriptExecutionDisabled", value).await.map(drop)
    }

    /// Opens a page and waits until it is there.
    pub async fn open(&self, url: &str) -> anyhow::Result<()> {
        self.call("url", json!({"url": url})).await.map(drop)
    }

    /// Where it is.
    pub async fn url(&self) -> anyhow::Result<String> {
        let value = self.evaluate("return location.href").await?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// What a function's body returns in the page.
    pub async fn evaluate(&self, script: &str) -> anyhow::Result<Value> {
        self.call("execute/sync", json!({"script": script, "args": []})).await
    }

    /// Types into the element that has the focus; `\u{e007}` is Enter, `\u{e004}` Tab.
    pub async fn type_keys(&self, keys: &str) -> anyhow::Result<()> {
        let press = |key: char| {
            let key = key.to_string();
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
        };
        let actions: Vec<Value> = keys.chars().flat_map(press).collect();
        let keyboard = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.call("actions", keyboard).await.map(drop)
    }

    /// Clicks the first element that a CSS selector names.
    pub async fn click(&self, selector: &str) -> anyhow::Result<()> {
        let wanted = json!({"using": "css selector", "value": selector});
        let found = self.call("element", wanted).await.with_context(|| selector.to_owned())?;
        let id = found.as_object().and_then(|it| it.values().next()?.as_str());
        let id = id.with_context(|| format!("no {selector}"))?;
        self.call(&format!("element/{id}/click"), json!({})).await.map(drop)
    }

    /// What the console of the browser has said since it was last asked: errors of scripts, what the
    /// content security policy has blocked, what could not be loaded.
    pub async fn said(&self) -> anyhow::Result<Vec<Value>> {
        let entries = self.call("se/log", json!({"type": "browser"})).await?;
        Ok(entries.as_array().cloned().unwrap_or_default())
    }

    /// The page as a PNG, from its top down to so many pixels.
    pub async fn picture(&self, width: u32, most: u64) -> anyhow::Result<Vec<u8>> {
        let height = self.evaluate("return document.scrollingElement.scrollHeight").await?;
        let height = height.as_u64().unwrap_or(most).min(most);
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let asked = json!({"captureBeyondViewport": true, "clip": clip});
        let taken = self.devtools("Page.captureScreenshot", asked).await?;
        Ok(STANDARD.decode(taken["data"].as_str().context("no picture")?)?)
    }

    async fn devtools(&self, command: &str, parameters: Value) -> anyhow::Result<Value> {
        self.call("goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    async fn call(&self, command: &str, body: Value) -> anyhow::Result<Value> {
        self.post(&format!("{}/{command}", self.session), &body).await
    }

    async fn post(&self, url: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = self.client.post(url).json(body).send().await?;
        let is_done = answer.status().is_success();
        let mut said: Value = answer.json().await?;
        if !is_done {
            bail!("the browser: {}", said["value"]["message"]);
        }
        Ok(said["value"].take())
    }
}

impl Drop for Browser {
    /// Asks the driver to end, which ends the browser: killed, it would leave that behind.
    fn drop(&mut self) {
        let id = self.driver.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}
