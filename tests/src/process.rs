//! The built binaries as processes of their own, each with its log.

use crate::stack::{binaries, eventually};
use anyhow::{Context as _, bail};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

/// Variables of a process.
pub type Env = Vec<(String, String)>;

/// A running binary. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Process {
    /// Starts a binary with these variables on top of ours; its output goes to `logs/NAME.log`.
    pub fn start(
        binary: &str,
        arguments: &[&str],
        env: &Env,
        logs: &Path,
        name: &str,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(logs).with_context(|| logs.display().to_string())?;
        let path = logs.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&path)?;
        let child = command(binary, arguments, env)?
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("starting {binary}"))?;
        Ok(Self { name: name.to_owned(), child, log: path })
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until its admin listener says ready.
    pub async fn ready(&mut self, admin: SocketAddr) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        eventually(Duration::from_secs(30), async || {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended while starting ({status}): {}", self.name, self.last_words());
            }
            let answer = client.get(format!("http://{admin}/readyz")).send().await;
            Ok(match answer {
                Ok(answer) if answer.status().is_success() => None,
                Ok(answer) => Some(format!("{} is not ready: {}", self.name, answer.text().await?)),
                Err(_) => {
                    Some(format!("{} does not answer; log: {}", self.name, self.log.display()))
                }
            })
        })
        .await
    }

    /// Asks it to end, as an orchestrator does, and waits for that.
    pub async fn terminate(self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.signal("TERM")?;
        self.ended(deadline).await
    }

    /// Asks it to end, as a person at a terminal does, and waits for that.
    pub async fn interrupt(self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.signal("INT")?;
        self.ended(deadline).await
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        let mut ended = None;
        eventually(deadline, async || {
            ended = self.child.try_wait()?;
            Ok(ended.is_none().then(|| format!("{} runs", self.name)))
        })
        .await?;
        ended.with_context(|| format!("{} has no exit status", self.name))
    }

    /// Sends it a signal, `STOP` for example.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().context("running kill")?;
        if !sent.success() {
            bail!("{} was gone already: {}", self.name, self.last_words());
        }
        Ok(())
    }

    /// Ends it as a crash would: at once, with nothing said.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Lets it run on after us.
    pub fn leave_running(self) {
        std::mem::forget(self);
    }

    /// Everything it has written.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn last_words(&self) -> String {
        let output = self.output();
        let last = output.lines().next_back().unwrap_or("it said nothing");
        format!("{last}; log: {}", self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a binary to its end.
pub fn run(binary: &str, arguments: &[&str], env: &Env) -> anyhow::Result<Output> {
    command(binary, arguments, env)?.output().with_context(|| format!("running {binary}"))
}

/// Runs a binary whose output nobody reads: the pipe is closed before it starts.
pub fn run_unread(binary: &str, arguments: &[&str], env: &Env) -> anyhow::Result<Output> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut command = command(binary, arguments, env)?;
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn();
    Ok(child.with_context(|| format!("starting {binary}"))?.wait_with_output()?)
}

fn command(binary: &str, arguments: &[&str], env: &Env) -> anyhow::Result<Command> {
    let path = binaries()?.join(binary);
    if !path.exists() {
        bail!("{} is not built; `./dev` builds it", path.display());
    }
    let mut command = Command::new(path);
    command.args(arguments).envs(env.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// A loopback address whose port was free a moment ago.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("finding a free port")?;
    Ok(listener.local_addr()?)
}
