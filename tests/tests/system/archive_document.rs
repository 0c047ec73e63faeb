//! The commands of docs/ARCHIVE.md, run as they stand there against a segment of a real archive.

use std::fs;
use std::process::Command;

use harness::load::generated;
use harness::stack::Stack;
use harness::system::{SECRET, System};
use lifecycles::Stripe;
use serde_json::Value;

use crate::verify::{Bucket, archive};

/// The commands of the page's only block that is for a shell.
fn commands() -> String {
    let document = fs::read_to_string("../docs/ARCHIVE.md").unwrap();
    let blocks: Vec<&str> = document.split("```sh\n").skip(1).collect();
    assert_eq!(blocks.len(), 1);
    blocks[0].split("```").next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_do_what_it_says() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "paper", 1).await.unwrap();
    let ingest = system.ingest("ingest", &[]).await.unwrap();
    let lives = Stripe::new(41, 1_760_000_000).mixed(3);
    let sent = ingest.sender().unwrap().send(generated(&lives), || ()).await;
    assert!(sent.is_all_accepted(), "{:?}", sent.outcomes());
    archive(&system).await;

    let folder = system.logs.join("paper");
    fs::create_dir_all(&folder).unwrap();
    for (key, body) in Bucket::of(&system).objects().await {
        let name = key.rsplit('/').next().unwrap();
        if name.starts_with("00000000000000000000.") {
            fs::write(folder.join(name), body).unwrap();
        }
    }
    let script = format!("set -euo pipefail\n{}", commands());
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).env("SECRET", SECRET).current_dir(&folder);
    let output = bash.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));

    let told: Vec<&str> = said.lines().collect();
    let (types, signatures) = told.split_at(told.len() - 2);
    assert_eq!(signatures[0], signatures[1], "{said}");
    assert_eq!(signatures[0].len(), 64, "{said}");
    let counted: usize = types
        .iter()
        .map(|line| {
            // The difference would stand here, if there were one.
            let (count, event_type) = line.trim().split_once(' ').unwrap();
            assert!(event_type.contains('.'), "{said}");
            count.parse::<usize>().unwrap()
        })
        .sum();
    let manifest = fs::read(folder.join("00000000000000000000.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(Some(counted as u64), manifest["count"].as_u64(), "{said}");
    let records = system.topic.records().await.unwrap();
    let body = fs::read(folder.join("body.json")).unwrap();
    assert_eq!(Some(&body[..]), records[2].value.as_deref());
}
