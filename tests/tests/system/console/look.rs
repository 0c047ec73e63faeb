//! Every page in a real Chromium, on what real lifecycles came to: in light and dark, wide and narrow,
//! with scripts and without.
//!
//! `CONSOLE_SHOTS=DIRECTORY` keeps a picture of each.

use std::path::PathBuf;

use harness::browser::{Browser, View};
use harness::inputs;
use harness::load::generated;
use harness::stack::eventually;
use harness::system::System;
use lifecycles::{Delivery, Lifecycle, Scenario, Stripe};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::access::revealed;
use super::{Console, DEADLINE, TOKEN, tokens};
use crate::{raw, system};

const VIEWS: [View; 4] = [
    View { width: 1280, is_dark: false },
    View { width: 1280, is_dark: true },
    View { width: 390, is_dark: false },
    View { width: 390, is_dark: true },
];
/// Lifecycles reach into the future from their start; so they start this long ago.
const DAYS: i64 = 28;
/// What a hostile description would like to do.
const EVIL: &str = "<script>window.evil = 1</script><img src=x onerror='window.evil = 2'>\"'";

/// A system in which everything has happened: lifecycles, shuffled and some twice; a payment whose
/// texts are hostile; a record that cannot be applied.
async fn lived() -> (System, Vec<Lifecycle>) {
    let system = system("console_look").await;
    let start = OffsetDateTime::now_utc().unix_timestamp() - DAYS * 86_400;
    let mut lives = Stripe::new(5, start).mixed(Scenario::ALL.len());
    for (day, count) in (1..DAYS).zip([3, 1, 4, 2, 5].into_iter().cycle()) {
        let seed = 100 + day.unsigned_abs();
        lives.extend(Stripe::new(seed, start + day * 86_400).mixed(count));
    }
    inputs::write(&system.pool, &lives).await.unwrap();
    let ingest = system.ingest("ingest", &[]).await.unwrap();
    let mut delivery = Delivery::new(5);
    let mut payloads = delivery.duplicated(&generated(&lives), 0.2);
    delivery.shuffle(&mut payloads);
    let report = ingest.sender().unwrap().send(payloads, || ()).await;
    assert!(report.is_all_accepted(), "{:?}", report.outcomes());
    let charge = json!({"id": "ch_evil", "object": "charge", "amount": 123_456_789,
        "currency": "usd", "status": "succeeded", "captured": true, "amount_captured": 123_456_789,
        "created": start, "description": EVIL, "metadata": {"order_id": EVIL, "quote_id": EVIL},
        "receipt_email": "ada@example.org", "customer": {"id": "cus_evil", "object": "customer"},
        "payment_method_details": {"type": "card", "card": {"last4": "0341"}}});
    let event = |id: &str, object: &Value| {
        let body = json!({"id": id, "object": "event", "type": format!("charge.succeeded{EVIL}"),
            "created": start, "livemode": false, "data": {"object": object}});
        (0, raw::from_webhook(), Some(body.to_string().into_bytes()))
    };
    let unreadable = json!({"id": "ch_bad", "object": "charge", "status": "succeeded",
        "description": EVIL, "receipt_email": "ada@example.org"});
    raw::write(&system, [event("evt_evil", &charge), event("evt_bad", &unreadable)]).await;
    let run = system.reconciler("run", "project,archive", &[]).await.unwrap();
    system.caught_up(&["project", "archive"], DEADLINE).await.unwrap();
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
    (system, lives)
}

/// Looks at a page in every way: what it looks like is the style sheet's alone, so it is opened once.
async fn look(browser: &Browser, console: &Console, name: &str, path: &str) {
    browser.open(&console.url(path)).await.unwrap();
    for view in VIEWS {
        browser.look(view).await.unwrap();
        let wrong = browser.evaluate(include_str!("page.js")).await.unwrap();
        assert_eq!(wrong, json!([]), "{path} in {view:?}");
        let Some(directory) = std::env::var_os("CONSOLE_SHOTS") else { continue };
        let scheme = if view.is_dark { "dark" } else { "light" };
        let file = PathBuf::from(directory).join(format!("{name}-{}-{scheme}.png", view.width));
        let most = if view.width > 1000 { 1600 } else { 2400 };
        std::fs::write(file, browser.picture(view.width, most).await.unwrap()).unwrap();
    }
    assert_eq!(browser.said().await.unwrap(), Vec::<Value>::new(), "{path}");
}

async fn text(browser: &Browser, selector: &str) -> String {
    let script = format!("return document.querySelector('{selector}')?.innerText ?? ''");
    browser.evaluate(&script).await.unwrap().as_str().unwrap().to_owned()
}

/// Waits until the page that a key leads to says this.
async fn reads(browser: &Browser, selector: &str, expected: &str) {
    eventually(DEADLINE, async || {
        let said = text(browser, selector).await;
        Ok((said != expected).then(|| format!("{selector} is {said}, not {expected}")))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_right_in_a_browser() {
    let Some(browser) = Browser::start().await.unwrap() else {
        eprintln!("skipped: no browser here");
        return;
    };
    let (system, lives) = lived().await;
    let (name, value) = tokens();
    let console = Console::start(&system, &[(name, &value), ("CONSOLE_ROWS", "25")]).await;

    // In, through the login page, to where one wanted to go.
    look(&browser, &console, "login", "/ledger").await;
    browser.type_keys(&format!("{TOKEN}\u{e007}")).await.unwrap();
    reads(&browser, "h1", "Ledger").await;
    assert_eq!(text(&browser, ".who .name").await, "ada");
    assert_eq!(browser.evaluate("return document.cookie").await.unwrap(), "");

    let disputed = lives.iter().find(|life| life.scenario == Scenario::DisputeLost).unwrap();
    let id = disputed.truth.txns[0].stripe_pi.clone().unwrap();
    let provider = &lives.iter().find(|life| !life.providers.is_empty()).unwrap().providers[0].1;
    for (name, path) in [
        ("overview", "/".to_owned()),
        ("payments", "/payments".to_owned()),
        ("refunds", "/refunds?status=succeeded".to_owned()),
        ("disputes", "/disputes".to_owned()),
        ("payouts", "/payouts".to_owned()),
        ("invoices", "/invoices".to_owned()),
        ("providers", "/providers".to_owned()),
        ("ledger", "/ledger".to_owned()),
        ("discrepancies", "/discrepancies".to_owned()),
        ("quarantine", "/quarantine".to_owned()),
        ("record", "/quarantine/record?place=evt_bad".to_owned()),
        ("operations", "/operations".to_owned()),
        ("search", "/search".to_owned()),
        ("nothing", "/search?q=USD+123%2C456%2C789".to_owned()),
        ("amount", "/search?q=1%2C234%2C567.89".to_owned()),
        ("empty", "/refunds?from=2001-01-01&to=2001-01-02".to_owned()),
        ("problem", "/story/pi_nobody".to_owned()),
        ("provider", format!("/story/{provider}")),
        ("evil", "/story/ch_evil".to_owned()),
        ("snapshot", "/object?id=ch_evil".to_owned()),
        ("story", format!("/story/{id}")),
    ] {
        look_unless_missing(&browser, &console, name, &path).await;
    }
    the_keyboard(&browser, &console, &id).await;
    the_story(&browser, &console, disputed, &id).await;
    the_lists(&browser, &console).await;
    personal_data(&browser, &console, &system).await;
    without_scripts(&browser, &console).await;
    what_would_be_noticed(&browser, &console).await;

    browser.click(".who button").await.unwrap();
    reads(&browser, "h1", "Log in").await;
    browser.open(&console.url("/payments")).await.unwrap();
    assert!(browser.url().await.unwrap().ends_with("/login?next=%2Fpayments"));
}

/// A page that is not there is a page too; the browser's console says that it was not.
async fn look_unless_missing(browser: &Browser, console: &Console, name: &str, path: &str) {
    if name != "problem" {
        return look(browser, console, name, path).await;
    }
    browser.open(&console.url(path)).await.unwrap();
    assert_eq!(text(browser, "h1").await, "Not Found");
    assert_eq!(browser.said().await.unwrap().len(), 1);
}

/// `/` leads to the search, a search for an id to its story, the first Tab to the skip link.
async fn the_keyboard(browser: &Browser, console: &Console, id: &str) {
    browser.open(&console.url("/")).await.unwrap();
    browser.type_keys("\u{e004}").await.unwrap();
    let focused = "return document.activeElement.textContent";
    assert_eq!(browser.evaluate(focused).await.unwrap(), "Skip to content");
    let outline = "return getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(browser.evaluate(outline).await.unwrap(), "solid");
    browser.type_keys("/").await.unwrap();
    browser.type_keys(&format!("{id}\u{e007}")).await.unwrap();
    reads(browser, "h1 code", id).await;
    assert_eq!(browser.url().await.unwrap(), console.url(&format!("/story/{id}")));
}

/// What the model of Stripe says has happened is on the page, in Stripe's order.
async fn the_story(browser: &Browser, console: &Console, life: &Lifecycle, id: &str) {
    let txn = &life.truth.txns[0];
    let amount = domain::currency::display(txn.amount, &txn.currency);
    assert_eq!(text(browser, ".card .money").await, amount);
    assert_eq!(text(browser, ".card .pill").await, "captured");
    let times = "return [...document.querySelectorAll('.timeline > li .line time')]
        .map((time) => time.dateTime)";
    let times = browser.evaluate(times).await.unwrap();
    let times: Vec<&str> = times.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(times.len() >= 4 && times.is_sorted(), "{times:?}");
    let page = console.page(&format!("/story/{id}")).await;
    for expected in [
        "late, came ",
        "proved dispute.lost of ",
        "dispute losses",
        "partition=",
        "https://dashboard.stripe.com/test/payments/",
        &format!("href=\"/object?account=&#38;id={id}\""),
        &format!("href=\"/story/{}\"", life.truth.disputes[0].stripe_dispute),
    ] {
        assert!(page.contains(expected), "no {expected} in\n{page}");
    }
}

/// Filters narrow, pages follow each other without gap or repetition, and an address is for ever.
async fn the_lists(browser: &Browser, console: &Console) {
    browser.open(&console.url("/payments")).await.unwrap();
    let ids = "return [...document.querySelectorAll('tbody tr td:nth-child(2)')]
        .map((cell) => cell.innerText)";
    let mut seen = Vec::new();
    loop {
        let page = browser.evaluate(ids).await.unwrap();
        seen.extend(page.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()));
        if text(browser, ".pages [rel=next]").await.is_empty() {
            break;
        }
        browser.click(".pages [rel=next]").await.unwrap();
    }
    let mut distinct = seen.clone();
    distinct.sort();
    distinct.dedup();
    assert!(
        seen.len() > 50 && distinct.len() == seen.len(),
        "{} of {}",
        distinct.len(),
        seen.len()
    );

    // A choice applies at once, and leaves what says nothing out of the address.
    browser.open(&console.url("/payments")).await.unwrap();
    let choose = "const field = document.querySelector('#f-status'); field.value = 'failed';
        field.dispatchEvent(new Event('change'))";
    browser.evaluate(choose).await.unwrap();
    eventually(DEADLINE, async || {
        let url = browser.url().await?;
        Ok((url != console.url("/payments?status=failed")).then_some(url))
    })
    .await
    .unwrap();
    let pills = "return [...new Set([...document.querySelectorAll('tbody .pill')]
        .map((pill) => pill.innerText))]";
    assert_eq!(browser.evaluate(pills).await.unwrap(), json!(["failed"]));
}

/// Masked, until somebody says who they are and that they want to see it.
async fn personal_data(browser: &Browser, console: &Console, system: &System) {
    for (path, field) in [
        ("/object?id=ch_evil", "receipt_email"),
        ("/quarantine/record?place=evt_bad", "description"),
    ] {
        browser.open(&console.url(path)).await.unwrap();
        let masked = text(browser, ".json").await;
        assert!(masked.contains(&format!("\"{field}\": \"***\"")), "{masked}");
        assert!(!masked.contains("ada@"), "{masked}");
        let before = revealed(system).await.len();
        browser.click(".reveal button").await.unwrap();
        eventually(DEADLINE, async || {
            let shown = text(browser, ".json").await;
            let is_shown = shown.contains("ada@example.org") && shown.contains("\": \"<script>");
            Ok((!is_shown).then_some(shown))
        })
        .await
        .unwrap();
        let wrong = browser.evaluate(include_str!("page.js")).await.unwrap();
        assert_eq!(wrong, json!([]), "{path}");
        assert_eq!(revealed(system).await.len(), before + 1);
    }
    let object = json!({"object": "ch_evil", "account": ""});
    let record = json!({"position": "evt_bad"});
    let by_ada = |asked| ("ada".to_owned(), asked, "done".to_owned());
    assert_eq!(revealed(system).await, [by_ada(object), by_ada(record)]);
    assert_eq!(browser.said().await.unwrap(), Vec::<Value>::new());
}

/// Search finds by card, customer, buyer and amount; all of it works without a script.
async fn without_scripts(browser: &Browser, console: &Console) {
    browser.allow_scripts(false).await.unwrap();
    browser.open(&console.url("/")).await.unwrap();
    browser.click("#q").await.unwrap();
    browser.type_keys("0341 1,234,567.89\u{e007}").await.unwrap();
    reads(browser, "tbody td:nth-child(2)", "ch_evil").await;
    browser.click("tbody td:nth-child(2) a").await.unwrap();
    assert_eq!(text(browser, "h1").await, "ch_evil");
    browser.click(".timeline summary").await.unwrap();
    assert!(text(browser, ".timeline details").await.contains("Partition and offset"));
    browser.allow_scripts(true).await.unwrap();
    for (asked, found) in [
        ("0341", true),
        ("1234567.89", true),
        ("1234567.89 USD", true),
        ("1234567.89 EUR", false),
        ("123456789", false),
        ("123456789 JPY", false),
        ("cus_evil", true),
        ("cus_nobody", false),
        ("ada@example.org", false),
    ] {
        let page = console.page(&format!("/search?q={}", asked.replace(' ', "+"))).await;
        assert_eq!(page.contains("href=\"/story/ch_evil\""), found, "{asked}: {page}");
    }
}

/// What the checks of every page would see if it were there.
async fn what_would_be_noticed(browser: &Browser, console: &Console) {
    browser.look(VIEWS[0]).await.unwrap();
    browser.open(&console.url("/")).await.unwrap();
    browser
        .evaluate(
            "const style = document.createElement('style');
             style.textContent = 'h1 { color: rgb(200, 200, 200) }';
             document.head.append(style);
             document.querySelector('h1').setAttribute('style', 'width: 9000px')",
        )
        .await
        .unwrap();
    let said = browser.said().await.unwrap();
    assert!(
        said.iter().any(|it| it["message"].as_str().unwrap().contains("Content Security Policy"))
    );
    browser
        .evaluate(
            "const heading = document.querySelector('h1');
             heading.style.color = 'rgb(200, 200, 200)'; heading.style.width = '9000px'",
        )
        .await
        .unwrap();
    let wrong = browser.evaluate(include_str!("page.js")).await.unwrap().to_string();
    for noticed in ["overflows", "contrast 1.", "a style attribute"] {
        assert!(wrong.contains(noticed), "no {noticed}: {wrong}");
    }
}
