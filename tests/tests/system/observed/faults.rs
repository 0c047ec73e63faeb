//! What goes wrong, one after the other, and which alerts and which part of the top row say so.

use std::time::{SystemTime, UNIX_EPOCH};

use dashboards::query::in_rule;
use dashboards::signals;
use domain::record::header;
use domain::signature::sign;
use harness::stack::eventually;
use harness::system::SECRET;
use lifecycles::Stripe;
use rdkafka::message::Header;
use tokio::net::TcpStream;

use super::{DEADLINE, Watched, traffic};
use crate::raw;
use crate::redrive::quarantine;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Watched {
    pub(super) async fn healthy(&self) {
        self.applied(300).await;
        let scraped = async || {
            let up = self.prometheus.query("count_over_time(up[1m]) > 5").await?;
            Ok((up.len() < 3).then(|| format!("scraped: {up:?}")))
        };
        eventually(DEADLINE, scraped).await.unwrap();
        self.all_is_well().await;
    }

    async fn applied(&self, events: i64) {
        let look = async || {
            let query = "select count(*) from pay.event";
            let count: i64 = sqlx::query_scalar(query).fetch_one(&self.system.pool).await?;
            Ok((count < events).then(|| format!("{count} of {events} events are applied")))
        };
        eventually(DEADLINE, look).await.unwrap();
    }

    /// One request with this signature header; the answer's status.
    async fn post(&self, header: String, body: &[u8]) -> u16 {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("http://{}/webhooks/stripe", self.ingest.listen));
        let sent = request.header("stripe-signature", header).body(body.to_vec()).send().await;
        sent.unwrap().status().as_u16()
    }

    pub(super) async fn bad_requests(&self) {
        let forged = traffic(&self.ingest, "eu", "whsec_forged", 6);
        for _ in 0..10 {
            assert_eq!(self.post(sign(SECRET, now() - 1000, b"{}"), b"{}").await, 400);
        }
        let large = vec![b' '; 2 << 20];
        assert_eq!(self.post(sign(SECRET, now(), &large), &large).await, 413);
        let mut idle = Vec::new();
        for _ in 0..85 {
            idle.push(TcpStream::connect(self.ingest.listen).await.unwrap());
        }
        self.sees(&["IngestNearLimit", "GenuineRefused", "EventTooLarge"]).await;
        drop(idle);
        self.sees(&["EndpointRefused", "StripeMayDisableEndpoint"]).await;
        self.blames("Stripe").await;
        forged.abort();
    }

    pub(super) async fn bad_data(&self) {
        let headers = raw::from_webhook();
        raw::write(&self.system, [(0, headers, Some(b"<html>".to_vec()))]).await;
        for statement in [
            "insert into pay.rederive (kind, id, refused) values ('quote', 'qte_bad', 'test')",
            "insert into pay.discrepancy (kind, account, object_id, ours, theirs, first_seen)
             select 'quote_sums', account, stripe_pi, '1', '2', now() - interval '2 days'
             from pay.txn where captured_cents > 0 and stripe_pi is not null
             on conflict do nothing",
            "insert into pay.outbox (sink, event_id, fact_id, type, subject, payload, leased_until)
             values ('kafka', 'e', 'f', 'payment.captured', 's', '{}', 'infinity')",
        ] {
            self.sql(statement).await;
        }
        let wanted = [
            "RecordsInQuarantine",
            "InputsRefused",
            "DiscrepancyOld",
            "DiscrepancyLarge",
            "DomainEventTooLarge",
        ];
        self.sees(&wanted).await;
        self.blames("Money").await;
        self.sql("delete from pay.outbox where event_id = 'e'").await;
        self.sql("delete from pay.rederive where id = 'qte_bad'").await;
    }

    pub(super) async fn aws_away(&self) {
        self.way.shut();
        self.sees(&["S3Failing", "FirehoseFailing"]).await;
        self.blames("AWS").await;
        self.late_rows().await;
        self.sql(
            "update pay.outbox set created_at = now() - interval '1 hour' where sink = 'firehose'",
        )
        .await;
        self.sees(&["OutboxStuck"]).await;
        self.way.open();
        self.sees(&["PublishBurnFast", "PublishBurnSlow"]).await;
    }

    pub(super) async fn postgres_restless(&self) {
        let look = async || {
            self.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid()",
            )
            .await;
            let alerts = self.prometheus.alerts().await?;
            let is_seen = alerts.iter().any(|alert| alert == "PostgresFailing");
            Ok((!is_seen).then(|| format!("PostgresFailing is not among {alerts:?}")))
        };
        eventually(DEADLINE, look).await.unwrap();
        self.blames("PostgreSQL").await;
    }

    /// The process with the role project comes and goes, and stays away at last.
    pub(super) async fn project_gone(&mut self) {
        for restarts in 1..=3 {
            self.kill_project();
            self.start_project("project");
            let instance = self.project_admin;
            let started = format!(
                r#"changes(process_start_time_seconds{{instance="{instance}"}}[10m]) >= {restarts}"#
            );
            let scraped = async || {
                let found = self.prometheus.query(&started).await?;
                Ok(found.is_empty().then(|| format!("not yet: {started}")))
            };
            eventually(DEADLINE, scraped).await.unwrap();
        }
        self.sees(&["ProcessRestarts"]).await;
        self.kill_project();
        self.sees(&["ProcessDown"]).await;
        self.nobody_consumes("project").await;
        self.blames("Us").await;
        self.start_project("project");
    }

    /// What another process reads of the positions shows partitions that nobody has.
    async fn nobody_consumes(&self, role: &str) {
        let lag = |query: &str| in_rule(query).replace('}', &format!(r#", role="{role}"}}"#));
        let consumed = lag(signals::CONSUMED_LAG);
        let dead = format!("{} > 0 unless {consumed} > 0", lag(signals::PARTITION_LAG));
        let look = async || {
            let partitions = self.prometheus.query(&dead).await?.len();
            Ok((partitions == 0).then(|| format!("nothing: {dead}")))
        };
        eventually(DEADLINE, look).await.unwrap();
    }

    /// Webhooks that were received a minute before they could be read.
    async fn late_rows(&self) {
        let received = (now() - 60) * 1000;
        let received = received.to_string();
        let lives = Stripe::new(99, 1_760_000_000).mixed(400);
        let events = lives.iter().flat_map(|life| &life.events);
        let records = events.map(|event| {
            let at = Header { key: header::RECEIVED_AT, value: Some(&received) };
            (1, raw::from_webhook().insert(at), Some(event.to_body().into_bytes()))
        });
        raw::write(&self.system, records).await;
        self.sees(&["RowsBurnFast", "RowsBurnSlow"]).await;
    }

    pub(super) async fn paused(&self) {
        let broken = (0..400).map(|_| (2, raw::from_webhook(), Some(b"<html>".to_vec())));
        raw::write(&self.system, broken).await;
        self.sees(&["ProjectionPaused"]).await;
        let arguments = ["resume", "--reason", "seen", "--allow", "1000"];
        assert_eq!(quarantine(&self.system, &arguments).code, Some(0));
        self.system.caught_up(&["project"], DEADLINE).await.unwrap();
    }

    /// Retention overtakes the role project while it is away.
    pub(super) async fn records_lost(&mut self) {
        self.kill_project();
        raw::write(&self.system, (0..3).map(|_| (0, raw::from_webhook(), Some(b"{}".to_vec()))))
            .await;
        self.system.caught_up(&["archive"], DEADLINE).await.unwrap();
        let end = self.system.topic.ends().await.unwrap()[0];
        self.system.topic.delete_before(0, end).await.unwrap();
        // A process ends with its last role, and then nothing tells of a halt.
        self.start_project("project,publish");
        self.sees(&["RecordsLost", "RoleHalted"]).await;
        self.blames("Us").await;
    }

    pub(super) async fn topic_gone(&self) {
        self.system.topic.delete().await.unwrap();
        let good = traffic(&self.ingest, "default", SECRET, 8);
        self.sees(&["KafkaNotAcknowledging", "AnswersBurnFast", "AnswersBurnSlow"]).await;
        self.blames("Kafka").await;
        good.abort();
    }
}
