//! One row: the real server and the floor in turns.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use tokio::time::sleep;

use crate::floor::Template;
use crate::http::{Answer, Connection};
use crate::load::{self, Work};
use crate::report::{RowResult, Sample, Settings};
use crate::rows::Row;
use crate::server::Server;

/// The beginning of a slice is not measured: connections are opened and caches filled.
const RUN_UP: Duration = Duration::from_millis(300);
/// The longest latency that can be told from a longer one.
const MAX_LATENCY: Duration = Duration::from_mins(1);

/// Measures `row` on `keyward` and on a floor made for it.
pub async fn measure(
    row: &'static Row,
    keyward: &Server,
    keys: &[String],
    settings: &Settings,
) -> anyhow::Result<RowResult> {
    let requests: Rc<[Vec<u8>]> = keys.iter().map(|key| (row.request)(key)).collect();
    let floor = start_floor(row, keyward, &requests[0]).await?;
    let slices = Slices { row, requests, settings };
    for server in [keyward, &floor] {
        slices.warm_up(server).await.with_context(|| format!("warming up {}", row.name))?;
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for pair in 0..settings.slices {
        // Turned round each time, so that a machine that grows slower or faster favours neither.
        if pair % 2 == 0 {
            ours.push(slices.run(keyward).await?);
            theirs.push(slices.run(&floor).await?);
        } else {
            theirs.push(slices.run(&floor).await?);
            ours.push(slices.run(keyward).await?);
        }
    }
    floor.stop().await?;
    RowResult::new(row.name, ours, theirs)
}

/// A floor that answers what the real server answers to `request`, to the byte.
async fn start_floor(row: &Row, keyward: &Server, request: &[u8]) -> anyhow::Result<Server> {
    let mut connection = Connection::open(keyward.address()).await?;
    let answer = connection.ask(request).await?;
    judge(row, &answer)?;
    let template = Template::new(&answer, row)?;
    let floor = Server::start_floor(&template).await?;
    let mut connection = Connection::open(floor.address()).await?;
    let same = connection.ask(request).await?;
    template.check(&same, row)?;
    if same.wire_len != answer.wire_len {
        bail!("{} bytes from the floor, {} from keyward", same.wire_len, answer.wire_len);
    }
    Ok(floor)
}

fn judge(row: &Row, answer: &Answer<'_>) -> anyhow::Result<()> {
    if answer.status != row.status || !answer.body.starts_with(row.body_begins.as_bytes()) {
        bail!("a wrong answer: {}\n{}", answer.head, String::from_utf8_lossy(answer.body));
    }
    Ok(())
}

struct Slices<'a> {
    row: &'static Row,
    requests: Rc<[Vec<u8>]>,
    settings: &'a Settings,
}

impl Slices<'_> {
    /// Sends each request once, so that every key is in memory.
    async fn warm_up(&self, server: &Server) -> anyhow::Result<()> {
        let asking = self.asking(self.requests.len())?;
        load::drive(server.address(), self.settings.connections, asking).await
    }

    async fn run(&self, server: &Server) -> anyhow::Result<Sample> {
        let asking = self.asking(usize::MAX)?;
        let load = load::drive(server.address(), self.settings.connections, Rc::clone(&asking));
        let watch = async {
            sleep(RUN_UP).await;
            asking.tally.borrow_mut().reset();
            let (begun, cpu) = (Instant::now(), server.cpu()?);
            sleep(Duration::from_secs(self.settings.seconds_per_slice)).await;
            let sample = asking.tally.borrow().sample(begun.elapsed(), server.cpu()?.since(&cpu));
            asking.left.set(0);
            sample
        };
        let (sample, ()) = tokio::try_join!(watch, load)?;
        Ok(sample)
    }

    fn asking(&self, requests: usize) -> anyhow::Result<Rc<Asking>> {
        Ok(Rc::new(Asking {
            row: self.row,
            requests: Rc::clone(&self.requests),
            turn: Cell::new(0),
            left: Cell::new(requests),
            tally: RefCell::new(Tally::new()?),
        }))
    }
}

/// Asks for each key in turn, round and round, until nothing is left.
struct Asking {
    row: &'static Row,
    requests: Rc<[Vec<u8>]>,
    turn: Cell<usize>,
    left: Cell<usize>,
    tally: RefCell<Tally>,
}

impl Work for Asking {
    fn next(&self) -> Option<&[u8]> {
        self.left.set(self.left.get().checked_sub(1)?);
        let turn = self.turn.get();
        self.turn.set((turn + 1) % self.requests.len());
        Some(&self.requests[turn])
    }

    fn answered(&self, answer: &Answer<'_>, took: Duration) -> anyhow::Result<()> {
        judge(self.row, answer)?;
        self.tally.borrow_mut().count(answer, took)
    }
}

struct Tally {
    requests: u32,
    wire_bytes: u64,
    nanoseconds: Histogram<u64>,
}

impl Tally {
    fn new() -> anyhow::Result<Self> {
        let longest = u64::try_from(MAX_LATENCY.as_nanos())?;
        let nanoseconds = Histogram::new_with_bounds(1000, longest, 3)?;
        Ok(Self { requests: 0, wire_bytes: 0, nanoseconds })
    }

    fn reset(&mut self) {
        self.requests = 0;
        self.wire_bytes = 0;
        self.nanoseconds.reset();
    }

    fn count(&mut self, answer: &Answer<'_>, took: Duration) -> anyhow::Result<()> {
        self.requests += 1;
        self.wire_bytes += u64::try_from(answer.wire_len)?;
        self.nanoseconds.saturating_record(u64::try_from(took.as_nanos())?);
        Ok(())
    }

    fn sample(&self, elapsed: Duration, cpu: crate::cpu::Used) -> anyhow::Result<Sample> {
        if self.requests == 0 {
            bail!("not one answer in a whole slice");
        }
        let latency = |quantile| {
            Duration::from_nanos(self.nanoseconds.value_at_quantile(quantile)).as_secs_f64() * 1e6
        };
        Ok(Sample {
            requests_per_second: f64::from(self.requests) / elapsed.as_secs_f64(),
            p50_us: latency(0.50),
            p99_us: latency(0.99),
            cpu_us: cpu.total.as_secs_f64() * 1e6 / f64::from(self.requests),
            cpu_user_share: cpu.user_share,
            answer_bytes: self.wire_bytes / u64::from(self.requests),
        })
    }
}
