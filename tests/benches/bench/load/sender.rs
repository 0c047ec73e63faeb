//! The sender, a process of its own: one thread, requests ready in memory, connections that are kept.
//!
//! Closed: each connection sends when its last request is answered. Open: at a rate, whatever comes
//! back, and a request's latency counts from the moment it was due, so that a stall is seen by every
//! request that it delays and not only by the one that hit it.

use super::request::{Connection, Rendered, SEED, render};
use super::{Args, Load};
use crate::bodies;
use harness::bench::Usage;
use harness::load::Report;
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::{JoinSet, LocalSet};

/// Requests that are made ahead where each is sent once.
const AHEAD: usize = 4000;
/// Events that are made at a time, whole lifecycles in the order of their time.
const CHUNK: usize = 2000;

/// Where requests come from.
enum Source {
    Again(Vec<Rendered>),
    Once(Mutex<mpsc::Receiver<Rendered>>),
}

struct Run {
    load: Load,
    source: Source,
    begin: Instant,
    next: Cell<usize>,
    /// Opened by the pacer, a permit for each request that is due.
    due: Arc<Semaphore>,
    report: RefCell<Report>,
    answers: RefCell<String>,
}

/// Sends, and prints what came back as one JSON document.
pub(crate) async fn run(Args { address, load }: &Args) -> anyhow::Result<()> {
    let source = if let Some(seed) = load.fresh {
        Source::Once(Mutex::new(made_ahead(seed, load.count.unwrap_or_default())))
    } else {
        let bodies = bodies::varied(SEED, load.bodies)?.into_iter().enumerate();
        Source::Again(bodies.map(|(number, body)| render(number, body)).collect())
    };
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        connections.push(Connection::open(*address).await?);
    }
    let idle = idle(*address, load, &source).await?;
    let due = Arc::new(Semaphore::new(0));
    let run = Rc::new(Run {
        load: load.clone(),
        source,
        begin: Instant::now(),
        next: Cell::new(0),
        due,
        report: RefCell::default(),
        answers: RefCell::default(),
    });
    let before = Usage::of(std::process::id())?;
    run.pace();
    let local = LocalSet::new();
    let mut workers = JoinSet::new();
    for connection in connections {
        workers.spawn_local_on(Rc::clone(&run).work(connection), &local);
    }
    local
        .run_until(async {
            while let Some(worker) = workers.join_next().await {
                worker??;
            }
            anyhow::Ok(())
        })
        .await?;
    drop(idle);
    if let Some(path) = &load.answers {
        std::fs::write(path, run.answers.borrow().as_bytes())?;
    }
    let mut report = run.report.borrow().to_json();
    report["requests"] = json!(run.sent());
    report["counted"] = report["sent"].clone();
    report["cpu_seconds"] = json!(Usage::of(std::process::id())?.cpu_since(before));
    println!("{report}");
    Ok(())
}

/// Events that are each sent once, made by a thread of their own.
fn made_ahead(seed: u64, count: usize) -> mpsc::Receiver<Rendered> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        for (chunk, start) in (0..count).step_by(CHUNK).enumerate() {
            let events = bodies::events(seed + chunk as u64, CHUNK.min(count - start));
            for event in events {
                if sender.blocking_send(render(0, event)).is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

/// Connections that have sent one request each and stay.
async fn idle(
    address: SocketAddr,
    load: &Load,
    source: &Source,
) -> anyhow::Result<Vec<Connection>> {
    let mut idle = Vec::with_capacity(load.idle);
    if let Source::Again(requests) = source {
        for number in 0..load.idle {
            let mut connection = Connection::open(address).await?;
            let status = connection.ask(&requests[number % requests.len()].bytes).await?;
            anyhow::ensure!(status == load.status, "a request was answered {status}");
            idle.push(connection);
        }
    }
    Ok(idle)
}

impl Run {
    fn warm(&self) -> Instant {
        self.begin + Duration::from_millis(self.load.warm_up)
    }

    fn end(&self) -> Instant {
        self.warm() + Duration::from_millis(self.load.millis)
    }

    /// How many requests there will be at this rate; no bound without one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
    fn total(&self) -> usize {
        match (self.load.count, self.load.rate) {
            (Some(count), _) => count,
            (None, Some(rate)) => ((self.end() - self.begin).as_secs_f64() * rate) as usize,
            (None, None) => usize::MAX,
        }
    }

    fn sent(&self) -> usize {
        self.next.get().min(self.total())
    }

    /// The moment a request is due.
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    fn due_at(&self, index: usize, rate: f64) -> Instant {
        self.begin + Duration::from_secs_f64(index as f64 / rate)
    }

    /// Opens the gate for each request when it is due. A thread, for a runtime's timer is too coarse.
    fn pace(&self) {
        let Some(rate) = self.load.rate else { return };
        let (due, begin, total) = (Arc::clone(&self.due), self.begin, self.total());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
        let due_by_now = move || ((begin.elapsed().as_secs_f64() * rate) as usize + 1).min(total);
        std::thread::spawn(move || {
            let mut opened = 0;
            while opened < total {
                let now = due_by_now();
                due.add_permits(now - opened);
                opened = now;
                std::thread::sleep(Duration::from_secs_f64(1.0 / rate));
            }
        });
    }

    async fn work(self: Rc<Self>, mut connection: Connection) -> anyhow::Result<()> {
        loop {
            let index = self.next.get();
            if index >= self.total() {
                return Ok(());
            }
            self.next.set(index + 1);
            let due = match self.load.rate {
                Some(rate) => {
                    self.due.acquire().await?.forget();
                    self.due_at(index, rate)
                }
                None => Instant::now(),
            };
            if self.load.count.is_none() && due >= self.end() {
                self.next.set(self.next.get() - 1);
                return Ok(());
            }
            let status = match &self.source {
                Source::Again(requests) => {
                    connection.ask(&requests[index % requests.len()].bytes).await?
                }
                Source::Once(requests) => {
                    let request = requests.lock().await.recv().await;
                    let Some(Rendered { id, bytes }) = request else { return Ok(()) };
                    let status = connection.ask(&bytes).await?;
                    self.note(id.as_deref())?;
                    status
                }
            };
            anyhow::ensure!(status == self.load.status, "a request was answered {status}");
            self.count(due, status);
        }
    }

    fn note(&self, id: Option<&str>) -> anyhow::Result<()> {
        if let (Some(id), true) = (id, self.load.answers.is_some()) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
            writeln!(self.answers.borrow_mut(), "{id} {now}")?;
        }
        Ok(())
    }

    fn count(&self, due: Instant, status: u16) {
        if due < self.warm() {
            return;
        }
        let mut report = self.report.borrow_mut();
        report.sent += 1;
        *report.answers.entry(status).or_default() += 1;
        report.latency.record(due.elapsed());
        report.took = self.warm().elapsed();
    }
}
