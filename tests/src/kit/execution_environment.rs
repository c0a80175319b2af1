//! Runs one execution environment: a function's process with its own Runtime API, which can be frozen, thawed and ended
//! as Lambda does it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::kit::process::Process;
use crate::kit::runtime_api::RuntimeApi;
use crate::kit::variables::FunctionVariables;

/// A debug build starts within half a second; many at once on a busy machine start within several seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time that Lambda gives a process between SIGTERM and SIGKILL.
const SHUTDOWN: Duration = Duration::from_millis(500);

/// Time between two looks at whether a process has ended, since nothing reports its end.
const PAUSE: Duration = Duration::from_millis(5);

/// A function's name and program.
#[derive(Debug, Clone)]
pub struct Function {
    /// The function's name.
    pub name: &'static str,
    /// The function's program.
    pub program: PathBuf,
}

/// A running environment. Dropping it kills its process.
#[derive(Debug)]
pub struct ExecutionEnvironment {
    process: Process,
    api: Arc<RuntimeApi>,
    init_duration: Duration,
}

impl ExecutionEnvironment {
    /// Starts an environment (a cold start), and returns once it asks for its first event.
    pub async fn start(function: &Function, variables: &FunctionVariables, log: &Path) -> Result<Self> {
        let api = Arc::new(RuntimeApi::start(function.name).await?);
        let mut command = Command::new(&function.program);
        let mut variables = variables.clone();
        variables.set_default("AWS_LAMBDA_LOG_FORMAT", "JSON");
        variables.apply(&mut command);
        command
            .env("AWS_LAMBDA_RUNTIME_API", api.address().to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", function.name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256");
        let started = Instant::now();
        let process = Process::spawn(function.name, command, log)?;
        let mut this = Self { process, api, init_duration: Duration::ZERO };
        tokio::select! {
            () = this.api.asks_for_event() => {
                this.init_duration = started.elapsed();
                return Ok(this);
            }
            () = tokio::time::sleep(PATIENCE) => {}
            ended = exit(&mut this.process) => ended?,
        }
        this.api.ensure_initialised()?;
        bail!("{} did not ask for an event:\n{}", function.name, this.process.log_tail(20))
    }

    /// Returns the environment's Runtime API, by which it is invoked.
    pub fn api(&self) -> Arc<RuntimeApi> {
        Arc::clone(&self.api)
    }

    /// Returns the duration of the cold start: from the start of the process until it asked for its first event.
    pub fn init_duration(&self) -> Duration {
        self.init_duration
    }

    /// Returns the environment's process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Stops the process, whatever it is doing, as Lambda freezes an environment.
    pub fn freeze(&mut self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Lets a frozen process go on.
    pub fn thaw(&mut self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Ends the environment as Lambda does: with SIGTERM, and with SIGKILL if it still runs after half a second.
    pub async fn terminate(mut self) -> Result<()> {
        self.process.signal(Signal::TERM)?;
        if tokio::time::timeout(SHUTDOWN, exit(&mut self.process)).await.is_err() {
            self.process.signal(Signal::KILL)?;
        }
        self.ended().await
    }

    /// Kills the process without notice, also if it is frozen.
    pub async fn kill(mut self) -> Result<()> {
        self.process.signal(Signal::KILL)?;
        self.ended().await
    }

    async fn ended(mut self) -> Result<()> {
        tokio::time::timeout(PATIENCE, exit(&mut self.process))
            .await
            .with_context(|| format!("{} does not end", self.process.name()))??;
        self.api.drain().await;
        Ok(())
    }
}

impl Drop for ExecutionEnvironment {
    fn drop(&mut self) {
        // A frozen process would not react to SIGTERM. A failure means that the process is already gone.
        let _ = self.process.signal(Signal::KILL);
    }
}

/// Waits until the process has ended, for whatever reason.
async fn exit(process: &mut Process) -> Result<()> {
    while process.exit_status()?.is_none() {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
