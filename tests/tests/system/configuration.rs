//! Wrong settings: one line that names the setting, exit code 2, and nothing opened before it.

use std::net::TcpListener;
use std::process::Output;

use harness::process::{Env, run};

/// Settings that a program would start with, except that its admin listener's place is taken and
/// that nobody answers it: it could do no more than refuse them.
struct Program {
    binary: &'static str,
    env: Env,
    _taken: TcpListener,
}

impl Program {
    fn new(binary: &'static str, more: &[(&str, &str)]) -> Self {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = taken.local_addr().unwrap().to_string();
        let common = [
            ("KAFKA_BROKERS", "127.0.0.1:1"),
            ("KAFKA_CONFIG", ""),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("INGEST_ADMIN_LISTEN", &admin),
            ("RECONCILER_ADMIN_LISTEN", &admin),
        ];
        let env =
            common.iter().chain(more).map(|(name, value)| (name.to_string(), value.to_string()));
        Self { binary, env: env.collect(), _taken: taken }
    }

    fn run_with(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
        let more = settings.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        run(self.binary, arguments, &self.env.iter().cloned().chain(more).collect()).unwrap()
    }

    fn refuses(&self, arguments: &[&str], settings: &[(&str, &str)], named: &str) {
        let output = self.run_with(arguments, settings);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {settings:?}: {said}");
        let line = format!("error: {named}: ");
        assert!(said.starts_with(&line) && said.lines().count() == 1, "{settings:?}: {said}");
    }
}

#[test]
fn the_reconciler_refuses_them_before_anything_is_opened() {
    let program = Program::new(
        "reconciler",
        &[("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"), ("LIVEMODE", "test")],
    );
    for (roles, setting, value, named) in [
        ("archive", "AWS_REGION", "", "AWS_REGION"),
        ("publish", "AWS_REGION", "", "AWS_REGION"),
        ("project", "DATABASE_URL", "banana", "DATABASE_URL"),
        ("project", "KAFKA_SESSION_TIMEOUT", "10m", "KAFKA_SESSION_TIMEOUT"),
        ("project", "STRIPE_ACCOUNTS", "sk_live_x", "STRIPE_ACCOUNTS"),
        (
            "archive",
            "KAFKA_CONFIG",
            "security.protocol=ssl,ssl.ca.location=/nonexistent",
            "KAFKA_CONFIG",
        ),
    ] {
        program.refuses(&["run", "--roles", roles], &[(setting, value)], named);
    }
    // Sound settings go further: to the listener, whose place is taken.
    let output = program.run_with(&["run", "--roles", "project"], &[]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn ingest_refuses_them_whether_it_checks_or_serves() {
    let program = Program::new("ingest", &[("STRIPE_WEBHOOK_SECRETS", "whsec_a")]);
    for (setting, value) in [
        ("KAFKA_CONFIG", "retries=0"),
        ("KAFKA_CONFIG", "max.in.flight=10"),
        ("KAFKA_CONFIG", "security.protocol=ssl,ssl.ca.location=/nonexistent"),
        ("KAFKA_CONFIG", "security.protocol=sasl_plaintext,sasl.mechanism=FOO"),
        ("INGEST_MAX_IN_FLIGHT", "2000000000"),
        ("INGEST_MAX_BODY_BYTES", "1000MiB"),
        ("STRIPE_ACCOUNTS", "sk_live_x"),
    ] {
        program.refuses(&["--check-config"], &[(setting, value)], setting);
        program.refuses(&["serve"], &[(setting, value)], setting);
    }
    let output = program.run_with(&["--check-config"], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
