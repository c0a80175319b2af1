//! `make soak`: runs clients, a scraper and gc for ten minutes, while everything around the functions fails in turn.
//!
//! ```text
//! settings   the duration and the seed
//! trouble    what happens to DynamoDB, one trouble after another: a round
//! client     the requests, and the promises that their answers made
//! operator   the scrapes, and the runs of gc
//! seen       what clients saw, compared with what a page counts
//! footprint  the memory and file descriptors of processes
//! report     the results of a run
//! ```
//!
//! In a round each trouble lasts a few seconds; in every other round Secrets Manager is silent meanwhile. Then all
//! faults end, and the page must count exactly what clients saw. Then environments are killed and time out; from then
//! on the page may lack what only they knew. At the end every sigil is verified that was ever acknowledged.

pub mod client;
pub mod footprint;
pub mod operator;
pub mod report;
pub mod seen;
pub mod settings;
pub mod trouble;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::kit::dynamodb_local::{DynamoDbLocal, Storage};
use crate::kit::execution_environment::{ExecutionEnvironment, Function};
use crate::kit::fault_proxy::{FaultProxy, Faults, Options};
use crate::kit::secrets_manager::{SecretsManager, arn};
use crate::kit::valve::Valve;
use crate::kit::variables::{DEFAULT_METRICS_TOKEN, FunctionVariables};
use crate::kit::wait::{self, Setback, not_yet};
use crate::kit::{functions, port, tables, workspace};

use client::{Client, Loss};
use footprint::Footprint;
use operator::Operator;
use report::{Pages, Report};
use seen::Seen;
pub use settings::Settings;
use trouble::Trouble;

/// Number of clients at a time. The first client's environments live as long as the run.
const CLIENTS: u64 = 3;

/// Duration of one trouble, and of the time without faults before it.
const TROUBLE: Duration = Duration::from_secs(3);
const WELL: Duration = Duration::from_secs(1);

/// Time for which DynamoDB is gone before it starts again.
const GONE: Duration = Duration::from_secs(1);

/// Share of calls that meet a fault during a mixed trouble, and while environments are lost.
const SOME: Faults = Faults { per_mille: 150 };

/// Silence and grace, which are minutes in AWS, and the time for which a signed call is accepted: the grace must
/// outlast it.
const WRITER_IDLE: &str = "8s";
const GRACE: &str = "16s";
const SIGNATURE_VALIDITY: Duration = Duration::from_secs(10);

/// Longest time in which environments must publish everything: their pauses between failing attempts can grow to a
/// minute.
const PATIENCE: Duration = Duration::from_secs(100);

/// Pause before each look at whether they have.
const LOOK: Duration = Duration::from_millis(300);

/// Soaks optimized builds. A violation is a failure; so are Ctrl-C and SIGTERM.
pub async fn run() -> Result<()> {
    let settings = Settings::from_env(Settings::LONG)?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let programs = functions::build_optimised().await?;
    let report = tokio::select! {
        report = soak("soak", settings, programs) => report?,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("interrupted"),
    };
    println!("{report}");
    ensure!(report.violations.is_empty(), "{} violations", report.violations.len());
    Ok(())
}

/// Soaks these programs. The logs are in the folder called `name`.
pub async fn soak(name: &str, settings: Settings, programs: BTreeMap<String, PathBuf>) -> Result<Report> {
    let limit = settings.duration + Settings::OVERTIME;
    let soaked = async { Soak::start(name, settings, programs).await?.run().await };
    tokio::time::timeout(limit, soaked).await.with_context(|| format!("it took longer than {limit:?}"))?
}

struct Soak {
    settings: Settings,
    started: Instant,
    services: Services,
    clients: Vec<Client>,
    operator: Operator,
    /// Counts that clients saw and that were lost with the environments that alone knew them.
    forgotten: Seen,
    /// Counts of environments whose answers nobody received.
    unheard: Seen,
    lost: u64,
    violations: Vec<String>,
}

/// The services and settings that the functions need.
struct Services {
    dynamodb: DynamoDbLocal,
    proxy: FaultProxy,
    secrets_valve: Valve,
    programs: BTreeMap<String, PathBuf>,
    variables: FunctionVariables,
    logs: PathBuf,
    _secrets: SecretsManager,
    _data: TempDir,
}

impl Services {
    async fn start(name: &str, seed: u64, programs: BTreeMap<String, PathBuf>) -> Result<Self> {
        let logs = workspace::local("logs").join(name);
        std::fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
        // The tables are on disk: what was acknowledged must outlive the database's process, as it does in the cloud.
        let data = TempDir::new()?;
        let storage = Storage::Folder(data.path().to_owned());
        let dynamodb = DynamoDbLocal::start(port::free()?, storage, &logs.join("dynamodb.log")).await?;
        tables::create(&dynamodb.client()).await?;
        let options =
            Options { target: dynamodb.url(), seed, signature_validity: SIGNATURE_VALIDITY, blind_puts: false };
        let proxy = FaultProxy::start(options, ()).await?;
        let secrets = SecretsManager::start().await?;
        secrets.put(&arn("signing"), &sigil::keys::generate("soak"));
        secrets.put(&arn("token"), DEFAULT_METRICS_TOKEN);
        let secrets_valve = Valve::before(&secrets.url()).await?;
        let own = [
            ("SIGILS_TABLE", tables::SIGILS.to_owned()),
            ("STATS_TABLE", tables::STATS.to_owned()),
            ("SIGNING_KEYS_SECRET_ARN", arn("signing")),
            ("METRICS_TOKEN_SECRET_ARN", arn("token")),
            ("STATS_WRITER_IDLE", WRITER_IDLE.to_owned()),
            ("STATS_GRACE", GRACE.to_owned()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let variables = FunctionVariables::of(own, &proxy.url(), &secrets_valve.url());
        Ok(Self { dynamodb, proxy, secrets_valve, programs, variables, logs, _secrets: secrets, _data: data })
    }

    async fn environment(&self, name: &'static str) -> Result<ExecutionEnvironment> {
        let program = self.programs.get(name).context("it is built")?.clone();
        let log = self.logs.join(format!("{name}.log"));
        ExecutionEnvironment::start(&Function { name, program }, &self.variables, &log).await
    }

    /// Causes a trouble for a while, and then ends all faults.
    async fn suffer(&mut self, trouble: Trouble) -> Result<()> {
        tokio::time::sleep(WELL).await;
        match trouble {
            Trouble::Table(table, fault) => self.proxy.set_outage(table, Some(fault)),
            Trouble::Mixed => self.proxy.set_faults(SOME),
            Trouble::Restart => {
                self.dynamodb.stop();
                tokio::time::sleep(GONE).await;
                return self.dynamodb.restart().await;
            }
        }
        tokio::time::sleep(TROUBLE).await;
        self.proxy.set_outage(tables::SIGILS, None);
        self.proxy.set_faults(Faults::NONE);
        Ok(())
    }
}

impl Soak {
    async fn start(name: &str, settings: Settings, programs: BTreeMap<String, PathBuf>) -> Result<Self> {
        let services = Services::start(name, settings.seed, programs).await?;
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let (encode, verify) = (services.environment("encode").await?, services.environment("verify").await?);
            clients.push(Client::new(encode, verify, settings.seed.wrapping_mul(CLIENTS).wrapping_add(number)));
        }
        let operator = Operator {
            metrics: services.environment("metrics").await?,
            gc: services.environment("gc").await?,
            token: DEFAULT_METRICS_TOKEN,
            pages: Pages::default(),
            violations: Vec::new(),
            last: [0.0; 4],
        };
        Ok(Self {
            settings,
            started: Instant::now(),
            services,
            clients,
            operator,
            forgotten: Seen::default(),
            unheard: Seen::default(),
            lost: 0,
            violations: Vec::new(),
        })
    }

    async fn run(mut self) -> Result<Report> {
        let mut rounds = 0;
        let mut before = Vec::new();
        while rounds == 0 || self.started.elapsed() < self.settings.duration {
            self = self.suffer(rounds).await?;
            self.settle().await?;
            if rounds == 0 {
                before = self.footprints()?;
            }
            self.lose_environments().await?;
            rounds += 1;
        }
        for client in &mut self.clients {
            client.audit().await?;
        }
        self.settle().await?;
        let footprints: Vec<_> = before
            .into_iter()
            .zip(self.footprints()?)
            .map(|((name, before), (_, after))| (name, before, after))
            .collect();
        let mut violations = self.violations;
        violations.append(&mut self.operator.violations);
        let mut seen = Seen::default();
        let mut sigils = 0;
        for client in &mut self.clients {
            seen += &client.seen;
            sigils += client.sigils();
            violations.append(&mut client.violations);
        }
        for (function, before, after) in &footprints {
            if !after.is_flat_since(*before) {
                violations.push(format!("{function} grows from {before:?} to {after:?}"));
            }
        }
        Ok(Report {
            settings: self.settings,
            took: self.started.elapsed(),
            rounds,
            seen,
            sigils,
            lost: self.lost,
            forgotten: self.forgotten.total(),
            pages: self.operator.pages,
            traffic: self.services.proxy.traffic(),
            footprints,
            violations,
        })
    }

    /// Runs one round of all troubles, while clients and the operator work.
    async fn suffer(mut self, round: u64) -> Result<Self> {
        let stop = watch::Sender::new(false);
        let mut clients = JoinSet::new();
        for client in self.clients.drain(..) {
            clients.spawn(client.work(stop.subscribe()));
        }
        let operator = tokio::spawn(self.operator.work(stop.subscribe()));
        self.services.secrets_valve.set_shut(round.is_multiple_of(2));
        for trouble in Trouble::round(self.settings.seed, round) {
            self.services.suffer(trouble).await?;
        }
        self.services.secrets_valve.set_shut(false);
        stop.send_replace(true);
        self.operator = operator.await??;
        self.clients = clients.join_all().await.into_iter().collect::<Result<_>>()?;
        Ok(self)
    }

    /// Waits, without faults, until a run of gc succeeds and the page counts what clients saw. The page must never
    /// count more.
    async fn settle(&mut self) -> Result<()> {
        self.services.proxy.quiet().await;
        // The database may have just been started again.
        let collected = wait::until("gc runs to its end", PATIENCE, async || {
            match self.operator.collect().await.map_err(Setback::Final)? {
                None => Ok(()),
                Some(error) => not_yet(error.to_string()),
            }
        });
        if let Err(error) = collected.await {
            self.violations.push(format!("{error:#}"));
        }
        let settled = wait::until("the page counts what clients saw", PATIENCE, async || {
            for client in &mut self.clients {
                client.nudge().await.map_err(Setback::Final)?;
            }
            tokio::time::sleep(LOOK).await;
            let Some((surplus, missing)) = self.difference().await.map_err(Setback::Final)? else {
                return not_yet("the page cannot be read");
            };
            if surplus.total() > 0 {
                return Err(Setback::Final(anyhow!("the page counts what no client saw: {surplus:?}")));
            }
            if missing.total() == 0 { Ok(()) } else { not_yet(format!("the page lacks {missing:?}")) }
        });
        // A failure does not end the run, whose rest can still show whether sigils are kept.
        if let Err(error) = settled.await {
            self.violations.push(format!("{error:#}"));
        }
        Ok(())
    }

    /// Returns what the page counts beyond what it should, and what it lacks, or `None` if the page cannot be read.
    async fn difference(&mut self) -> Result<Option<(Seen, Seen)>> {
        let Some(page) = self.operator.scrape().await? else { return Ok(None) };
        let (mut counted, mut expected) = (Seen::on(&page), self.unheard.clone());
        counted += &self.forgotten;
        self.clients.iter().for_each(|client| expected += &client.seen);
        Ok(Some((counted.beyond(&expected), expected.beyond(&counted))))
    }

    /// Kills some environments, and lets some time out, while some calls meet faults. Each of them was answering one
    /// request: the page may count the request though nobody received the answer, or lack it though somebody did, and
    /// nothing else.
    async fn lose_environments(&mut self) -> Result<()> {
        self.services.proxy.set_faults(SOME);
        let mut requests = 0;
        for loss in [Loss::Killed, Loss::TimedOut] {
            for client in self.clients.iter_mut().skip(1) {
                let (encode, verify) =
                    (self.services.environment("encode").await?, self.services.environment("verify").await?);
                let before = client.seen.requests;
                client.lose(loss, encode, verify).await?;
                requests += client.seen.requests - before;
                self.lost += 2;
            }
        }
        self.services.proxy.set_faults(Faults::NONE);
        self.services.proxy.quiet().await;
        let (surplus, missing) = wait::until("the page can be read", PATIENCE, async || {
            let difference = self.difference().await.map_err(Setback::Final)?;
            difference.map_or_else(|| not_yet("it cannot"), Ok)
        })
        .await?;
        if surplus.total() + missing.total() > requests {
            self.violations.push(format!(
                "{requests} requests were being answered by environments that were lost, and the page lacks {missing:?} \
                 and counts beyond what clients saw {surplus:?}"
            ));
        }
        self.unheard += &surplus;
        self.forgotten += &missing;
        Ok(())
    }

    /// Returns the footprints of the environments that live as long as the run.
    fn footprints(&self) -> Result<Vec<(&'static str, Footprint)>> {
        let of = |name, environment: &ExecutionEnvironment| anyhow::Ok((name, Footprint::of(environment.process())?));
        let first = self.clients.first().context("there is a client")?;
        Ok(vec![
            of("encode", &first.encode)?,
            of("verify", &first.verify)?,
            of("metrics", &self.operator.metrics)?,
            of("gc", &self.operator.gc)?,
        ])
    }
}
