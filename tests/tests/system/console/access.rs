//! Who gets in, and what every answer says to the browser.

use harness::process::run;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use serde_json::Value;

use super::{Console, DEADLINE, TOKEN, client, tokens};
use crate::system;

/// What every answer must say, errors and redirects included.
fn assert_guarded(headers: &HeaderMap, what: &str) {
    let said = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let policy = said("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'self'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{what}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{what}: {policy}");
    assert_eq!(said("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(said("referrer-policy"), "same-origin", "{what}");
    assert_eq!(said("x-frame-options"), "DENY", "{what}");
    let is_asset = what.starts_with("/static/console-");
    let cache = if is_asset { "public, max-age=31536000, immutable" } else { "no-store" };
    assert_eq!(said("cache-control"), cache, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_lets_in_whom_it_knows_and_tells_the_others_nothing() {
    let system = system("console_access").await;
    let (name, value) = tokens();
    let console = Console::start(&system, &[(name, &value)]).await;
    let ask = async |path: &str, token: Option<&str>| {
        let request = client().get(console.url(path));
        let request = token.map_or(request.try_clone().unwrap(), |it| request.bearer_auth(it));
        let answer = request.send().await.unwrap();
        assert_guarded(answer.headers(), path);
        answer
    };
    for path in ["/", "/payments?status=paid", "/story/pi_1", "/object?id=ch_1", "/ledger"] {
        let answer = ask(path, None).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{path}");
        let to = answer.headers()[LOCATION].to_str().unwrap();
        assert!(to.starts_with("/login"), "{path}: {to}");
        for wrong in ["", "x", &TOKEN[1..]] {
            assert_eq!(ask(path, Some(wrong)).await.status(), StatusCode::UNAUTHORIZED, "{path}");
        }
    }
    assert_eq!(ask("/", Some(TOKEN)).await.status(), StatusCode::OK);
    assert_eq!(ask("/payments?status=gone", Some(TOKEN)).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(ask("/story/pi_none", Some(TOKEN)).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ask("/nowhere", None).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ask("/livez", None).await.status(), StatusCode::OK);
    assert_eq!(ask("/static/none.css", None).await.status(), StatusCode::NOT_FOUND);
    let login = ask("/login?next=/ledger", None).await.text().await.unwrap();
    let style = login.split('"').find(|part| part.starts_with("/static/console-")).unwrap();
    assert_eq!(ask(style, None).await.status(), StatusCode::OK);

    let post = async |path: &str, origin: &str, form: &[(&str, &str)]| {
        let request = client().post(console.url(path)).header("origin", origin).form(form);
        let answer = request.send().await.unwrap();
        assert_guarded(answer.headers(), path);
        answer
    };
    let (own, filled) = (console.url(""), [("token", TOKEN), ("next", "//evil.test")]);
    let refused = post("/login", &own, &[("token", "x")]).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers().get(SET_COOKIE).is_none());
    assert_eq!(post("/login", "http://evil.test", &filled).await.status(), StatusCode::FORBIDDEN);
    let entered = post("/login", &own, &filled).await;
    assert_eq!(entered.status(), StatusCode::SEE_OTHER);
    assert_eq!(entered.headers()[LOCATION], "/");
    let cookie = entered.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap();
    let with = async |cookie: &str| {
        client().get(console.url("/")).header("cookie", cookie).send().await.unwrap().status()
    };
    assert_eq!(with(cookie).await, StatusCode::OK);
    assert_eq!(with(&format!("{cookie}0")).await, StatusCode::SEE_OTHER);

    // Nothing but forms of its own pages is looked at, even from somebody who is logged in.
    let object = console.url("/object?id=ch_1");
    let sent =
        client().post(&object).header("cookie", cookie).header("origin", "https://evil.test");
    assert_eq!(sent.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(operations(&system).await, 0);
    let large = vec![b'a'; 100_000];
    let sent = client().post(console.url("/login")).header("origin", &own).body(large);
    assert!(sent.send().await.unwrap().status().is_client_error());
    assert!(console.process.terminate(DEADLINE).await.unwrap().success());
}

async fn operations(system: &harness::system::System) -> i64 {
    let query = "select count(*) from pay.operation where command = 'console reveal'";
    sqlx::query_scalar(query).fetch_one(&system.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_may_name_who_is_asking() {
    let system = system("console_proxy").await;
    let header = ("CONSOLE_USER_HEADER", "X-Forwarded-User");
    let console = Console::start(&system, &[header, ("CONSOLE_PROXIES", "127.0.0.0/8")]).await;
    let ask = async |user: &str| {
        let request = client().get(console.url("/")).header("x-forwarded-user", user);
        request.send().await.unwrap()
    };
    let shown = ask("grace@example.org").await.text().await.unwrap();
    assert!(shown.contains(">grace@example.org</span>"), "{shown}");
    assert_eq!(ask("").await.status(), StatusCode::UNAUTHORIZED);
    drop(console);

    let elsewhere = Console::start(&system, &[header, ("CONSOLE_PROXIES", "10.0.0.0/8")]).await;
    let request = client().get(elsewhere.url("/")).header("x-forwarded-user", "grace");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_serves_it_too_when_it_is_told_to() {
    let system = system("console_run").await;
    let address = harness::process::free_address().unwrap();
    let (name, value) = tokens();
    let listen = address.to_string();
    let more = [("CONSOLE_LISTEN", &*listen), (name, &value)];
    let run = system.reconciler("run", "project", &more).await.unwrap();
    let page = client().get(format!("http://{address}/")).bearer_auth(TOKEN);
    assert_eq!(page.send().await.unwrap().status(), StatusCode::OK);
    let metrics = client().get(format!("http://{}/metrics", run.admin)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("reconciler_console_requests_total{class=\"2xx\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_too_long_is_given_up() {
    let system = system("console_limits").await;
    let (name, value) = tokens();
    let limits = [(name, &*value), ("CONSOLE_STATEMENT_TIMEOUT", "300ms")];
    let console = Console::start(&system, &limits).await;
    let mut lock = system.pool.begin().await.unwrap();
    // Whoever reads the table waits for this.
    sqlx::query("lock table pay.refund in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let (status, page) = console.get("/refunds").await;
    assert_eq!(status, 503, "{page}");
    assert!(page.contains("it took too long"), "{page}");
    console.page("/disputes").await;
    lock.rollback().await.unwrap();
    console.page("/refunds").await;
}

#[test]
fn wrong_settings_are_refused_before_anything_is_opened() {
    let refused = |pairs: &[(&str, &str)], line: &str| {
        let common = [("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"), ("S3_BUCKET", "")];
        let env =
            common.iter().chain(pairs).map(|(name, value)| (name.to_string(), value.to_string()));
        let output = run("reconciler", &["console"], &env.collect()).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with(line) && said.lines().count() == 1, "{said}");
    };
    let open = [("CONSOLE_LISTEN", "0.0.0.0:0")];
    refused(&open, "error: CONSOLE_LISTEN: is 0.0.0.0:0, which other machines reach: set ");
    refused(&[("CONSOLE_TOKENS", "hunter2")], "error: CONSOLE_TOKENS: entry 1: is not NAME:TOKEN");
    refused(&[("CONSOLE_ROWS", "0")], "error: CONSOLE_ROWS: must be from 1 to 500");
    let file = [("CONSOLE_TOKENS_FILE", "/nonexistent/tokens")];
    refused(&file, "error: CONSOLE_TOKENS_FILE: /nonexistent/tokens: ");
}

/// What was revealed, by whom.
pub(super) async fn revealed(system: &harness::system::System) -> Vec<(String, Value, String)> {
    let query = "select actor, arguments, outcome from pay.operation
        where command = 'console reveal' order by operation_id";
    sqlx::query_as(query).fetch_all(&system.pool).await.unwrap()
}
