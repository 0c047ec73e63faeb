//! The console: who gets in, what its pages show, how they are in a real browser, and that lists stay
//! fast.

mod access;
mod look;
mod speed;

use std::net::SocketAddr;
use std::time::Duration;

use harness::process::{Env, Process, free_address};
use harness::stack::eventually;
use harness::system::System;
use sqlx::{Connection as _, Executor as _, PgConnection};

const DEADLINE: Duration = Duration::from_secs(90);
const TOKEN: &str = "c0ffee00c0ffee00c0ffee00c0ffee00";
/// A role that may do what README.md says is enough, and nothing else.
const ROLE: &str = "console_reader";
const GRANTS: &str = "
    do $$ begin
      create role console_reader login;
      -- So that the owner may end its connections when the database goes.
      grant console_reader to reconciler;
    exception when duplicate_object or unique_violation then null;
    end $$;
    grant usage on schema acc, pay to console_reader;
    grant select on all tables in schema acc, pay to console_reader;
    grant select on _sqlx_migrations to console_reader;
    grant insert, update on pay.operation to console_reader;";

/// A running console.
struct Console {
    /// Dropping it ends the console.
    process: Process,
    address: SocketAddr,
}

impl Console {
    /// Starts it as the role that may little, and waits until it answers.
    async fn start(system: &System, more: &[(&str, &str)]) -> Self {
        let owner = system.database_url.replace("reconciler@", "postgres@");
        PgConnection::connect(&owner).await.unwrap().execute(GRANTS).await.unwrap();
        let address = free_address().unwrap();
        let mut env: Env = system.env();
        let own = [
            ("DATABASE_URL", system.database_url.replace("reconciler@", &format!("{ROLE}@"))),
            ("CONSOLE_LISTEN", address.to_string()),
        ];
        env.extend(own.map(|(name, value)| (name.to_owned(), value)));
        env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let process =
            Process::start("reconciler", &["console"], &env, &system.logs, "console").unwrap();
        eventually(DEADLINE, async || {
            let answer = client().get(format!("http://{address}/livez")).send().await;
            Ok(answer.err().map(|_| format!("it does not answer: {}", process.output())))
        })
        .await
        .unwrap();
        Self { process, address }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Asks for a page with the token; its status and text.
    async fn get(&self, path: &str) -> (u16, String) {
        let request = client().get(self.url(path)).bearer_auth(TOKEN);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// A page that is there.
    async fn page(&self, path: &str) -> String {
        let (status, text) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        text
    }
}

fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.build().unwrap()
}

/// Lets in `ada` with [`TOKEN`].
fn tokens() -> (&'static str, String) {
    ("CONSOLE_TOKENS", format!("ada:{TOKEN}"))
}
