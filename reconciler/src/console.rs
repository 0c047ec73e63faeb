//! `reconciler console`: pages for support and finance. They read what the database says, and write
//! nothing but the record of who looked at personal data.
//!
//! A request goes through [`listener`], then [`web`] (limits, headers, who is asking), then the page.
//! Each page reads in one read-only transaction ([`reader`]), turns rows into cells ([`cell`]) and
//! fills a template of `reconciler/templates`.

mod access;
mod assets;
mod cell;
mod ledger;
mod list;
mod listener;
mod lists;
mod login;
mod object;
mod overview;
mod page;
mod plot;
mod problem;
mod providers;
mod quarantine;
mod reader;
mod search;
mod settings;
mod story;
mod timeline;
mod web;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use service::exit::Outcome;
use service::secret::SecretString;
use service::signals;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::commands::migrate;
use crate::config::Database;
use crate::database;
use crate::fault::persist;
use crate::story::segment::Archive;

use self::access::Access;
use self::reader::Reader;
use self::web::Console;

pub(crate) use self::settings::Settings;

/// Shown below `--help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  reconciler console                                     on this machine only, for anybody on it
  CONSOLE_TOKENS_FILE=tokens reconciler console --console-listen 0.0.0.0:9466
  reconciler console --console-user-header X-Forwarded-User --console-proxies 10.0.0.0/8 \\
    --console-listen 0.0.0.0:9466                        behind a proxy that knows who is asking

A file of tokens has a line for each person or program: NAME:TOKEN. `openssl rand -hex 24` makes a
token. Browsers give it to the login page, programs send it as `Authorization: Bearer TOKEN`.";

/// What the command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Arguments {
    /// Where the pages are served: HTTP without TLS
    #[arg(long, env, default_value = "127.0.0.1:9466")]
    console_listen: SocketAddr,
    #[command(flatten)]
    settings: Settings,
    /// Bucket of the archive, to name the segment of each event
    #[arg(long, env, help_heading = "Archive")]
    s3_bucket: Option<String>,
    /// Prefix of the archive's keys
    #[arg(long, env, default_value = "", help_heading = "Archive")]
    s3_prefix: String,
    #[command(flatten)]
    database: Database,
}

/// Serves the pages until SIGTERM.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let start = Start {
        listen: arguments.console_listen,
        settings: &arguments.settings,
        url: arguments.database.url()?,
        archive: Archive::open(arguments.s3_bucket.as_deref(), &arguments.s3_prefix).await?,
    };
    start.check()?;
    let stop = signals::shutdown_token()?;
    let schema = async {
        let pool = database::pool(&start.url, "console", 1)?;
        persist("console", || migrate::check(&pool)).await.map_err(anyhow::Error::from)
    };
    match stop.run_until_cancelled(schema).await {
        None => return Ok(Outcome::Done),
        Some(schema) => {
            if let Err(problem) = schema? {
                bail!(problem);
            }
        }
    }
    start.serve(stop).await?.await.context("serving the console")?;
    Ok(Outcome::Done)
}

/// What it takes to serve the pages.
pub(crate) struct Start<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) settings: &'a Settings,
    pub(crate) url: SecretString,
    pub(crate) archive: Archive,
}

impl Start<'_> {
    /// What must hold before anything is opened.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.settings.check(self.listen)?;
        database::options(&self.url, "check")?;
        Ok(())
    }

    /// Binds the address and serves in the background until `stop`, then for a moment more.
    pub(crate) async fn serve(self, stop: CancellationToken) -> anyhow::Result<JoinHandle<()>> {
        let settings = self.settings;
        let console = Arc::new(Console {
            access: Access::new(settings)?,
            reader: Reader::new(&self.url, settings)?,
            limits: settings.limits(),
            archive: self.archive,
        });
        let listener = TcpListener::bind(self.listen)
            .await
            .with_context(|| format!("console listener on {}", self.listen))?;
        let bound = listener.local_addr().context("console listener's address")?;
        tracing::info!(address = %bound, access = %console.access, "console is up");
        let limits = settings.limits();
        Ok(tokio::spawn(listener::serve(listener, web::router(console), limits, stop)))
    }
}
