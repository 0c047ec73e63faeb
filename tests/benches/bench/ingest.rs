//! `ingest`: webhooks a second, CPU, latency and memory, beside the least program that could do it.

pub(crate) mod floor;

use crate::bodies;
use crate::load::request::SEED;
use crate::load::{self, Load, Sent};
use anyhow::Context as _;
use domain::peek::peek;
use domain::signature::{Key, sign, verify};
use harness::bench::{
    Options, Part, Report, Spread, Table, Usage, float, in_turn, median, mib, pause_part,
    resume_part,
};
use harness::load::Payload;
use harness::process::{Process, free_address};
use harness::stack::{Stack, eventually};
use harness::system::{SECRET, System};
use std::hint::black_box;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Partitions of the topic, as many as the stack's own has.
const PARTITIONS: i32 = 12;
/// Connections of the three loads.
const CONNECTIONS: [usize; 3] = [16, 64, 256];
/// The load whose half is offered when latency is measured.
const MIDDLE: usize = 64;
/// Connections while Kafka is away: more than may be in flight.
const CROWD: usize = 2000;

/// What a person can choose.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Milliseconds of each measurement [default: 3000, short 300]
    #[arg(long)]
    pub(crate) millis: Option<u64>,
    /// Distinct lifecycle bodies [default: 4000, short 300]
    #[arg(long)]
    pub(crate) bodies: Option<usize>,
    /// Connections that only stay, beside the others [default: 10000, short 200]
    #[arg(long)]
    pub(crate) idle: Option<usize>,
}

impl Args {
    /// The defaults.
    pub(crate) fn new(options: &Options) -> Self {
        Self { options: options.clone(), millis: None, bodies: None, idle: None }
    }
}

/// What is measured, and how.
struct Bench {
    options: Options,
    millis: u64,
    idle: usize,
    /// How many of the bodies are of lifecycles.
    count: usize,
    bodies: Vec<Payload>,
    ingest: Server,
    floor: Server,
}

/// One of both programs.
struct Server {
    process: Process,
    address: SocketAddr,
}

/// One measurement of one program.
#[derive(Debug, Clone, Copy)]
struct Sample {
    sent: Sent,
    /// Of the program, for each request.
    cpu_us: f64,
    peak_rss: u64,
}

/// Measures and tells.
pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let options = &args.options;
    let mut report = Report::begin("ingest", options).await?;
    let stack = Stack::from_env().await?;
    let system = System::create(&stack, "bench_ingest", PARTITIONS).await?;
    let count = args.bodies.unwrap_or(options.or_short(4000, 300));
    let bodies = bodies::varied(SEED, count)?;
    let delivery = options.or_short("8s", "1s");
    let settings = [("INGEST_MAX_CONNECTIONS", "16384"), ("KAFKA_DELIVERY_TIMEOUT", delivery)];
    let ingest = system.ingest("ingest", &settings).await?;
    let bench = Bench {
        millis: args.millis.unwrap_or(options.or_short(3000, 300)),
        idle: args.idle.unwrap_or(options.or_short(10_000, 200)),
        ingest: Server { process: ingest.process, address: ingest.listen },
        floor: start_floor(&system, count).await?,
        options: options.clone(),
        count,
        bodies,
    };
    let sample = bench.speed(&mut report).await?;
    bench.latency(&mut report, sample / 2.0).await?;
    bench.outage(&mut report).await?;
    let written: i64 = system.topic.ends().await?.iter().sum();
    anyhow::ensure!(written > 0, "nothing was written to the topic");
    Ok(report)
}

async fn start_floor(system: &System, bodies: usize) -> anyhow::Result<Server> {
    let program = std::env::current_exe()?;
    let program = program.to_str().context("the name of this program is no text")?;
    let address = free_address()?;
    let (listen, bodies) = (address.to_string(), bodies.to_string());
    let arguments = ["floor", "--listen", &listen, "--bodies", &bodies];
    let process = Process::start(program, &arguments, &system.env(), &system.logs, "floor")?;
    eventually(Duration::from_secs(30), async || {
        let refused = TcpStream::connect(address).err();
        Ok(refused.map(|error| format!("the floor does not listen: {error}")))
    })
    .await?;
    Ok(Server { process, address })
}

impl Bench {
    /// Both at each number of connections; ingest's median at [`MIDDLE`] comes back.
    async fn speed(&self, report: &mut Report) -> anyhow::Result<f64> {
        let mut speed = Table::new(
            "Webhooks a second, closed loop",
            [
                "connections",
                "ratio",
                "min",
                "max",
                "ingest /s",
                "floor /s",
                "ingest p50 ms",
                "ingest p99 ms",
                "floor p99 ms",
            ],
        );
        let mut cpu = Table::new(
            "CPU of a webhook, microseconds",
            [
                "connections",
                "ratio to floor + peek",
                "ingest",
                "floor",
                "HMAC alone",
                "peek alone",
                "sender",
            ],
        );
        let mut memory =
            Table::new("Peak resident memory, MiB", ["load", "ratio", "ingest", "floor"]);
        let (hmac_us, peek_us) = self.alone();
        let mut middle = f64::NAN;
        for connections in CONNECTIONS {
            let load = Load { connections, ..self.load() };
            let [floor, ingest] = self.both(&load).await?;
            let of = |samples: &[Sample], value: fn(&Sample) -> f64| -> Vec<f64> {
                samples.iter().map(value).collect()
            };
            let rate = |sample: &Sample| sample.sent.per_second;
            let (ours, least) = (of(&ingest, rate), of(&floor, rate));
            let ratio = Spread::of_ratios(&ours, &least);
            let p99 = |samples: &[Sample]| median(samples.iter().map(|it| it.sent.latency.p99));
            let p50 = median(ingest.iter().map(|it| it.sent.latency.p50));
            let label = connections.to_string();
            let (ours, least) = (median(ours), median(least));
            let values =
                [ratio.median, ratio.min, ratio.max, ours, least, p50, p99(&ingest), p99(&floor)];
            speed.row(label.clone(), values);
            if connections == MIDDLE {
                middle = ours;
            }
            let us = |samples: &[Sample]| median(samples.iter().map(|it| it.cpu_us));
            let (ours, least) = (us(&ingest), us(&floor));
            let sender = ingest.iter().map(|it| it.sent.cpu_seconds / float(it.sent.requests));
            let sender = median(sender) * 1e6;
            cpu.row(label, [ours / (least + peek_us), ours, least, hmac_us, peek_us, sender]);
            let mib = |samples: &[Sample]| median(samples.iter().map(|it| mib(it.peak_rss)));
            let (ours, least) = (mib(&ingest), mib(&floor));
            memory.row(format!("{connections} connections"), [ours / least, ours, least]);
        }
        report.add(speed);
        report.add(cpu);
        report.add(memory);
        Ok(middle)
    }

    /// Latency at a rate, from the moment a request was due, with and without a crowd that stays.
    async fn latency(&self, report: &mut Report, rate: f64) -> anyhow::Result<()> {
        let mut table = Table::new(
            format!("Latency at {rate:.0} webhooks a second, half of what {MIDDLE} connections do"),
            ["program", "ratio of p99", "p50 ms", "p90 ms", "p99 ms", "max ms", "peak MiB"],
        );
        let load = Load { connections: MIDDLE, rate: Some(rate), ..self.load() };
        let [floor, ingest] = self.both(&load).await?;
        let crowded = Load { idle: self.idle, ..load };
        let [crowded] = in_turn(self.options.rounds(), ["ingest, crowd"], async |_| {
            self.measure(&self.ingest, &crowded).await
        })
        .await?;
        let p99 =
            |samples: &[Sample]| samples.iter().map(|it| it.sent.latency.p99).collect::<Vec<_>>();
        let crowd = format!("ingest, {} idle beside it", self.idle);
        for (name, samples) in [("floor", &floor), ("ingest", &ingest), (&crowd, &crowded)] {
            let of = |value: fn(&Sample) -> f64| median(samples.iter().map(value));
            let values = [
                Spread::of_ratios(&p99(samples), &p99(&floor)).median,
                of(|it| it.sent.latency.p50),
                of(|it| it.sent.latency.p90),
                of(|it| it.sent.latency.p99),
                of(|it| it.sent.latency.max),
                of(|it| mib(it.peak_rss)),
            ];
            table.row(name, values);
        }
        report.add(table);
        Ok(())
    }

    /// Memory while Kafka answers nothing and everybody comes, and that all is well afterwards.
    async fn outage(&self, report: &mut Report) -> anyhow::Result<()> {
        let before = Usage::of(self.ingest.process.id())?;
        let crowd = self.options.or_short(CROWD, 100);
        // As long as it takes that the first records are given up.
        let millis = self.options.or_short(12_000, 1500);
        let load = Load { connections: crowd, status: 503, millis, ..self.load() };
        let away = {
            let _paused = Paused::begin(Part::Kafka)?;
            self.measure(&self.ingest, &load).await?
        };
        let back = Load { connections: 16, ..self.load() };
        eventually(Duration::from_mins(1), async || {
            let answered = self.measure(&self.ingest, &back).await;
            Ok(answered.err().map(|error| format!("Kafka is back, and yet: {error:#}")))
        })
        .await?;
        let after = Usage::of(self.ingest.process.id())?;
        let mut table = Table::new(
            "Resident memory of ingest while Kafka is away, MiB",
            ["connections", "before", "peak", "after"],
        );
        let values = [mib(before.rss), mib(away.peak_rss), mib(after.rss)];
        table.row(crowd.to_string(), values);
        report.add(table);
        Ok(())
    }

    fn load(&self) -> Load {
        Load {
            bodies: self.count,
            millis: self.millis,
            warm_up: self.millis / 4,
            ..Load::default()
        }
    }

    async fn both(&self, load: &Load) -> anyhow::Result<[Vec<Sample>; 2]> {
        in_turn(self.options.rounds(), ["floor", "ingest"], async |name| {
            let server = if name == "floor" { &self.floor } else { &self.ingest };
            self.measure(server, load).await.with_context(|| name.to_owned())
        })
        .await
    }

    async fn measure(&self, server: &Server, load: &Load) -> anyhow::Result<Sample> {
        let pid = server.process.id();
        Usage::forget_peak(pid)?;
        let before = Usage::of(pid)?;
        let sent = load::send(server.address, load).await?;
        let after = Usage::of(pid)?;
        let cpu_us = after.cpu_since(before) * 1e6 / float(sent.requests);
        Ok(Sample { sent, cpu_us, peak_rss: after.peak_rss })
    }

    /// The signature's check and the peek by themselves: microseconds a body.
    fn alone(&self) -> (f64, f64) {
        let keys = [Key::new(SECRET)];
        let now = 1_800_000_000;
        let signed: Vec<String> =
            self.bodies.iter().map(|payload| sign(SECRET, now, &payload.body)).collect();
        let each = |work: &dyn Fn(usize)| {
            let rounds = (0..self.options.or_short(7, 1)).map(|_| {
                let begin = Instant::now();
                (0..self.bodies.len()).for_each(work);
                begin.elapsed().as_secs_f64() * 1e6 / float(self.bodies.len())
            });
            median(rounds.collect::<Vec<_>>())
        };
        let hmac = each(&|index| {
            let body = &self.bodies[index].body;
            black_box(verify(Some(&signed[index]), body, &keys, now, 300)).ok();
        });
        let peek = each(&|index| drop(black_box(peek(&self.bodies[index].body))));
        (hmac, peek)
    }
}

/// A server that stands still until this is dropped.
struct Paused(Part);

impl Paused {
    fn begin(part: Part) -> anyhow::Result<Self> {
        pause_part(part)?;
        Ok(Self(part))
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        if let Err(error) = resume_part(self.0) {
            eprintln!("bench: {} may still be paused: {error:#}", self.0.as_str());
        }
    }
}
