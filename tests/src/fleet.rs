//! Runs a fleet of real function processes that meet every kind of fault while they are scraped all the time.
//!
//! ```text
//! clients ─▶ Runtime API ─▶ encode, verify, gc, metrics ─▶ proxy with faults ─▶ DynamoDB Local
//!               │ counts what it receives                     │ sees what is published
//!               └──────────── must agree with ────────────────┴─────── and with every page
//! ```
//!
//! AWS refuses a request that was signed long ago, and the protocol's grace is longer than that limit. DynamoDB Local
//! accepts requests of any age, so the proxy refuses old ones, and both times are scaled down together: see
//! [`Settings`]. Without that, a process that froze between signing a put and sending it would show a fault that cannot
//! occur in AWS.

mod drive;
pub mod pages;
mod plan;
pub mod published;
mod report;
mod settings;
pub mod totals;
mod truth;
pub mod violation;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use report::Report;
pub use settings::Settings;

use crate::kit::dynamodb_local::DynamoDbLocal;
use crate::kit::execution_environment::{ExecutionEnvironment, Function};
use crate::kit::fault_proxy::{FaultProxy, Faults, Options, Traffic};
use crate::kit::runtime_api::RuntimeApi;
use crate::kit::variables::{DEFAULT_METRICS_TOKEN, FunctionVariables};
use crate::kit::wait::{self, Setback, not_yet};
use crate::kit::{functions, tables, workspace};

use pages::Pages;
use plan::{End, Plan};
use published::Published;
use violation::{Rule, Violation};

/// Number of gc's environments at a time, so that their runs overlap.
const GC_AT_ONCE: u32 = 2;

/// Pause between two scrapes, which leaves the processor to others.
const SCRAPE_PAUSE: Duration = Duration::from_millis(100);

/// Longest time that compaction may take once everything is quiet: a silence, two graces and some runs of gc.
const COMPACTION: Duration = Duration::from_secs(60);

/// Longest time in which an environment without requests must publish what it has done. It retries a second after a
/// publish that failed.
const PUBLISHING: Duration = Duration::from_secs(20);

/// Runs the long fleet of `make soak`. Ctrl-C and SIGTERM end it early, which is a failure.
pub async fn soak() -> Result<()> {
    let settings = Settings::from_env(Settings::LONG)?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let report = tokio::select! {
        report = run("fleet-soak", settings) => report?,
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("interrupted"),
    };
    println!("{report}");
    ensure!(report.violations.is_empty(), "the fleet was not counted exactly");
    Ok(())
}

/// Runs a fleet, and reports what happened and what was wrong. `name` is the name of the folder of its logs.
pub async fn run(name: &str, settings: Settings) -> Result<Report> {
    println!("the fleet's seed: FLEET_SEED={}", settings.seed);
    let started = Instant::now();
    let mut fleet = Fleet::start(name, settings).await?;
    let survivors = fleet.live().await?;
    let survivors = fleet.compact(survivors).await?;
    fleet.end(survivors).await?;
    fleet.dynamodb.ensure_running()?;
    Ok(fleet.report(started.elapsed()))
}

/// State that all tasks of a run share.
struct Shared {
    settings: Settings,
    programs: BTreeMap<String, PathBuf>,
    variables: FunctionVariables,
    logs: PathBuf,
    proxy: FaultProxy,
    published: Arc<Published>,
    /// `true` once clients have sent everything that they had to send.
    done: watch::Sender<bool>,
    next: AtomicU32,
    log: Mutex<Log>,
}

/// A record of what happened so far.
#[derive(Default)]
struct Log {
    members: BTreeMap<String, Member>,
    violations: Vec<Violation>,
    frozen_past_folding: u32,
    scrapes: u32,
    failed_scrapes: u32,
}

/// An environment that publishes.
struct Member {
    function: &'static str,
    api: Arc<RuntimeApi>,
    /// `true` once the environment has lived until everything that it had done was published.
    survived: bool,
    killed: bool,
    /// Set if the environment was killed because a request had run into its time-out.
    timed_out: bool,
    /// Number of requests that the environment handles at once.
    at_once: u32,
}

struct Fleet {
    shared: Arc<Shared>,
    pages: Pages,
    metrics: ExecutionEnvironment,
    /// Counts of the proxy when clients were done and faults ended.
    traffic: Traffic,
    /// The database is the last field, since everything else needs it until it ends.
    dynamodb: DynamoDbLocal,
}

/// An environment that runs.
struct Running {
    name: String,
    environment: ExecutionEnvironment,
}

impl Fleet {
    async fn start(name: &str, settings: Settings) -> Result<Self> {
        let logs = workspace::local("logs/tests").join(name);
        if logs.exists() {
            std::fs::remove_dir_all(&logs).with_context(|| logs.display().to_string())?;
        }
        std::fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
        let mut programs = functions::build().await?;
        programs.insert("jobs".to_owned(), functions::build_jobs().await?);
        let dynamodb = DynamoDbLocal::start_in_memory(&logs.join("dynamodb.log")).await?;
        tables::create(&dynamodb.client()).await?;
        let published = Arc::new(Published::default());
        let options = Options {
            target: dynamodb.url(),
            seed: settings.seed,
            signature_validity: Settings::SIGNATURE_VALIDITY,
            blind_puts: settings.blind_puts,
        };
        let proxy = FaultProxy::start(options, Arc::clone(&published)).await?;
        let url = proxy.url();
        let mut variables = FunctionVariables::new(&url, &sigil::keys::generate("fleet"), DEFAULT_METRICS_TOKEN);
        variables.set("JOB_METRICS", "before");
        variables.set("STATS_SHARDS", &settings.shards().to_string());
        variables.set("STATS_WRITER_IDLE", &format!("{}ms", Settings::WRITER_IDLE.as_millis()));
        variables.set("STATS_GRACE", &format!("{}ms", Settings::GRACE.as_millis()));
        variables.set("STATS_PUBLISH_INTERVAL", &format!("{}ms", settings.publish_interval().as_millis()));
        if settings.publishes_every_response() {
            variables.set("STATS_PUBLISH_BUDGET_PERCENT", "100");
        }
        let shared = Arc::new(Shared {
            settings,
            programs,
            variables,
            logs,
            proxy,
            published,
            done: watch::Sender::new(false),
            next: AtomicU32::new(0),
            log: Mutex::default(),
        });
        let metrics = shared.start_process("metrics", "metrics", 1).await?;
        Ok(Self { shared, pages: Pages::default(), metrics, traffic: Traffic::default(), dynamodb })
    }

    /// Runs everything at once: clients, gc, scrapes, and whatever happens to their processes and calls. Returns the
    /// environments that survived.
    async fn live(&mut self) -> Result<Vec<Running>> {
        self.shared.proxy.set_faults(Faults { per_mille: Settings::FAULTS_PER_MILLE });
        let mut slots = JoinSet::new();
        for _ in 0..Settings::AT_ONCE {
            slots.spawn(Arc::clone(&self.shared).lives());
        }
        let mut collectors = JoinSet::new();
        for slot in 0..GC_AT_ONCE {
            collectors.spawn(Arc::clone(&self.shared).collects(slot));
        }
        let scrapes = async {
            let mut done = self.shared.done.subscribe();
            let mut random = fastrand::Rng::with_seed(self.shared.settings.seed);
            while !*done.borrow_and_update() {
                // Long freezes are rare, since a scrape that was frozen for half a grace shows nothing.
                let freeze = (random.u8(..40) == 0).then(|| Settings::GRACE.mul_f64(random.f64()));
                self.shared.scrape(&mut self.metrics, &mut self.pages, freeze).await?;
                tokio::time::sleep(SCRAPE_PAUSE).await;
            }
            anyhow::Ok(())
        };
        let clients = async {
            let mut survivors = Vec::new();
            while let Some(slot) = slots.join_next().await {
                survivors.extend(slot??);
            }
            self.shared.done.send_replace(true);
            while let Some(collector) = collectors.join_next().await {
                survivors.push(collector??);
            }
            anyhow::Ok(survivors)
        };
        let (survivors, ()) = tokio::try_join!(clients, scrapes)?;
        self.shared.proxy.set_faults(Faults::NONE);
        self.shared.proxy.quiet().await;
        self.traffic = self.shared.proxy.traffic();
        Ok(survivors)
    }

    /// Keeps the survivors busy and runs gc until only the survivors have snapshots.
    async fn compact(&mut self, mut survivors: Vec<Running>) -> Result<Vec<Running>> {
        let shared = Arc::clone(&self.shared);
        let (metrics, pages, dynamodb) = (&mut self.metrics, &mut self.pages, &self.dynamodb);
        let compacted = wait::until("there are as many snapshots as environments", COMPACTION, async || {
            for survivor in &mut survivors {
                shared.request(survivor, None).await.map_err(Setback::Final)?;
            }
            shared.scrape(metrics, pages, None).await.map_err(Setback::Final)?;
            let snapshots = snapshots(dynamodb).await?;
            if snapshots == survivors.len() {
                return Ok(());
            }
            not_yet(format!("there are {snapshots} snapshots of {} environments", survivors.len()))
        });
        if let Err(error) = compacted.await {
            shared.violated(Rule::Items.broken("the stats table", format!("was not compacted: {error:#}")));
        }
        Ok(survivors)
    }

    /// Waits until the survivors have published everything, ends them as Lambda does, and compares the totals.
    async fn end(&mut self, survivors: Vec<Running>) -> Result<()> {
        let published = wait::until("the survivors have published everything", PUBLISHING, async || {
            let left = |survivor: &&Running| self.shared.published.lost(&survivor.name) > 0;
            match survivors.iter().find(left) {
                None => Ok(()),
                Some(survivor) => not_yet(format!("{} has not", survivor.name)),
            }
        });
        if let Err(error) = published.await {
            self.shared.violated(Rule::Misreported.broken("a survivor", format!("{error:#}")));
        }
        for survivor in survivors {
            if let Some(member) = self.shared.log().members.get_mut(&survivor.name) {
                member.survived = true;
            }
            survivor.environment.terminate().await?;
        }
        self.shared.proxy.quiet().await;
        // Nothing is on its way any more, so the two limits of a page are the same.
        let (shared, metrics, pages) = (&self.shared, &mut self.metrics, &mut self.pages);
        wait::until("there is a last page", COMPACTION, async || {
            match shared.scrape(metrics, pages, None).await.map_err(Setback::Final)? {
                true => Ok(()),
                false => not_yet("the scrape failed"),
            }
        })
        .await?;
        self.shared.compare(&self.pages);
        Ok(())
    }

    fn report(&self, duration: Duration) -> Report {
        let log = self.shared.log();
        let lost: Vec<u64> = log.members.keys().map(|name| self.shared.published.lost(name)).collect();
        let mut violations = log.violations.clone();
        violations.sort_by_key(|violation| violation.rule);
        let of = |function: &str| log.members.values().filter(|member| member.function == function).count();
        let timed_out = log.members.iter().filter(|(_, member)| member.timed_out);
        Report {
            settings: self.shared.settings,
            duration,
            environments: log.members.len() - of("gc"),
            gc_environments: of("gc"),
            requests: log.members.values().map(|member| member.api.tally().responses).sum(),
            killed: log.members.values().filter(|member| member.killed).count(),
            timed_out: timed_out.clone().count(),
            lost_by_time_outs: timed_out.map(|(name, _)| self.shared.published.unpublished(name)).sum(),
            several_at_once: log.members.values().filter(|member| member.at_once > 1).count(),
            frozen_past_folding: log.frozen_past_folding,
            fresh_ids: self.shared.published.environments_with_fresh_id(),
            formats: self.shared.published.formats(),
            lost: lost.iter().sum(),
            most_lost: lost.iter().copied().max().unwrap_or_default(),
            scrapes: log.scrapes,
            failed_scrapes: log.failed_scrapes,
            traffic: self.traffic.clone(),
            violations,
        }
    }
}

/// Returns the number of snapshots in the table.
async fn snapshots(dynamodb: &DynamoDbLocal) -> Result<usize> {
    let mut pages = dynamodb.client().scan().table_name(tables::STATS).consistent_read(true).into_paginator().send();
    let mut found = 0;
    while let Some(page) = pages.next().await {
        let is_snapshot = |key: &str| key.starts_with("writer#");
        found += page?.items().iter().filter(|item| item["sk"].as_s().is_ok_and(|key| is_snapshot(key))).count();
    }
    Ok(found)
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no one panics while holding the lock")
    }

    fn violated(&self, violation: Violation) {
        // Only the first violation of a kind is kept: it tells most, and what is wrong once is often wrong at each
        // scrape from then on.
        let mut log = self.log();
        let is_known = |known: &Violation| known.rule == violation.rule && known.subject == violation.subject;
        if !log.violations.iter().any(is_known) {
            log.violations.push(violation);
        }
    }

    async fn start_process(&self, function: &'static str, name: &str, at_once: u32) -> Result<ExecutionEnvironment> {
        let mut variables = self.variables.clone();
        variables.set("AWS_ACCESS_KEY_ID", name);
        variables.set("AWS_LAMBDA_MAX_CONCURRENCY", &at_once.to_string());
        // Both formats are in use side by side, as while a deployment brings the other one.
        variables.set("STATS_FORMAT", if name.ends_with(['1', '4', '7']) { "1" } else { "2" });
        let program = self.programs.get(function).context("it was built")?.clone();
        let function = Function { name: function, program };
        ExecutionEnvironment::start(&function, &variables, &self.logs.join(format!("{name}.log"))).await
    }

    /// Starts an environment that publishes.
    async fn start_environment(&self, function: &'static str, name: String, at_once: u32) -> Result<Running> {
        let environment = self.start_process(function, &name, at_once).await?;
        let api = environment.api();
        self.published.add_environment(&name, function, Arc::clone(&api));
        self.log()
            .members
            .insert(name.clone(), Member { function, api, survived: false, killed: false, timed_out: false, at_once });
        Ok(Running { name, environment })
    }

    /// Runs environments one after another, until the fleet has had as many as it should. Returns the last environment
    /// if it survives.
    async fn lives(self: Arc<Self>) -> Result<Option<Running>> {
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            if number >= self.settings.environments {
                return Ok(None);
            }
            let plan = Plan::new(&self.settings, number);
            let name = format!("{}{number}", plan.function);
            let running = self.start_environment(plan.function, name, plan.at_once).await?;
            let survivor = self.live(running, &plan).await?;
            if plan.end == End::Survive {
                return Ok(survivor);
            }
        }
    }
}
